#include "roles/logs/bus_intake.h"

#include <algorithm>

#include "async/scope.h"
#include "base/log.h"
#include "domain/logs/frame.h"
#include "roles/logs/log_chunks.h"

namespace mayfly {
namespace {

constexpr Duration idle_kept = std::chrono::minutes(10);
constexpr Duration listen_again = std::chrono::minutes(1);
constexpr Duration hint_interval = std::chrono::seconds(1);
constexpr Duration first_question = std::chrono::milliseconds(50);   // of complete(), to the database; then ever later
constexpr Duration last_question = std::chrono::seconds(1);
constexpr Duration mark_again = std::chrono::seconds(2);

}  // namespace

/// The frames that follow each other from the first on, without marks (those are ours to set) and what is durable.
Result<BusIntake::Batch> BusIntake::checked(std::string_view frames, std::int64_t durable) {
  Batch batch{.frames = {}, .begin = -1, .end = 0};
  for (auto rest = frames; !rest.empty();) {
    TRY_ASSIGN(auto decoded, decode_frame(rest));
    if (decoded.size == 0) return fail(Errc::corrupt, "a log request ends within a frame");
    auto& frame = decoded.frame;
    auto end = frame.offset + std::int64_t(frame.text.size());
    if (end > max_log_bytes) return fail(Errc::too_large, "a log may have " + std::to_string(max_log_bytes) + " bytes");
    auto bytes = rest.substr(0, decoded.size);
    rest.remove_prefix(decoded.size);
    if (frame.text.empty() || end <= durable) continue;
    if (batch.begin < 0) batch.begin = frame.offset, batch.end = frame.offset;
    if (frame.offset > batch.end) break;
    if (end <= batch.end) continue;
    batch.frames += bytes;
    batch.end = end;
  }
  return batch;
}

Task<Result<std::shared_ptr<BusIntake::Known>>> BusIntake::known(AttemptId attempt) {
  if (auto at = known_.find(attempt); at != known_.end()) {
    at->second->touched = clock_.now();
    co_return at->second;
  }
  CO_TRY_ASSIGN(auto durable, co_await stored_log_end(db_, attempt));
  auto hint = co_await cache_.get(log_next_key(attempt));
  auto& log = known_[attempt];
  if (!log) {
    log = std::make_shared<Known>();
    log->durable = durable;
    log->next = hint && *hint ? std::max(durable, (*hint)->sequence) : durable;
    log->heard = log->moved_at = clock_.now();
  }
  log->touched = clock_.now();
  co_return log;
}

void BusIntake::heard_durable(Known& log, std::int64_t durable) {
  log.heard = clock_.now();
  if (durable <= log.durable) return;
  log.durable = durable;
  log.next = std::max(log.next, durable);
  if (log.gap && durable > *log.gap) log.gap.reset();
  log.moved_at = log.heard;
  log.patience = log_stall_after;
  log.moved.notify();
}

void BusIntake::go_back(AttemptId attempt, Known& log, std::int64_t to) {
  log.gap = std::max(to, log.durable);
  log.next = *log.gap;
  log.moved_at = clock_.now();
  moved_on_.erase(attempt);
  gone_back_.insert(attempt);
  log.moved.notify();
}

Task<Result<void>> BusIntake::ask_database(AttemptId attempt, Known& log) {
  CO_TRY_ASSIGN(auto durable, co_await stored_log_end(db_, attempt));
  heard_durable(log, durable);
  co_return Result<void>{};
}

/// The gap we know of may have been filled by way of another gateway.
Task<void> BusIntake::ask_others(AttemptId attempt, Known& log) {
  (void)co_await ask_database(attempt, log);
  auto hint = co_await cache_.get(log_next_key(attempt));
  if (!log.gap || !hint || !*hint || (*hint)->sequence <= *log.gap) co_return;
  log.next = std::max(log.next, (*hint)->sequence);
  log.gap.reset();
}

Task<void> BusIntake::refresh(AttemptId attempt, Known& log) {
  if (log.next <= log.durable) co_return;
  auto now = clock_.now();
  if (now - log.heard >= log_doubt_after) {
    log.heard = now;  // one question, whoever else comes
    (void)co_await ask_database(attempt, log);
  }
  if (log.next <= log.durable || clock_.now() - log.moved_at < log.patience) co_return;
  log_warn("a log does not become durable and is sent again", {{"attempt", attempt.str()}, {"durable", std::to_string(log.durable)},
                                                              {"next", std::to_string(log.next)}});
  log.patience = std::min<Duration>(2 * log.patience, longest_log_stall);
  go_back(attempt, log, log.durable);
}

Task<Result<void>> BusIntake::publish(AttemptId attempt, std::string frames) {
  std::vector<Message> messages;
  for (auto& piece : split_frames(frames)) messages.push_back({.key = attempt.str(), .payload = std::move(piece), .position = 0});
  co_return co_await bus_.publish(topic::logs, std::move(messages));
}

void BusIntake::acknowledged(AttemptId attempt, Known& log, const Batch& batch) {
  if (log.next <= log.durable) log.moved_at = clock_.now();
  if (log.gap && batch.begin > *log.gap) return;  // heard of meanwhile: this lies beyond it
  log.gap.reset();
  log.next = std::max(log.next, batch.end);
  moved_on_.insert(attempt);
  offer(attempt, batch.frames);
}

Task<Result<LogsAnswer>> BusIntake::append(AttemptId attempt, std::string frames) {
  CO_TRY_ASSIGN(auto log, co_await known(attempt));
  auto in_order = co_await log->sending.lock(clock_);
  CO_TRY_ASSIGN(auto batch, checked(frames, log->durable));
  frames = {};
  co_await refresh(attempt, *log);
  if (batch.frames.empty()) co_return answer(*log);
  if (log->gap && batch.begin > *log->gap) co_await ask_others(attempt, *log);
  if (log->gap && batch.begin > *log->gap) co_return answer(*log);
  CO_TRY(co_await publish(attempt, batch.frames));
  acknowledged(attempt, *log, batch);
  co_return answer(*log);
}

Task<Result<LogsAnswer>> BusIntake::position(AttemptId attempt) {
  CO_TRY_ASSIGN(auto log, co_await known(attempt));
  co_await refresh(attempt, *log);
  co_return answer(*log);
}

Task<Result<LogEnd>> BusIntake::complete(AttemptId attempt, std::int64_t log_bytes) {
  CO_TRY_ASSIGN(auto log, co_await known(attempt));
  log->gap.reset();  // what we know of one may be old: the mark brings the news
  auto began = clock_.now();
  auto marked = Time{}, asked = began;
  for (auto pause = first_question; log->durable < log_bytes;) {
    auto now = clock_.now();
    if (log->gap && *log->gap < log_bytes)
      co_return fail(Errc::invalid, "log_bytes: only " + std::to_string(*log->gap) + " bytes of the log have arrived", "send the rest first");
    if (now - began >= log_complete_limit) {
      log->next = std::max(log->next, log_bytes);  // it was said to be on its way: when it stalls, it is sent again
      co_await refresh(attempt, *log);
      if (log->gap) continue;
      co_return fail(Errc::unavailable, "only " + std::to_string(log->durable) + " bytes of the log are durable yet", "ask again");
    }
    if (now - marked >= mark_again) {
      CO_TRY(co_await publish(attempt, log_mark(log_bytes, now)));
      marked = now;
    }
    auto due = std::min(asked + pause, began + log_complete_limit);
    if (now < due && co_await log->moved.wait(clock_, due)) continue;
    asked = clock_.now();
    pause = std::min(2 * pause, last_question);
    CO_TRY(co_await ask_database(attempt, *log));
  }
  co_return LogEnd{.bytes = std::max(log_bytes, log->durable), .statements = {}};
}

void BusIntake::ended(AttemptId attempt) {
  auto at = known_.find(attempt);
  notices_.add(to_line(LogNotice{.attempt = attempt, .durable = at == known_.end() ? 0 : at->second->durable, .ended = true}));
  if (at != known_.end()) known_.erase(at);
  moved_on_.erase(attempt);
  to_send_.notify();
}

/// For those who watch, after the bus has it: nobody sees what could be lost.
void BusIntake::offer(AttemptId attempt, std::string_view frames) {
  if (auto at = watched_.find(attempt); at == watched_.end() || at->second < clock_.now()) return;
  auto& live = live_[attempt];
  if (auto now = clock_.now(); now - live.window >= std::chrono::seconds(1)) live.window = now, live.in_window = 0;
  live.in_window += frames.size();
  if (live.in_window > max_live_bytes_per_second || live_pending_ + frames.size() > max_live_pending_bytes) return;
  live.pending += frames;
  live_pending_ += frames.size();
  to_send_.notify();
}

Task<void> BusIntake::feed_viewers() {
  for (;;) {
    co_await to_send_.wait(clock_);
    for (auto& lines : notices_.take()) (void)co_await cache_.publish(log_notices, lines);
    std::vector<std::pair<AttemptId, std::string>> pieces;
    for (auto& [attempt, live] : live_)
      if (!live.pending.empty()) pieces.emplace_back(attempt, std::exchange(live.pending, {}));
    live_pending_ = 0;
    for (auto& [attempt, frames] : pieces)
      for (auto& piece : split_frames(frames)) (void)co_await cache_.publish(log_channel(attempt), piece);
  }
}

Task<void> BusIntake::hear_notices() {
  auto notices = cache_.subscribe(log_notices);
  for (;;) {
    auto lines = co_await notices->next(clock_.now() + listen_again);
    if (!lines) continue;
    for (auto& notice : notices_from(*lines)) {
      auto at = known_.find(notice.attempt);
      if (at == known_.end()) continue;
      auto log = at->second;
      heard_durable(*log, notice.durable);
      if (notice.gap && *notice.gap >= log->durable) go_back(notice.attempt, *log, *notice.gap);
    }
  }
}

Task<void> BusIntake::hear_watches() {
  auto watches = cache_.subscribe(log_watches);
  for (;;) {
    auto lines = co_await watches->next(clock_.now() + listen_again);
    if (!lines) continue;
    for (auto& watch : watches_from(*lines)) watched_[watch.attempt] = clock_.now() + log_watch_kept;
  }
}

/// For a runner that comes to another gateway next.
Task<void> BusIntake::keep_hints() {
  for (;;) {
    co_await sleep_for(clock_, hint_interval);
    for (auto attempt : std::exchange(gone_back_, {})) (void)co_await cache_.remove(log_next_key(attempt));
    for (auto attempt : std::exchange(moved_on_, {})) {
      auto at = known_.find(attempt);
      if (at == known_.end()) continue;
      Cached hint{.sequence = at->second->next, .value = {}};
      (void)co_await cache_.set_if_newer(log_next_key(attempt), std::move(hint), log_next_kept);
    }
    forget_idle();
  }
}

void BusIntake::forget_idle() {
  auto now = clock_.now();
  std::erase_if(known_, [&](auto& e) { return e.second.use_count() == 1 && e.second->touched + idle_kept < now; });
  std::erase_if(watched_, [&](auto& e) { return e.second < now; });
  std::erase_if(live_, [&](auto& e) { return e.second.pending.empty() && !watched_.contains(e.first); });
}

Task<void> BusIntake::run() {
  Scope scope(loop_);
  scope.spawn(hear_notices());
  scope.spawn(hear_watches());
  scope.spawn(feed_viewers());
  scope.spawn(keep_hints());
  co_await scope.join();
}

}  // namespace mayfly
