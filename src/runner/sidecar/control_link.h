#pragma once
// The sidecar's end of the socket to mayfly-init. Asio stays in control_link.cpp.

#include <memory>

#include "async/task.h"
#include "base/result.h"
#include "runner/control/messages.h"

namespace mayfly {

class ControlLink final {
 public:
  /// `fd` becomes its own.
  ControlLink(Loop loop, int fd);
  ~ControlLink();
  ControlLink(const ControlLink&) = delete;
  ControlLink& operator=(const ControlLink&) = delete;

  /// Errc::unavailable: init has hung up. Errc::invalid, Errc::too_large: what came is no message. One receive at a time.
  Task<Result<FromInit>> receive();
  /// Puts the message in line; write_all() brings it to init.
  void send(const ToInit& message);
  /// Writes what is put in line until init has hung up or the caller is canceled. Run it once, beside the rest.
  Task<void> write_all();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mayfly
