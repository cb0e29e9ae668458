#include "cli/log_follower.h"

#include <algorithm>

#include "cli/persist.h"
#include "cli/watch.h"

namespace mayfly::cli {

void LinePrefixer::feed(std::string_view bytes) {
  while (!bytes.empty()) {
    auto room = max_prefixed_line_bytes - line_.size();
    auto newline = bytes.substr(0, room).find('\n');
    auto taken = newline == std::string_view::npos ? std::min(room, bytes.size()) : newline + 1;
    line_ += bytes.substr(0, taken);
    bytes.remove_prefix(taken);
    if (newline != std::string_view::npos || line_.size() == max_prefixed_line_bytes) end();
  }
}

void LinePrefixer::end() {
  if (line_.empty()) return;
  if (line_.back() != '\n') line_ += '\n';
  sink_(prefix_ + line_);
  line_.clear();
}

std::string log_prefix(std::string_view job, std::size_t width, const Style& style) {
  return painted(padded(harmless(job), width) + " |", Paint::cyan, style) + " ";
}

LogFollower::LogFollower(Session& session, std::string build_id, std::string job)
    : session_(session), build_id_(std::move(build_id)), job_(std::move(job)), scope_(session.loop) {}

Task<Result<Build>> LogFollower::run() {
  scope_.spawn(follow_build_then_stop());
  co_await scope_.join();
  co_return *std::move(result_);
}

Task<void> LogFollower::follow_build_then_stop() {
  result_ = co_await follow_build(session_, build_id_, [this](const Build& build) { return look(build); });
  build_ended_ = true;
  moved_.notify();
}

/// False when nothing of interest will move any more.
bool LogFollower::look(const Build& build) {
  bool all_ended = true;
  for (auto& job : build.jobs) name_width_ = std::max(name_width_, columns(harmless(job.name)));
  for (auto& job : build.jobs) {
    if (!job_.empty() && job.name != job_) continue;
    bool is_new = jobs_.insert_or_assign(job.name, job).second;
    if (is_new) scope_.spawn(follow_job(job.name));
    all_ended = all_ended && has_ended(job.status);
  }
  moved_.notify();
  return !all_ended;
}

Task<void> LogFollower::follow_job(std::string name) {
  std::int64_t shown = 0;
  Sink out = [this](std::string_view bytes) { session_.out(bytes); };
  LinePrefixer prefixer(log_prefix(name, name_width_, session_.style()), out);
  while (true) {
    auto job = jobs_[name];
    if (job.attempt > shown && job.start_time) {
      shown = job.attempt;
      auto sink = job_.empty() ? Sink([&](std::string_view bytes) { prefixer.feed(bytes); }) : out;
      auto followed = co_await follow_attempt({.job_id = job.id, .attempt = job.attempt}, sink);
      prefixer.end();
      if (!followed) session_.world.console.err(error_text(followed.error()));
      continue;
    }
    if (has_ended(job.status) || build_ended_) co_return;
    co_await moved_.wait(session_.clock);
  }
}

Task<Result<void>> LogFollower::follow_attempt(LogPosition position, Sink sink) {
  Persistence persistence(session_.clock);
  while (true) {
    auto before = position.from;
    auto ended = co_await session_.api.live_log(position, sink);
    if (ended && *ended) co_return Result<void>();
    if (position.from > before) persistence.progress();
    auto error = ended ? Error{Errc::unavailable, "the server ended the log's stream before the log ended", {}} : std::move(ended).error();
    CO_TRY(co_await persistence.after(std::move(error)));
  }
}

}  // namespace mayfly::cli
