#include "roles/logs/shipped_intake.h"

#include <map>

#include "base/json.h"

namespace mayfly {
namespace {

/// Whether the same bytes may be taken when they come again.
bool may_pass(const Error& error) {
  return error.code == Errc::unavailable || error.code == Errc::timeout || error.code == Errc::rate_limited || error.code == Errc::canceled ||
         error.code == Errc::internal;
}

struct Extent {
  std::int64_t end = 0;
  std::size_t bytes = 0;
};

std::map<AttemptId, Extent> extents(const std::vector<ShippedRecord>& records) {
  std::map<AttemptId, Extent> out;
  for (auto& record : records) {
    auto& extent = out[record.attempt];
    extent.end = std::max(extent.end, record.offset + std::int64_t(record.text.size()));
    extent.bytes += record.text.size();
  }
  return out;
}

/// Until all of it is known, or the bytes before it have not come in time.
Task<Result<void>> take_log(AttemptId attempt, std::string frames, std::int64_t end, const KeepFrames& keep, LogReader& reader, Time until) {
  while (true) {
    CO_TRY_ASSIGN(auto answer, co_await keep(attempt, frames));
    if (answer.next >= end) co_return Result<void>{};
    if (!co_await reader.wait_beyond(attempt, answer.next, until))
      co_return fail(Errc::invalid, "log " + attempt.str() + ": the bytes from " + std::to_string(answer.next) + " on are missing");
  }
}

}  // namespace

std::string to_json(const ShippedAnswer& answer) {
  json::object out{{"logs", answer.logs}, {"bytes", answer.bytes}, {"refused", answer.refused}};
  if (answer.refused > 0) out["why"] = answer.why;
  return json::serialize(out);
}

Task<Result<ShippedAnswer>> take_shipped(Shipped shipped, KeepFrames keep, LogReader& reader, Clock& clock) {
  ShippedAnswer answer{.refused = shipped.refused, .why = std::move(shipped.first_refusal)};
  auto until = clock.now() + shipped_gap_patience;
  auto wanted = extents(shipped.records);
  for (auto& [attempt, frames] : shipped_frames(std::move(shipped.records))) {
    auto taken = co_await take_log(attempt, std::move(frames), wanted[attempt].end, keep, reader, until);
    if (taken) {
      ++answer.logs;
      answer.bytes += wanted[attempt].bytes;
      continue;
    }
    if (may_pass(taken.error()) || taken.error().code == Errc::unauthenticated) co_return std::unexpected(taken.error());
    if (answer.refused++ == 0) answer.why = taken.error().message;
  }
  co_return answer;
}

}  // namespace mayfly
