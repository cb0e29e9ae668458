#pragma once
// Runs shell scripts as jobs in real containers: needs the engine that MAYFLY_TEST_DOCKER names, with the images of
// tests/servers/images.py. Everything has labels of the test's own, and is gone when it ends.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>

#include "adapters/docker/engine.h"
#include "adapters/sandbox/unique_fd.h"
#include "runner/control/messages.h"
#include "runner/docker/weaken.h"
#include "support/run.h"
#include "support/temp_dir.h"

namespace mayfly {

inline constexpr const char* small_image = "local/busybox:1";
inline constexpr const char* large_image = "local/debian:1";

struct ContainerResult {
  std::optional<InitDone> done;   // init's last word
  std::string output;
  std::string error;              // of wait()
  std::string detail;
  int exit_code = -1;
  bool out_of_memory = false;
};

/// A job whose script may not have ended yet.
class ContainerJob final {
 public:
  ContainerJob(TestLoop& loop, std::unique_ptr<Sandbox> sandbox, int control, std::string log_file);
  ~ContainerJob();
  ContainerJob(ContainerJob&& other) noexcept = default;

  Sandbox& sandbox() { return *sandbox_; }
  void run(const std::string& script);
  /// What it has said so far.
  std::string output() const;
  bool wait_for(const std::string& text) const;
  ContainerResult finish();

 private:
  TestLoop* loop_;
  std::unique_ptr<Sandbox> sandbox_;
  UniqueFd control_;
  std::string log_file_;
};

class DockerTest : public testing::Test {
 protected:
  DockerTest();
  void SetUp() override;
  void TearDown() override;

  SandboxSpec make_spec(const std::string& image = small_image);
  Result<ContainerJob> try_start(SandboxSpec spec);
  /// With `script` running.
  ContainerJob start(SandboxSpec spec, const std::string& script);
  ContainerResult run_job(SandboxSpec spec, const std::string& script) { return start(std::move(spec), script).finish(); }
  ContainerResult run_job(const std::string& script) { return run_job(make_spec(), script); }
  bool has_runtime(const std::string& name);
  std::vector<docker::ListedContainer> containers();

  TempDir data_;
  TestLoop loop_;
  DockerPlace place_;
  std::function<void(docker::ContainerSpec&)> weaken_;
  std::unique_ptr<docker::Engine> engine_;
};

}  // namespace mayfly
