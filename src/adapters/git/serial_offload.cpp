#include "adapters/git/serial_offload.h"

namespace mayfly {

void SerialOffload::post(std::move_only_function<void()> work) {
  {
    std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(work));
    if (std::exchange(running_, true)) return;
  }
  pool_.post([this] { run_next(); });
}

void SerialOffload::run_next() {
  std::move_only_function<void()> work;
  {
    std::lock_guard lock(mutex_);
    work = std::move(waiting_.front());
    waiting_.pop_front();
  }
  work();
  {
    std::lock_guard lock(mutex_);
    running_ = !waiting_.empty();
    if (!running_) return;
  }
  pool_.post([this] { run_next(); });
}

}  // namespace mayfly
