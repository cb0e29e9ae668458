#include "roles/logs/log_chunks.h"

#include <algorithm>
#include <boost/asio/this_coro.hpp>
#include <cassert>
#include <cstdio>
#include <deque>

#include "async/scope.h"
#include "roles/logs/log_objects.h"

namespace mayfly {
namespace {

/// Of an object and a chunk that a zombie has stored since, the farther one.
constexpr std::string_view select_end = R"sql(
select coalesce(max(reached), 0) from (
  select reached from (select first_offset + length as reached from log_chunks where attempt_id = $1 order by first_offset desc limit 1) as last_chunk
  union all select size from log_objects where attempt_id = $1) as ends)sql";
constexpr std::size_t max_log_read = 16 << 20;   // of an object at once

constexpr std::string_view insert_chunk = R"sql(
insert into log_chunks (attempt_id, first_offset, length, data, blob_key, created_at) values ($1, $2, $3, $4, $5, $6))sql";
constexpr std::string_view select_chunks = R"sql(
select first_offset, length, data, blob_key from log_chunks
where attempt_id = $1 and first_offset > $2 and first_offset + length > $3 and first_offset < $4 order by first_offset)sql";

std::string chunk_key(AttemptId attempt, std::int64_t first, std::size_t length) {
  char name[64];
  std::snprintf(name, sizeof name, "%016llx-%zx", (unsigned long long)first, length);
  return log_folder(attempt) + name;
}

}  // namespace

Task<Result<std::int64_t>> stored_log_end(Database& db, AttemptId attempt) {
  CO_TRY_ASSIGN(auto rows, co_await db.query(statement(select_end, attempt)));
  co_return int_at(rows.rows.at(0), 0);
}

Statement LogChunks::row(AttemptId attempt, std::int64_t first, std::string bytes) const {
  auto length = std::int64_t(bytes.size());
  return statement(insert_chunk, attempt, first, length, Blob{std::move(bytes)}, Value{}, clock_.now());
}

Task<void> LogChunks::put(std::string key, std::string_view bytes, Result<void>& outcome) {
  auto stored = co_await blobs_.put(key, bytes);
  if (!stored) outcome = std::unexpected(stored.error());
}

Task<Result<void>> LogChunks::store(AttemptId attempt, std::int64_t first, std::string bytes) {
  assert(bytes.size() <= max_chunks_at_once * log_chunk_bytes);
  std::vector<Statement> unit;
  std::deque<Result<void>> puts;
  Scope side_by_side(co_await boost::asio::this_coro::executor);
  for (std::size_t at = 0; at < bytes.size(); at += log_chunk_bytes) {
    auto chunk = std::string_view(bytes).substr(at, log_chunk_bytes);
    auto offset = first + std::int64_t(at);
    if (chunk.size() <= inline_chunk_bytes) {
      unit.push_back(row(attempt, offset, std::string(chunk)));
      continue;
    }
    auto key = chunk_key(attempt, offset, chunk.size());
    unit.push_back(statement(insert_chunk, attempt, offset, std::int64_t(chunk.size()), Value{}, key, clock_.now()));
    side_by_side.spawn(put(std::move(key), chunk, puts.emplace_back()));
  }
  co_await side_by_side.join();
  for (auto& outcome : puts) CO_TRY(outcome);
  CO_TRY(co_await db_.transact(std::move(unit)));
  co_return Result<void>{};
}

Task<Result<std::string>> LogChunks::read(AttemptId attempt, std::int64_t from, std::size_t max) {
  auto read = co_await read_chunks(attempt, from, max);
  if (read && !read->empty()) co_return read;
  // No chunk begins here, or its bytes are gone: the log may have become an object, just now.
  bool may_be_object = read || read.error().code == Errc::not_found || read.error().code == Errc::corrupt;
  if (!may_be_object) co_return read;
  CO_TRY_ASSIGN(auto object, co_await find_log_object(db_, attempt));
  if (!object || from >= object->index.size()) co_return read;
  auto size = object->index.size();
  CO_TRY_ASSIGN(auto out, co_await read_log_object(blobs_, *std::move(object), {from, std::min(size, from + std::int64_t(std::min(max, max_log_read)))}));
  if (out.size() == max || from + std::int64_t(out.size()) < size) co_return out;
  CO_TRY_ASSIGN(auto later, co_await read_chunks(attempt, size, max - out.size()));
  co_return out + later;
}

Task<Result<std::optional<LineRange>>> LogChunks::find_lines(AttemptId attempt, std::int64_t first, std::int64_t count) {
  CO_TRY_ASSIGN(auto object, co_await find_log_object(db_, attempt));
  if (!object) co_return std::optional<LineRange>{};
  co_return object->index.find_lines(first, count);
}

Task<Result<std::string>> LogChunks::read_chunks(AttemptId attempt, std::int64_t from, std::size_t max) {
  CO_TRY_ASSIGN(auto chunks, co_await db_.query(statement(select_chunks, attempt, from - std::int64_t(log_chunk_bytes), from, from + std::int64_t(max))));
  std::string out;
  for (auto& row : chunks.rows) {
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

}  // namespace mayfly
