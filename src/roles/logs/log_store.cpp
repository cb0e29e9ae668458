#include "roles/logs/log_store.h"

#include <algorithm>

#include "base/log.h"

namespace mayfly {
namespace {

constexpr Duration idle_log_kept = std::chrono::minutes(2);

}  // namespace

Task<Result<std::shared_ptr<LogStore::Open>>> LogStore::open(AttemptId attempt) {
  auto& slot = open_[attempt];
  if (slot) {
    slot->touched = clock_.now();
    co_return slot;
  }
  auto end = co_await chunks_.end(attempt);
  if (!end) {
    if (auto at = open_.find(attempt); at != open_.end() && !at->second) open_.erase(at);
    co_return std::unexpected(end.error());
  }
  auto& again = open_[attempt];  // another caller may have been faster
  if (!again) {
    again = std::make_shared<Open>();
    again->durable = *end;
  }
  again->touched = clock_.now();
  co_return again;
}

Result<void> LogStore::take_frame(Open& log, const LogFrame& frame, Taken& taken) {
  auto end = frame.offset + std::int64_t(frame.text.size());
  if (frame.text.empty()) taken.mark = frame.offset;
  if (end <= log.next()) return {};
  if (frame.offset > log.next()) {
    taken.beyond = frame.offset;
    return {};
  }
  if (end > max_log_bytes) return fail(Errc::too_large, "a log may have " + std::to_string(max_log_bytes) + " bytes");
  auto news = frame.text.substr(std::size_t(log.next() - frame.offset));
  log.buffer.append(news);
  buffered_ += news.size();
  if (!log.oldest) log.oldest = clock_.now();
  taken.grew = true;
  return {};
}

Task<Result<LogStore::Taken>> LogStore::take(AttemptId attempt, std::string_view frames) {
  CO_TRY_ASSIGN(auto log, co_await open(attempt));
  Taken taken;
  bool asked = false;
  for (auto rest = frames; !rest.empty() && !taken.beyond;) {
    CO_TRY_ASSIGN(auto decoded, decode_frame(rest));
    if (decoded.size == 0) co_return fail(Errc::corrupt, "a log request ends within a frame");
    CO_TRY(take_frame(*log, decoded.frame, taken));
    if (taken.beyond && !std::exchange(asked, true)) {
      // Somebody else may have stored what is missing here.
      auto guard = co_await log->mutex.lock(clock_);
      log->doubtful = true;
      CO_TRY(co_await settle(attempt, *log));
      taken.beyond.reset();
      continue;
    }
    rest.remove_prefix(decoded.size);
  }
  if (taken.grew) log->moved.notify();
  taken.next = log->next();
  taken.durable = log->durable;
  taken.buffered = log->buffer.size();
  co_return taken;
}

Task<Result<LogsAnswer>> LogStore::append(AttemptId attempt, std::string frames) {
  CO_TRY_ASSIGN(auto taken, co_await take(attempt, frames));
  if (taken.buffered >= log_chunk_bytes) CO_TRY(co_await flush(attempt));
  co_return co_await position(attempt);
}

Task<Result<LogsAnswer>> LogStore::position(AttemptId attempt) {
  CO_TRY_ASSIGN(auto log, co_await open(attempt));
  co_return LogsAnswer{log->next(), log->durable};
}

void LogStore::drop_front(Open& log, std::size_t bytes) {
  auto length = std::min(bytes, log.buffer.size());
  log.buffer.erase(0, length);
  buffered_ -= length;
  log.oldest = log.buffer.empty() ? std::nullopt : std::optional(clock_.now());
}

/// After a doubt: the database says how far the log is durable, and the buffer begins there.
Task<Result<void>> LogStore::settle(AttemptId attempt, Open& log) {
  if (!log.doubtful) co_return Result<void>{};
  CO_TRY_ASSIGN(auto end, co_await chunks_.end(attempt));
  if (auto stored = end - log.durable; stored > 0) {
    drop_front(log, std::size_t(stored));
    log.durable = end;
  }
  log.doubtful = false;
  co_return Result<void>{};
}

Task<Result<void>> LogStore::flush_locked(AttemptId attempt, Open& log) {
  for (int settlements = 0;; ++settlements) {
    CO_TRY(co_await settle(attempt, log));
    if (log.buffer.empty()) co_return Result<void>{};
    auto part = log.buffer.substr(0, max_chunks_at_once * log_chunk_bytes);
    auto length = part.size();
    log.doubtful = true;
    auto stored = co_await chunks_.store(attempt, log.durable, std::move(part));
    if (!stored && stored.error().code == Errc::conflict && settlements < max_log_settlements) continue;
    CO_TRY(stored);
    log.doubtful = false;
    settlements = 0;
    log.durable += std::int64_t(length);
    drop_front(log, length);
  }
}

Task<Result<void>> LogStore::flush(AttemptId attempt) {
  CO_TRY_ASSIGN(auto log, co_await open(attempt));
  auto guard = co_await log->mutex.lock(clock_);
  co_return co_await flush_locked(attempt, *log);
}

Task<Result<LogEnd>> LogStore::complete(AttemptId attempt, std::int64_t log_bytes) {
  CO_TRY_ASSIGN(auto log, co_await open(attempt));
  if (log->next() < log_bytes)
    co_return fail(Errc::invalid, "log_bytes: only " + std::to_string(log->next()) + " bytes of the log have arrived", "send the rest first");
  auto guard = co_await log->mutex.lock(clock_);
  CO_TRY(co_await settle(attempt, *log));
  if (log->buffer.size() > inline_chunk_bytes) CO_TRY(co_await flush_locked(attempt, *log));
  log->doubtful = !log->buffer.empty();  // whoever asked stores it
  LogEnd end{.bytes = log->next(), .statements = {}};
  if (!log->buffer.empty()) end.statements.push_back(chunks_.row(attempt, log->durable, log->buffer));
  co_return end;
}

void LogStore::ended(AttemptId attempt) {
  auto at = open_.find(attempt);
  if (at == open_.end()) return;
  auto log = at->second;
  open_.erase(at);  // from now on the database is asked
  if (!log) return;
  buffered_ -= log->buffer.size();
  log->buffer.clear();
  log->moved.notify();
}

Task<Result<std::int64_t>> LogStore::size(AttemptId attempt, bool) {
  CO_TRY_ASSIGN(auto log, co_await open(attempt));
  co_return log->next();
}

Task<Result<std::string>> LogStore::read(AttemptId attempt, std::int64_t from, std::size_t max) {
  CO_TRY_ASSIGN(auto log, co_await open(attempt));
  std::string out;
  while (out.size() < max) {
    auto at = from + std::int64_t(out.size());
    if (at >= log->durable) {
      auto skip = std::size_t(at - log->durable);
      if (skip < log->buffer.size()) out += log->buffer.substr(skip, max - out.size());
      break;
    }
    // While this is read, more may become durable: then it is read again from there.
    CO_TRY_ASSIGN(auto stored, co_await chunks_.read(attempt, at, max - out.size()));
    if (stored.empty()) break;
    out += stored;
  }
  co_return out;
}

LogStore::Part LogStore::in_memory(AttemptId attempt, std::int64_t from, std::size_t max) const {
  auto at = open_.find(attempt);
  if (at == open_.end() || !at->second) return {};
  auto& log = *at->second;
  auto skip = std::size_t(std::max<std::int64_t>(from - log.durable, 0));
  if (skip >= log.buffer.size()) return {};
  return {log.durable + std::int64_t(skip), log.buffer.substr(skip, max)};
}

std::optional<std::int64_t> LogStore::durable(AttemptId attempt) const {
  auto at = open_.find(attempt);
  if (at == open_.end() || !at->second) return std::nullopt;
  return at->second->durable;
}

Task<bool> LogStore::wait_beyond(AttemptId attempt, std::int64_t offset, Time until) {
  auto log = co_await open(attempt);
  if (!log) co_return false;
  if ((*log)->next() > offset) co_return true;
  co_return co_await (*log)->moved.wait(clock_, until);
}

std::vector<AttemptId> LogStore::older_than(Duration age) const {
  std::vector<AttemptId> out;
  for (auto& [attempt, log] : open_)
    if (log && log->oldest && *log->oldest + age <= clock_.now()) out.push_back(attempt);
  return out;
}

void LogStore::forget_idle() {
  auto horizon = clock_.now() - idle_log_kept;
  std::erase_if(open_, [&](auto& e) { return e.second && e.second.use_count() == 1 && e.second->buffer.empty() && e.second->touched < horizon; });
}

Task<void> LogStore::run() {
  for (;;) {
    co_await sleep_for(clock_, std::chrono::seconds(1));
    for (auto attempt : older_than(log_chunk_age)) {
      auto flushed = co_await flush(attempt);
      if (!flushed) log_warn("a log chunk could not be stored", {{"attempt", attempt.str()}, {"error", flushed.error().message}});
    }
    forget_idle();
  }
}

}  // namespace mayfly
