#pragma once
// What a job finds in its workspace before its first step, and what is taken from there after its last. The blocking parts
// run on an Offload.

#include <optional>
#include <string>
#include <vector>

#include "async/offload.h"
#include "domain/logs/masker.h"
#include "runner/sandbox/launcher.h"
#include "runner/sidecar/api.h"
#include "runner/sidecar/collect.h"
#include "runner/sidecar/source.h"

namespace mayfly {

class Workspace final {
 public:
  /// All outlive this; `spare` is a directory for files on their way.
  Workspace(RunnerApi& api, Offload& offload, SandboxPaths paths, std::string spare, const RunnerJob& job);

  /// Source, artifacts and outputs of needed jobs; all of it the job's own afterwards. Errc::canceled after stop().
  Task<Result<void>> fill();
  /// Ends a fill() that runs.
  void stop() { stop_.raise(); }
  /// How long the checkout took.
  Duration source_time() const { return source_time_; }

  /// What is worth telling the user: globs that matched nothing, files left out.
  using Notes = std::vector<std::string>;
  /// Nothing when the job names no JUnit files. Texts are masked.
  Task<std::optional<TestReport>> read_tests(Notes& notes);
  Task<Result<void>> upload_artifacts(Notes& notes);
  Task<Result<void>> upload_outputs(Notes& notes);

 private:
  SourceWire wire() const;
  Task<Result<void>> take(const NeededArtifact& artifact);
  Task<Result<void>> upload_file(std::string path, int fd);

  RunnerApi& api_;
  Offload& offload_;
  SandboxPaths paths_;
  std::string spare_;
  const RunnerJob& job_;
  StopFlag stop_;
  Duration source_time_{};
};

}  // namespace mayfly
