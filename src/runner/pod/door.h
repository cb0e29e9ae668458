#pragma once
// Where a pod's job comes in: the socket in the directory its containers share. The first mayfly-init that connects is handed
// the two descriptors it works with, so that neither the control channel nor the log is a file in the job's sight; everybody else
// is turned away. The connection stays, as the lifeline by which each half learns of the other's end.

#include <functional>
#include <memory>
#include <string>

#include "adapters/sandbox/unique_fd.h"
#include "async/signal.h"
#include "base/result.h"

namespace mayfly {

class PodDoor final {
 public:
  /// Listens at DIRECTORY/control.sock, in place of what a predecessor left there. Who knocks before offer() or hang_up() waits.
  static Result<std::unique_ptr<PodDoor>> open(Loop loop, const std::string& directory);
  ~PodDoor();
  PodDoor(const PodDoor&) = delete;
  PodDoor& operator=(const PodDoor&) = delete;

  /// For init, once it is here. `before` is called just before it gets them; when that fails, init is turned away. Once.
  void offer(UniqueFd control, UniqueFd log, std::function<Result<void>()> before);
  /// Tells init to kill what it runs and to end, which state() will show; whoever comes later is turned away.
  void hang_up();

  enum class State { empty, in, finished, gone };   // finished: nothing of the job runs; gone: nor init, or it never will
  State state() const;
  /// Notified when the state changes.
  Signal& changed();

 private:
  struct Impl;
  explicit PodDoor(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace mayfly
