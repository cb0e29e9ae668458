#include "roles/logs/compactor.h"

#include <algorithm>
#include <array>
#include <set>

#include "base/log.h"
#include "roles/logs/log_chunks.h"
#include "roles/logs/log_objects.h"

namespace mayfly {
namespace {

constexpr std::size_t folder_page = 1000;

constexpr std::string_view select_logs = "select attempt_id from log_chunks where first_offset = 0 and attempt_id > $1 order by attempt_id limit $2";
constexpr std::string_view select_untidy = "select attempt_id from log_objects where untidy_since <= $1 order by untidy_since limit $2";
constexpr std::string_view select_chunks = "select count(*), coalesce(max(first_offset + length), 0) from log_chunks where attempt_id = $1";
constexpr std::string_view insert_object = R"sql(
insert into log_objects (attempt_id, size, lines, line_index, data, blob_key, created_at, untidy_since) values ($1, $2, $3, $4, $5, $6, $7, $7))sql";
constexpr std::string_view delete_chunks = "delete from log_chunks where attempt_id = $1";
constexpr std::string_view select_object = "select blob_key, size from log_objects where attempt_id = $1";
constexpr std::string_view delete_covered = "delete from log_chunks where attempt_id = $1 and first_offset + length <= $2";
constexpr std::string_view select_later_keys = "select blob_key from log_chunks where attempt_id = $1 and blob_key is not null";
constexpr std::string_view mark_tidy = "update log_objects set untidy_since = null where attempt_id = $1";

constexpr std::int64_t looks_at_once = 50;

/// Which of looks_at_once attempts have ended. No join: the tables' ids are sorted in different ways on PostgreSQL.
const std::string select_ended = [] {
  std::string sql = "select id from attempts where end_time <= $1 and id in (";
  for (int i = 0; i < looks_at_once; ++i) sql += (i ? ", $" : "$") + std::to_string(i + 2);
  return sql + ")";
}();

}  // namespace

/// An object that is stored, and nobody's yet.
struct LogCompactor::Packed {
  LogIndex index;
  Value data;       // one of
  Value blob_key;   // the two
};

Task<void> LogCompactor::run() {
  for (;;) {
    auto swept = co_await sweep();
    if (!swept) log_warn("logs could not be compacted", {{"error", swept.error().message}});
    // Those who do the same look at other times.
    std::array<std::uint8_t, 1> chance;
    entropy_.fill(chance);
    co_await sleep_for(clock_, compact_interval + compact_interval * chance[0] / 256);
  }
}

Task<Result<std::vector<AttemptId>>> LogCompactor::untidy(Time since) {
  CO_TRY_ASSIGN(auto found, co_await db_.query(statement(select_untidy, since, compact_batch)));
  std::vector<AttemptId> out;
  for (auto& row : found.rows) out.push_back(id_at<AttemptId>(row, 0));
  co_return out;
}

Task<Result<std::vector<AttemptId>>> LogCompactor::over(Time since) {
  std::vector<AttemptId> out;
  for (std::string after; std::int64_t(out.size()) < compact_batch;) {
    CO_TRY_ASSIGN(auto logs, co_await db_.query(statement(select_logs, after, looks_at_once)));
    if (logs.rows.empty()) break;
    after = text_at(logs.rows.back(), 0);
    auto which = statement(select_ended, since);
    for (auto& row : logs.rows) which.params.push_back(row[0]);
    which.params.resize(std::size_t(looks_at_once) + 1, after);
    CO_TRY_ASSIGN(auto ended, co_await db_.query(std::move(which)));
    for (auto& row : ended.rows) out.push_back(id_at<AttemptId>(row, 0));
  }
  co_return out;
}

/// Several processes that begin at once do not go through the same list together.
void LogCompactor::shuffle(std::vector<AttemptId>& list) {
  for (std::size_t i = list.size(); i > 1; --i) {
    std::array<std::uint8_t, 2> chance;
    entropy_.fill(chance);
    std::swap(list[i - 1], list[std::size_t(chance[0] * 256 + chance[1]) % i]);
  }
}

Task<Result<std::size_t>> LogCompactor::sweep() {
  auto now = clock_.now();
  CO_TRY_ASSIGN(auto to_tidy, co_await untidy(now - tidy_after));
  CO_TRY_ASSIGN(auto to_compact, co_await over(now - compact_after));
  CO_TRY_ASSIGN(auto tidied, co_await for_each(std::move(to_tidy), true));
  CO_TRY_ASSIGN(auto compacted, co_await for_each(std::move(to_compact), false));
  co_return tidied + compacted;
}

Task<Result<std::size_t>> LogCompactor::for_each(std::vector<AttemptId> attempts, bool tidying) {
  std::size_t done = 0;
  shuffle(attempts);
  for (auto attempt : attempts) {
    auto one = tidying ? co_await tidy(attempt) : co_await compact(attempt);
    if (one) done += *one;
    else if (one.error().code == Errc::unavailable) co_return std::unexpected(one.error());   // so it is for all
    else log_warn("a log could not be compacted", {{"attempt", attempt.str()}, {"error", one.error().message}});
  }
  co_return done;
}

Task<Result<LogCompactor::Chunks>> LogCompactor::chunks_of(AttemptId attempt) {
  CO_TRY_ASSIGN(auto rows, co_await db_.query(statement(select_chunks, attempt)));
  co_return Chunks{int_at(rows.rows.at(0), 0), int_at(rows.rows.at(0), 1)};
}

Task<Result<LogCompactor::Packed>> LogCompactor::pack(AttemptId attempt, std::int64_t size) {
  LogChunks chunks(db_, blobs_, clock_);
  SeekableWriter packer;
  std::string ready;
  // Of one name whoever makes it, and of other names where other bytes come out.
  auto key = log_folder(attempt) + "log-" + std::to_string(size) + "-" + seekable_version() + ".zst";
  std::unique_ptr<BlobWriter> writer;
  Sha256Stream digest;
  auto move_on = [&]() -> Task<Result<void>> {
    if (!writer) {
      CO_TRY_ASSIGN(writer, co_await blobs_.create(key));
    }
    CO_TRY(co_await writer->write(ready));
    digest.update(ready);
    ready.clear();
    co_return Result<void>{};
  };
  for (std::int64_t at = 0; at < size;) {
    CO_TRY_ASSIGN(auto bytes, co_await chunks.read(attempt, at, log_chunk_bytes));
    if (bytes.empty()) co_return fail(Errc::conflict, "the log of attempt " + attempt.str() + " became another while it was read");
    at += std::int64_t(bytes.size());
    ready += packer.write(bytes);
    if (ready.size() > inline_object_bytes) CO_TRY(co_await move_on());
  }
  ready += packer.finish();
  if (!writer && ready.size() <= inline_object_bytes) co_return Packed{packer.index(), Blob{std::move(ready)}, {}};
  CO_TRY(co_await move_on());
  CO_TRY_ASSIGN(auto stored, co_await writer->finish());
  if (stored.sha256 != digest.digest()) co_return fail(Errc::corrupt, "blob " + key + " is there already and is another", "remove it");
  co_return Packed{packer.index(), {}, std::move(key)};
}

Task<Result<bool>> LogCompactor::compact(AttemptId attempt) {
  CO_TRY_ASSIGN(auto chunks, co_await chunks_of(attempt));
  CO_TRY_ASSIGN(auto there, co_await find_log_object(db_, attempt));
  if (chunks.count == 0 || there) co_return false;
  CO_TRY_ASSIGN(auto packed, co_await pack(attempt, chunks.end));
  auto& index = packed.index;
  if (index.size() != chunks.end) co_return false;
  std::vector<Statement> unit;
  unit.push_back(statement(insert_object, attempt, index.size(), index.lines(), Blob{index.encode()}, packed.data, packed.blob_key, clock_.now()));
  // All of those that were read and no other: else a byte would be lost.
  unit.push_back({delete_chunks, {value(attempt)}, chunks.count});
  auto changed = co_await db_.transact(std::move(unit));
  if (!changed && changed.error().code == Errc::conflict) co_return false;
  CO_TRY(changed);
  co_return true;
}

Task<Result<bool>> LogCompactor::tidy(AttemptId attempt) {
  CO_TRY_ASSIGN(auto found, co_await db_.query(statement(select_object, attempt)));
  if (found.rows.empty()) co_return false;
  // A writer that was thought dead may have stored what the object has, or, if it spoke late, more.
  CO_TRY(co_await db_.transact({statement(delete_covered, attempt, int_at(found.rows[0], 1))}));
  CO_TRY_ASSIGN(auto later, co_await db_.query(statement(select_later_keys, attempt)));
  std::set<std::string> kept{text_at(found.rows[0], 0)};
  for (auto& row : later.rows) kept.insert(text_at(row, 0));
  for (std::string after;;) {
    CO_TRY_ASSIGN(auto blobs, co_await blobs_.list(log_folder(attempt), after, folder_page));
    for (auto& blob : blobs) {
      after = blob.key;
      if (!kept.contains(blob.key)) CO_TRY(co_await blobs_.remove(blob.key));
    }
    if (blobs.size() < folder_page) break;
  }
  CO_TRY(co_await db_.transact({statement(mark_tidy, attempt)}));
  co_return true;
}

}  // namespace mayfly
