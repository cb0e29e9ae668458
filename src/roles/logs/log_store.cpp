#include "roles/logs/log_store.h"

#include <algorithm>
#include <cstdio>

#include "base/log.h"

namespace mayfly {
namespace {

constexpr Duration idle_log_kept = std::chrono::minutes(2);

constexpr std::string_view select_end = "select coalesce(max(first_offset + length), 0) from log_chunks where attempt_id = $1";
constexpr std::string_view insert_chunk = R"sql(
insert into log_chunks (attempt_id, first_offset, length, data, blob_key, created_at) values ($1, $2, $3, $4, $5, $6))sql";
constexpr std::string_view select_chunks = R"sql(
select first_offset, length, data, blob_key from log_chunks
where attempt_id = $1 and first_offset + length > $2 and first_offset < $3 order by first_offset)sql";

std::string chunk_key(AttemptId attempt, std::int64_t first, std::size_t length) {
  char name[64];
  std::snprintf(name, sizeof name, "/%016llx-%zx", (unsigned long long)first, length);
  return "logs/" + attempt.str() + name;
}

}  // namespace

Task<Result<std::shared_ptr<LogStore::Open>>> LogStore::open(AttemptId attempt) {
  auto& slot = open_[attempt];
  if (slot) {
    slot->touched = clock_.now();
    co_return slot;
  }
  auto rows = co_await db_.query(statement(select_end, attempt));
  if (!rows) co_return std::unexpected(rows.error());
  auto& again = open_[attempt];  // another caller may have been faster
  if (!again) {
    again = std::make_shared<Open>();
    again->durable = int_at(rows->rows.at(0), 0);
  }
  again->touched = clock_.now();
  co_return again;
}

Task<Result<LogsAnswer>> LogStore::append(AttemptId attempt, std::string frames) {
  CO_TRY_ASSIGN(auto log, co_await open(attempt));
  bool grew = false;
  for (std::string_view rest = frames; !rest.empty();) {
    CO_TRY_ASSIGN(auto decoded, decode_frame(rest));
    if (decoded.size == 0) co_return fail(Errc::corrupt, "a log request ends within a frame");
    rest.remove_prefix(decoded.size);
    auto& frame = decoded.frame;
    auto end = frame.offset + std::int64_t(frame.text.size());
    if (end <= log->next()) continue;
    if (frame.offset > log->next()) break;
    if (end > max_log_bytes) co_return fail(Errc::too_large, "a log may have " + std::to_string(max_log_bytes) + " bytes");
    log->buffer.append(frame.text.substr(std::size_t(log->next() - frame.offset)));
    if (!log->oldest) log->oldest = clock_.now();
    grew = true;
  }
  if (grew) log->moved.notify();
  if (log->buffer.size() >= log_chunk_bytes) {
    auto guard = co_await log->mutex.lock(clock_);
    CO_TRY(co_await flush_locked(attempt, *log));
  }
  co_return LogsAnswer{log->next(), log->durable};
}

Task<Result<LogsAnswer>> LogStore::position(AttemptId attempt) {
  CO_TRY_ASSIGN(auto log, co_await open(attempt));
  co_return LogsAnswer{log->next(), log->durable};
}

/// After a doubt: the database says how far the log is durable, and the buffer begins there.
Task<Result<void>> LogStore::settle(AttemptId attempt, Open& log) {
  if (!log.doubtful) co_return Result<void>{};
  CO_TRY_ASSIGN(auto rows, co_await db_.query(statement(select_end, attempt)));
  auto stored = int_at(rows.rows.at(0), 0) - log.durable;
  if (stored > 0) {
    log.buffer.erase(0, std::size_t(stored));
    log.durable += stored;
  }
  log.doubtful = false;
  co_return Result<void>{};
}

Task<Result<void>> LogStore::flush_locked(AttemptId attempt, Open& log) {
  CO_TRY(co_await settle(attempt, log));
  while (!log.buffer.empty()) {
    auto length = std::min(log.buffer.size(), log_chunk_bytes);
    auto chunk = log.buffer.substr(0, length);
    Value data, key;
    if (length <= inline_chunk_bytes) {
      data = Blob{std::move(chunk)};
    } else {
      auto name = chunk_key(attempt, log.durable, length);
      CO_TRY(co_await blobs_.put(name, chunk));
      key = std::move(name);
    }
    Statement insert{insert_chunk, {value(attempt), value(log.durable), value(std::int64_t(length)), std::move(data), std::move(key), value(clock_.now())}};
    log.doubtful = true;
    CO_TRY(co_await db_.transact({std::move(insert)}));
    log.doubtful = false;
    log.durable += std::int64_t(length);
    log.buffer.erase(0, length);
    log.oldest = log.buffer.empty() ? std::nullopt : std::optional(clock_.now());
  }
  co_return Result<void>{};
}

Task<Result<void>> LogStore::flush(AttemptId attempt) {
  CO_TRY_ASSIGN(auto log, co_await open(attempt));
  auto guard = co_await log->mutex.lock(clock_);
  co_return co_await flush_locked(attempt, *log);
}

Task<Result<std::vector<Statement>>> LogStore::last_chunk(AttemptId attempt) {
  CO_TRY_ASSIGN(auto log, co_await open(attempt));
  auto guard = co_await log->mutex.lock(clock_);
  CO_TRY(co_await settle(attempt, *log));
  if (log->buffer.size() > inline_chunk_bytes) CO_TRY(co_await flush_locked(attempt, *log));
  log->doubtful = !log->buffer.empty();  // whoever asked stores it
  std::vector<Statement> out;
  if (!log->buffer.empty())
    out.push_back(statement(insert_chunk, attempt, log->durable, std::int64_t(log->buffer.size()), Blob{log->buffer}, Value{}, clock_.now()));
  co_return out;
}

void LogStore::ended(AttemptId attempt) {
  auto at = open_.find(attempt);
  if (at == open_.end()) return;
  auto log = at->second;
  open_.erase(at);  // from now on the database is asked
  log->moved.notify();
}

Task<Result<std::string>> LogStore::read_durable(AttemptId attempt, std::int64_t from, std::size_t max) {
  auto chunks = co_await db_.query(statement(select_chunks, attempt, from, from + std::int64_t(max)));
  if (!chunks) co_return std::unexpected(chunks.error());
  std::string out;
  for (auto& row : chunks->rows) {
    auto first = int_at(row, 0), length = int_at(row, 1);
    auto at = from + std::int64_t(out.size());
    if (first > at) co_return fail(Errc::corrupt, "the log of attempt " + attempt.str() + " has a hole at " + std::to_string(at));
    auto want = std::min<std::int64_t>(length - (at - first), std::int64_t(max - out.size()));
    if (want <= 0) break;
    if (null_at(row, 3)) {
      out.append(blob_at(row, 2), std::size_t(at - first), std::size_t(want));
    } else {
      CO_TRY_ASSIGN(auto bytes, co_await blobs_.get_range(text_at(row, 3), at - first, want));
      out += bytes;
    }
  }
  co_return out;
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
    CO_TRY_ASSIGN(auto stored, co_await read_durable(attempt, at, max - out.size()));
    if (stored.empty()) break;
    out += stored;
  }
  co_return out;
}

Task<bool> LogStore::wait_beyond(AttemptId attempt, std::int64_t offset, Time until) {
  auto log = co_await open(attempt);
  if (!log) co_return false;
  if ((*log)->next() > offset) co_return true;
  co_return co_await (*log)->moved.wait(clock_, until);
}

void LogStore::forget_idle() {
  auto horizon = clock_.now() - idle_log_kept;
  std::erase_if(open_, [&](auto& e) { return e.second && e.second.use_count() == 1 && e.second->buffer.empty() && e.second->touched < horizon; });
}

Task<void> LogStore::run() {
  for (;;) {
    co_await sleep_for(clock_, std::chrono::seconds(1));
    std::vector<AttemptId> old;
    for (auto& [attempt, log] : open_)
      if (log && log->oldest && *log->oldest + log_chunk_age <= clock_.now()) old.push_back(attempt);
    for (auto attempt : old) {
      auto flushed = co_await flush(attempt);
      if (!flushed) log_warn("a log chunk could not be stored", {{"attempt", attempt.str()}, {"error", flushed.error().message}});
    }
    forget_idle();
  }
}

}  // namespace mayfly
