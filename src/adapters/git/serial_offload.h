#pragma once
// Work on one thing, one piece after the other, on the threads of a shared pool: while a repository is slow to fetch, what
// waits for it holds no thread that another repository could use.

#include <deque>
#include <functional>
#include <mutex>

#include "async/offload.h"

namespace mayfly {

class SerialOffload final : public Offload {
 public:
  /// `pool` outlives this, and this outlives what was posted.
  explicit SerialOffload(Offload& pool) : pool_(pool) {}
  void post(std::move_only_function<void()> work) override;

 private:
  Offload& pool_;
  std::mutex mutex_;
  std::deque<std::move_only_function<void()>> waiting_;
  bool running_ = false;

  void run_next();
};

}  // namespace mayfly
