#include "roles/logs/log_objects.h"

#include <algorithm>

namespace mayfly {
namespace {

constexpr std::string_view select_object = "select line_index, data, blob_key from log_objects where attempt_id = $1";

}  // namespace

std::string log_folder(AttemptId attempt) { return "logs/" + attempt.str() + "/"; }

Task<Result<std::optional<LogObject>>> find_log_object(Database& db, AttemptId attempt) {
  CO_TRY_ASSIGN(auto found, co_await db.query(statement(select_object, attempt)));
  if (found.rows.empty()) co_return std::optional<LogObject>{};
  auto& row = found.rows[0];
  LogObject object;
  CO_TRY_ASSIGN(object.index, LogIndex::decode(blob_at(row, 0)));
  if (null_at(row, 2)) object.data = blob_at(row, 1);
  else object.blob_key = text_at(row, 2);
  co_return std::optional(std::move(object));
}

Task<Result<std::string>> read_log_object(Blobs& blobs, LogObject object, ByteRange range) {
  range.from = std::max<std::int64_t>(range.from, 0);
  range.to = std::min(range.to, object.index.size());
  if (range.from >= range.to) co_return std::string();
  auto frames = object.index.frames_of(range);
  auto at = frames.stored.from, length = frames.stored.to - frames.stored.from;
  std::string stored;
  if (object.data) {
    if (at > std::int64_t(object.data->size())) co_return fail(Errc::corrupt, "a stored log is shorter than its index says");
    stored = object.data->substr(std::size_t(at), std::size_t(length));
  } else {
    CO_TRY_ASSIGN(stored, co_await blobs.get_range(object.blob_key, at, length));
  }
  CO_TRY_ASSIGN(auto log, unpack_frames(stored, std::size_t(range.to - frames.begins) + seekable_frame_bytes));
  if (std::int64_t(log.size()) < range.to - frames.begins) co_return fail(Errc::corrupt, "a stored log is shorter than its index says");
  co_return log.substr(std::size_t(range.from - frames.begins), std::size_t(range.to - range.from));
}

}  // namespace mayfly
