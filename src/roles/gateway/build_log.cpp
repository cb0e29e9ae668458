#include "roles/gateway/build_log.h"

#include <algorithm>

namespace mayfly {
namespace {

constexpr std::string_view select_attempts = R"sql(
select a.id, a.job_id, a.number, a.outcome, a.log_bytes, a.end_time from attempts a join jobs j on j.id = a.job_id
where a.build_id = $1 order by j.position, a.number)sql";

}  // namespace

std::int64_t LogOutline::size() const {
  std::int64_t total = 0;
  for (auto& part : parts) total += part.size();
  return total;
}

Task<Result<std::vector<AttemptRow>>> attempts_of_build(Database& db, Clock& clock, BuildId build) {
  CO_TRY_ASSIGN(auto found, co_await db.query(statement(select_attempts, build)));
  std::vector<AttemptRow> out;
  for (auto& row : found.rows) {
    // A canceled attempt may speak until its runner has said its last words, or its grace is over.
    bool ended = !null_at(row, 3);
    bool may_speak = ended && text_at(row, 3) == to_string(Outcome::canceled) && int_at(row, 4) == 0 &&
                     time_at(row, 5) + 2 * cancel_grace > clock.now();
    out.push_back({id_at<AttemptId>(row, 0), id_at<JobId>(row, 1), int(int_at(row, 2)), ended && !may_speak});
  }
  co_return out;
}

Task<Result<LogOutline>> build_log_outline(const std::vector<AttemptRow>& attempts, LogReader& logs, const BuildState& build, Outline kind) {
  LogOutline out;
  for (auto& job : build.jobs) {
    for (auto& attempt : attempts) {
      if (attempt.job != job.id) continue;
      CO_TRY_ASSIGN(auto bytes, co_await logs.size(attempt.id, attempt.final));
      out.parts.push_back({attempt.id, "==> " + job.spec->name + " (attempt " + std::to_string(attempt.number) + ") <==\n", bytes, attempt.final});
      if (!attempt.final && kind == Outline::in_order) co_return out;
    }
    if (!is_terminal(job.status) && kind == Outline::in_order) co_return out;
  }
  out.final = is_terminal(build.status);
  co_return out;
}

Task<Result<LogOutline>> attempt_log_outline(AttemptRow attempt, LogReader& logs) {
  CO_TRY_ASSIGN(auto bytes, co_await logs.size(attempt.id, attempt.final));
  co_return LogOutline{{{attempt.id, "", bytes, attempt.final}}, attempt.final};
}

Task<Result<std::string>> read_log(LogReader& logs, const LogOutline& outline, std::int64_t from, std::size_t max) {
  std::string out;
  std::int64_t at = 0;
  for (auto& part : outline.parts) {
    auto skip = std::max<std::int64_t>(from + std::int64_t(out.size()) - at, 0);
    at += part.size();
    if (skip >= part.size()) continue;
    auto title = std::int64_t(part.title.size());
    if (skip < title) {
      out += part.title.substr(std::size_t(skip), max - out.size());
      skip = title;
    }
    if (out.size() >= max) break;
    auto want = std::min<std::int64_t>(part.bytes - (skip - title), std::int64_t(max - out.size()));
    if (want <= 0) continue;
    CO_TRY_ASSIGN(auto text, co_await logs.read(part.attempt, skip - title, std::size_t(want)));
    out += text;
    if (std::int64_t(text.size()) < want) break;
  }
  co_return out;
}

}  // namespace mayfly
