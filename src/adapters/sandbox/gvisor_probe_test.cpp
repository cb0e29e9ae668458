#include "adapters/sandbox/gvisor_probe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "adapters/sandbox/tools.h"
#include "support/temp_dir.h"

namespace mayfly {
namespace {

using testing::HasSubstr;

struct GvisorProbe : testing::Test {
  std::string program(const std::string& text) {
    auto path = dir.file("runsc");
    std::ofstream(path) << "#!/bin/sh\n" << text << "\n";
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    return path;
  }
  TempDir dir;
};

TEST_F(GvisorProbe, WhatIsNotThereIsNotOffered) { EXPECT_EQ(probe_gvisor(dir.file("nothing")).error().code, Errc::unsupported); }

TEST_F(GvisorProbe, WhatSaysNoIsAskedWhy) {
  auto said = probe_gvisor(program("echo no ptrace here >&2; exit 1"));
  ASSERT_FALSE(said);
  EXPECT_THAT(said.error().message, HasSubstr("no ptrace here"));
}

TEST_F(GvisorProbe, WhatHangsIsGivenUp) {
  auto runsc = program("sleep 1000");
  auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(probe_gvisor(runsc, std::chrono::milliseconds(300)).error().code, Errc::timeout);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(30));
}

TEST_F(GvisorProbe, ARealOneStartsAndLeavesNothing) {
  auto* named = std::getenv("MAYFLY_TEST_RUNSC");
  auto runsc = find_program(named && *named ? named : "runsc");
  if (runsc.empty()) GTEST_SKIP() << "gVisor's runsc is not here: scripts/servers up runsc; eval \"$(scripts/servers env)\"";
  setenv("TMPDIR", dir.path().c_str(), 1);
  auto works = probe_gvisor(runsc);
  unsetenv("TMPDIR");
  EXPECT_TRUE(works) << works.error().message;
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

}  // namespace
}  // namespace mayfly
