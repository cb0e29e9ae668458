#include "simulation/oracle.h"

#include <algorithm>

namespace mayfly::simulation {
namespace {

constexpr std::string_view all_builds = "select id, sequence, status from builds order by id";
constexpr std::string_view all_jobs = "select id, fence, status, name from jobs order by id";
constexpr std::string_view open_deliveries = "select count(*) from deliveries where status = 'received'";
constexpr std::string_view one_delivery = "select status, build_id from deliveries where id = $1";
constexpr std::string_view builds_of_meaning = "select count(*) from builds where commit_sha = $1";
constexpr std::string_view attempts_of_job = "select id, outcome, log_bytes from attempts where job_id = $1";
constexpr std::string_view holding = "select count(*) from jobs where status in ('assigned', 'running')";

bool terminal(std::string_view job_status) {
  auto status = job_status_from(job_status);
  return status && is_terminal(*status);
}

int rank(const std::string& status) {
  auto known = job_status_from(status);
  return known ? std::min(int(*known), int(JobStatus::succeeded)) : -1;
}

}  // namespace

Task<void> Oracle::look() {
  auto builds = co_await truth_.query(statement(all_builds));
  for (auto& row : builds->rows) {
    auto id = id_at<BuildId>(row, 0);
    auto& last = sequences_[id];
    if (int_at(row, 1) < last) violated("build " + id.str() + ": its sequence went from " + std::to_string(last) + " to " + std::to_string(int_at(row, 1)));
    last = int_at(row, 1);
    auto& status = build_status_[id];
    auto known = build_status_from(status);
    if (known && is_terminal(*known) && status != text_at(row, 2)) violated("build " + id.str() + ": left " + status + " for " + text_at(row, 2));
    status = text_at(row, 2);
  }
  auto jobs = co_await truth_.query(statement(all_jobs));
  for (auto& row : jobs->rows) {
    auto& [fence, status] = jobs_[id_at<JobId>(row, 0)];
    auto now = text_at(row, 2);
    if (terminal(status) && status != now) violated("job " + text_at(row, 3) + ": left " + status + " for " + now);
    bool retried = now == "queued" && int_at(row, 1) == fence;
    if (int_at(row, 1) < fence || (int_at(row, 1) == fence && rank(now) < rank(status) && !retried))
      violated("job " + text_at(row, 3) + ": went back from " + status + " to " + now);
    if (status != now) trace_ += to_rfc3339(clock_.now()) + " " + text_at(row, 3) + " " + now + "\n";
    fence = int_at(row, 1);
    status = now;
  }
}

std::optional<BuildId> Oracle::some_build(std::uint64_t n) const {
  if (sequences_.empty()) return std::nullopt;
  return std::next(sequences_.begin(), std::ptrdiff_t(n % sequences_.size()))->first;
}

Task<bool> Oracle::all_ended(int deliveries) {
  auto open = co_await truth_.query(statement(open_deliveries));
  if (int_at(open->rows[0], 0) > 0) co_return false;
  auto builds = co_await truth_.query(statement(all_builds));
  if (int(builds->rows.size()) < deliveries) co_return false;
  co_return std::ranges::all_of(builds->rows, [](auto& row) { return is_terminal(*build_status_from(text_at(row, 2))); });
}

Task<void> Oracle::judge(const Deeds& deeds, std::int64_t, LogReader& logs, int deliveries) {
  if (!co_await all_ended(deliveries)) violated("not every acknowledged webhook became a build that ended");
  for (auto& [delivery, meaning] : acknowledged_) {
    auto found = co_await truth_.query(statement(one_delivery, delivery));
    if (found->rows.empty()) violated("an acknowledged delivery is gone");
    char sha[41];
    std::snprintf(sha, sizeof sha, "%040x", meaning + 1);
    auto builds = co_await truth_.query(statement(builds_of_meaning, sha));
    if (int_at(builds->rows[0], 0) != 1) violated("meaning " + std::to_string(meaning) + " has " + std::to_string(int_at(builds->rows[0], 0)) + " builds");
  }
  for (auto& [attempt, times] : deeds.begun)
    if (times != 1) violated("attempt " + attempt.str() + " was begun " + std::to_string(times) + " times");
  for (auto& [job, attempts] : deeds.of_job) {
    int successes = 0;
    auto rows = co_await truth_.query(statement(attempts_of_job, job));
    for (auto& row : rows->rows) {
      if (null_at(row, 1) || text_at(row, 1) != "success") continue;
      ++successes;
      auto id = id_at<AttemptId>(row, 0);
      auto& written = deeds.logs.at(id);
      auto kept = co_await logs.read(id, 0, 1 << 20);
      if (!kept || *kept != written || int_at(row, 2) != std::int64_t(written.size())) violated("the log of attempt " + id.str() + " is not what was written");
    }
    if (successes > 1) violated("job " + job.str() + " succeeded " + std::to_string(successes) + " times");
  }
  auto held = co_await truth_.query(statement(holding));
  if (int_at(held->rows[0], 0) != 0) violated("jobs hold runners after all builds have ended");
}

}  // namespace mayfly::simulation
