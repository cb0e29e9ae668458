#include "async/signal.h"

#include <utility>

namespace mayfly {

void Signal::notify() {
  if (waiting_.empty()) set_ = true;
  for (auto* timer : std::exchange(waiting_, {})) timer->cancel();
}

Task<bool> Signal::wait(TimerSource& clock, Time until) {
  if (std::exchange(set_, false)) co_return true;
  auto timer = clock.make_timer();
  struct Entry {
    std::list<Timer*>& list;
    Timer* timer;
    ~Entry() { list.remove(timer); }
  } entry{waiting_, timer.get()};
  waiting_.push_back(timer.get());
  co_return !co_await timer->wait_until(until);
}

}  // namespace mayfly
