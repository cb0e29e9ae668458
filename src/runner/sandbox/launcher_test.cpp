#include "runner/sandbox/launcher.h"

#include <sys/stat.h>

#include <fstream>

#include "adapters/sandbox/cgroup.h"
#include "runner/sandbox/testing/sandbox_fixture.h"

namespace mayfly {
namespace {

using testing::HasSubstr;

std::string read_file(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct SandboxOnThisMachine : SandboxTest {};

TEST_F(SandboxOnThisMachine, RunsAScriptAsTheFirstProcessOfItsOwnWorld) {
  auto job = run_job("echo \"$(id -un) in $(pwd) on $(cat /etc/hostname)\"; exit 3");
  EXPECT_EQ(job.output, "mayfly in /workspace on mayfly\n");
  EXPECT_EQ(job.exit_code, 3);
  EXPECT_EQ(job.detail, "");
}

TEST_F(SandboxOnThisMachine, TheWorkspaceIsTheSameDirectoryOnBothSides) {
  auto spec = make_spec();
  auto job = start(spec, "read line < from-outside; echo \"$line\" > from-inside; stat -c %U from-outside");
  auto& paths = job.sandbox().paths();
  auto outside = paths.workspace_host + "/from-outside";
  std::ofstream(outside) << "hello\n";
  ASSERT_EQ(chown(outside.c_str(), paths.uid, paths.gid), 0);
  auto result = job.finish();
  EXPECT_EQ(result.output, "mayfly\n");
  EXPECT_EQ(read_file(paths.workspace_host + "/from-inside"), "hello\n");
}

}  // namespace
}  // namespace mayfly
