#pragma once
// The descriptors that mayfly-init would be born with in a sandbox, over the attached streams of its container: control goes in and
// out of standard input and output, the log comes from standard error.

#include <cstdint>
#include <memory>

#include "adapters/sandbox/unique_fd.h"
#include "async/task.h"
#include "base/result.h"
#include "net/client.h"

namespace mayfly {

inline constexpr std::int64_t max_log_stream_bytes = std::int64_t(4) << 30;   // of frames; init keeps to less

class ContainerStreams final {
 public:
  /// Duplicates of both descriptors are its own.
  ContainerStreams(Loop loop, std::unique_ptr<http::Tunnel> tunnel, int control_fd, int log_fd);
  ~ContainerStreams();
  ContainerStreams(const ContainerStreams&) = delete;
  ContainerStreams& operator=(const ContainerStreams&) = delete;

  /// Until the container's streams have ended, or the engine has; all that came is where it belongs then, and the control
  /// descriptor is closed. The result says why it ended: nothing, when the engine ended it.
  Task<Result<void>> run();
  /// Nothing more is waited for after `at`.
  void set_deadline(Time at);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mayfly
