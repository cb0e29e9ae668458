#include "roles/logs/live_logs.h"

#include <algorithm>

#include "domain/logs/frame.h"

namespace mayfly {
namespace {

constexpr Duration listen_again = std::chrono::minutes(1);
constexpr Duration look_at_holes = std::chrono::milliseconds(250);

}  // namespace

/// One piece more; false when it lies beyond what is missing. What can be read is never given up for it.
bool LiveLogs::add(Tail& tail, std::int64_t offset, std::string_view text) {
  auto end = offset + std::int64_t(text.size());
  if (end <= tail.durable || text.empty()) return true;
  bool apart = tail.recent.empty() || offset > tail.end() || end < tail.begin;
  if (apart) {
    bool reaches_storage = offset <= tail.durable;
    if (!tail.recent.empty() && !reaches_storage && (!tail.has_hole() || end < tail.begin)) return false;
    tail.begin = offset;
    tail.recent = text;
    return reaches_storage;
  }
  if (tail.recent.size() + text.size() > max_live_log_bytes) return true;  // too fast to keep: it is read from storage in a moment
  if (end > tail.end()) tail.recent.append(text.substr(std::size_t(std::max<std::int64_t>(tail.end() - offset, 0))));
  if (offset < tail.begin) {
    tail.recent.insert(0, text.substr(0, std::size_t(tail.begin - offset)));
    tail.begin = offset;
  }
  return !tail.has_hole();
}

void LiveLogs::absorb(AttemptId attempt, Tail& tail, std::string_view frames) {
  auto before = tail.readable();
  bool missing = false;
  for (auto rest = frames; !rest.empty();) {
    auto decoded = decode_frame(rest);
    if (!decoded || decoded->size == 0) break;
    missing |= !add(tail, decoded->frame.offset, decoded->frame.text);
    rest.remove_prefix(decoded->size);
  }
  if (missing) ask_for_missing(attempt, tail);
  if (tail.readable() > before) tail.moved.notify();
}

/// What storage has, memory need not have: a silent log costs nothing, and one that goes on has room.
void LiveLogs::forget_durable(Tail& tail) {
  if (tail.end() <= tail.durable) {
    tail.recent = {};
  } else if (auto stored = tail.durable - tail.begin; stored > std::int64_t(max_live_log_bytes / 2)) {
    tail.recent.erase(0, std::size_t(stored));
    tail.begin = tail.durable;
  }
}

void LiveLogs::heard_durable(Tail& tail, std::int64_t durable) {
  auto before = tail.readable();
  tail.heard = clock_.now();
  tail.durable = std::max(tail.durable, durable);
  forget_durable(tail);
  if (tail.readable() == before) return;
  tail.doubt = live_doubt_first;
  tail.moved.notify();
}

Task<void> LiveLogs::ask_database(AttemptId attempt, Tail& tail) {
  tail.heard = clock_.now();  // one question, whoever else waits
  tail.doubt = std::min<Duration>(2 * tail.doubt, live_doubt_longest);
  if (auto end = co_await chunks_.end(attempt)) heard_durable(tail, *end);
}

void LiveLogs::ask_for_missing(AttemptId attempt, Tail& tail) {
  if (clock_.now() - tail.asked < missing_asked_again) return;
  tail.asked = clock_.now();
  watches_.add(to_line(LogWatch{.attempt = attempt, .from = tail.durable}));
  to_send_.notify();
}

Task<Result<std::shared_ptr<LiveLogs::Tail>>> LiveLogs::watch(AttemptId attempt) {
  if (auto at = tails_.find(attempt); at != tails_.end()) {
    at->second->touched = clock_.now();
    co_return at->second;
  }
  CO_TRY_ASSIGN(auto durable, co_await chunks_.end(attempt));
  auto [at, first] = tails_.try_emplace(attempt);
  if (!first) co_return at->second;
  auto tail = at->second = std::make_shared<Tail>();
  tail->durable = durable;
  tail->heard = tail->touched = clock_.now();
  if (listeners_) listeners_->spawn(follow(attempt, tail));
  co_return tail;
}

Task<void> LiveLogs::follow(AttemptId attempt, std::shared_ptr<Tail> tail) {
  auto live = cache_.subscribe(log_channel(attempt));
  ask_for_missing(attempt, *tail);
  while (!is_idle(*tail)) {
    auto frames = co_await live->next(clock_.now() + unwatched_log_kept);
    if (!frames) continue;
    absorb(attempt, *tail, *frames);
  }
  tails_.erase(attempt);
}

Task<Result<std::int64_t>> LiveLogs::size(AttemptId attempt, bool ended) {
  auto at = ended ? tails_.end() : tails_.find(attempt);
  if (at != tails_.end()) co_return at->second->readable();
  co_return co_await chunks_.end(attempt);
}

Task<Result<std::string>> LiveLogs::read(AttemptId attempt, std::int64_t from, std::size_t max) {
  if (auto at = tails_.find(attempt); at != tails_.end()) {
    auto& tail = *at->second;
    if (!tail.recent.empty() && from >= tail.begin && from < tail.end()) co_return tail.recent.substr(std::size_t(from - tail.begin), max);
  }
  co_return co_await chunks_.read(attempt, from, max);
}

Task<bool> LiveLogs::wait_beyond(AttemptId attempt, std::int64_t offset, Time until) {
  auto watched = co_await watch(attempt);
  if (!watched) {
    co_await sleep_for(clock_, std::clamp<Duration>(until - clock_.now(), Duration::zero(), std::chrono::seconds(1)));
    co_return false;
  }
  auto tail = *watched;
  struct Waiting {
    Tail& tail;
    Clock& clock;
    explicit Waiting(Tail& t, Clock& c) : tail(t), clock(c) { ++tail.waiting; }
    ~Waiting() {
      --tail.waiting;
      tail.touched = clock.now();
    }
  } waiting(*tail, clock_);
  while (tail->readable() <= offset) {
    auto now = clock_.now();
    if (now >= until) co_return false;
    if (now - tail->heard >= tail->doubt) {
      co_await ask_database(attempt, *tail);
      continue;
    }
    if (co_await tail->moved.wait(clock_, std::min(until, tail->heard + tail->doubt))) co_return true;
  }
  co_return true;
}

Task<void> LiveLogs::hear_notices() {
  auto notices = cache_.subscribe(log_notices);
  for (;;) {
    auto lines = co_await notices->next(clock_.now() + listen_again);
    if (!lines) continue;
    for (auto& notice : notices_from(*lines)) {
      auto at = tails_.find(notice.attempt);
      if (at == tails_.end()) continue;
      auto tail = at->second;
      heard_durable(*tail, notice.durable);
      if (notice.ended) tail->moved.notify();
    }
  }
}

/// Intakes feed a log for log_watch_kept after they heard that it is watched.
Task<void> LiveLogs::repeat_watches() {
  auto next = clock_.now() + watch_repeat;
  for (;;) {
    co_await sleep_for(clock_, look_at_holes);
    bool all = clock_.now() >= next;
    if (all) next = clock_.now() + watch_repeat;
    for (auto& [attempt, tail] : tails_) {
      if (tail->has_hole()) ask_for_missing(attempt, *tail);
      else if (all) watches_.add(to_line(LogWatch{.attempt = attempt}));
    }
    if (!watches_.empty()) to_send_.notify();
  }
}

Task<void> LiveLogs::send_watches() {
  for (;;) {
    co_await to_send_.wait(clock_);
    for (auto& lines : watches_.take()) (void)co_await cache_.publish(log_watches, lines);
  }
}

Task<void> LiveLogs::run() {
  Scope listeners(loop_);
  listeners_ = &listeners;
  struct Ended {
    LiveLogs& self;
    ~Ended() { self.listeners_ = nullptr; }
  } ended{*this};
  listeners.spawn(hear_notices());
  listeners.spawn(repeat_watches());
  listeners.spawn(send_watches());
  co_await listeners.join();
}

}  // namespace mayfly
