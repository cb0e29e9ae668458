#pragma once
// Runs shell scripts in real sandboxes of this machine.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "runner/sandbox/defences.h"
#include "support/run.h"
#include "support/temp_dir.h"

namespace mayfly {

struct JobResult {
  int exit_code = -1;
  std::string output;   // of the script
  std::string detail;
  bool out_of_memory = false;
  bool disk_full = false;
};

/// A sandbox whose script may not have ended yet.
class RunningJob final {
 public:
  RunningJob(TestLoop& loop, std::unique_ptr<Sandbox> sandbox, int log_fd);
  ~RunningJob();
  RunningJob(RunningJob&& other) noexcept;

  Sandbox& sandbox() { return *sandbox_; }
  /// The script's output up to and with its first line feed, or all of it.
  std::string read_line();
  JobResult finish();

 private:
  TestLoop& loop_;
  std::unique_ptr<Sandbox> sandbox_;
  int log_fd_;
};

/// gVisor's program, or nothing: MAYFLY_TEST_RUNSC, else PATH.
std::string runsc_for_tests();
inline constexpr const char* no_runsc = "gVisor's runsc is not here: scripts/servers up runsc; eval \"$(scripts/servers env)\"";

class SandboxTest : public testing::Test {
 protected:
  SandboxTest();
  /// A spec with small limits, no network and an attempt directory of its own.
  SandboxSpec make_spec();
  /// The script starts when the sandbox stands and its network, if it has one, is up.
  Result<RunningJob> try_start(SandboxSpec spec, const std::string& script, Defences defences = {});
  RunningJob start(SandboxSpec spec, const std::string& script, Defences defences = {});
  JobResult run_job(const std::string& script) { return run_job(make_spec(), script); }
  JobResult run_job(SandboxSpec spec, const std::string& script, Defences defences = {}) { return start(std::move(spec), script, defences).finish(); }

  std::string isolation_ = "sandbox";   // of make_spec()
  TempDir data_;
  TestLoop loop_;
};

/// What is the same wall under bubblewrap and under gVisor.
class EveryIsolation : public SandboxTest, public testing::WithParamInterface<const char*> {
 protected:
  EveryIsolation() { isolation_ = GetParam(); }
  void SetUp() override {
    if (gvisor() && runsc_for_tests().empty()) GTEST_SKIP() << no_runsc;
  }
  bool gvisor() const { return isolation_ == "gvisor"; }
};

#define MAYFLY_ON_EVERY_ISOLATION(suite) \
  INSTANTIATE_TEST_SUITE_P(Isolation, suite, testing::Values("sandbox", "gvisor"), [](auto& info) { return std::string(info.param); })

/// Attempts that differ from each other and from those of other test programs.
AttemptId fresh_attempt();

}  // namespace mayfly
