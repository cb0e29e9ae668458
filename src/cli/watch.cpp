#include "cli/watch.h"

#include <algorithm>
#include <utility>

#include "async/scope.h"
#include "cli/persist.h"
#include "cli/render/build_view.h"

namespace mayfly::cli {
namespace {

constexpr Duration redraw_every = std::chrono::milliseconds(250);
constexpr Duration look_again_every = std::chrono::seconds(2);  // why a job waits changes without an event
constexpr std::size_t max_failures_shown = 5;
constexpr std::size_t max_lines_shown = 20;
constexpr std::int64_t max_tail_bytes = 16 * 1024;

/// One build on a screen.
class Watch final {
 public:
  Watch(Session& session, std::string id) : session_(session), id_(std::move(id)), scope_(session.loop) {}

  Task<Result<Build>> run() {
    scope_.spawn(follow());
    if (session_.world.console.terminal() && !session_.json) scope_.spawn(keep_fresh());
    co_await scope_.join();
    co_return *std::move(result_);
  }

  Task<void> follow() {
    auto first = co_await session_.api.build(id_);
    if (first) project_ = co_await project_name(session_, first->project_id);
    result_ = co_await follow_build(session_, id_, [this](const Build& build) {
      show(build);
      return true;
    });
    if (*result_) co_await conclude(**result_);
    scope_.cancel();
  }

  /// Durations grow while nothing happens.
  Task<void> keep_fresh() {
    auto looked = session_.clock.now();
    while (true) {
      co_await sleep_for(session_.clock, redraw_every);
      if (!build_ || has_ended(build_->status)) continue;
      if (session_.clock.now() - looked > look_again_every) {
        looked = session_.clock.now();
        auto now = co_await session_.api.build(id_);
        if (now && now->sequence >= build_->sequence && !has_ended(now->status)) build_ = std::move(*now);
      }
      draw();
    }
  }

 private:
  BuildScene scene() const { return {*build_, project_, session_.clock.now()}; }

  void show(const Build& build) {
    auto before = std::exchange(build_, build);
    if (session_.json) return;
    if (session_.world.console.terminal()) return draw();
    for (auto& line : changes(before ? &*before : nullptr, scene())) session_.line(line);
  }

  void draw() {
    auto rows = std::size_t(std::max(4, session_.world.console.height() - 1));
    auto lines = build_tree(scene(), session_.style(), rows);
    std::string frame = drawn_ > 0 ? "\x1b[" + std::to_string(drawn_) + "A\x1b[J" : "";
    for (auto& line : lines) frame += line + "\n";
    session_.out(frame);
    drawn_ = lines.size();
  }

  Task<void> conclude(const Build& build) {
    if (session_.json) {
      session_.line(build.json);
      co_return;
    }
    auto failures = culprits(build);
    for (std::size_t i = 0; i < std::min(failures.size(), max_failures_shown); ++i) co_await show_failure(*failures[i]);
    if (failures.size() > max_failures_shown)
      session_.line("… and " + std::to_string(failures.size() - max_failures_shown) + " more failed");
    session_.line(verdict(scene(), session_.style()));
    if (!build.url.empty()) session_.line("  " + harmless(build.url));
  }

  Task<void> show_failure(const Job& job) {
    auto style = session_.style();
    auto* step = failed_step(job);
    auto title = harmless(job.name) + (step ? " › " + first_line(step->name) : "");
    session_.line(painted("── " + title, Paint::bold, style) + "  " + painted(first_line(job.detail.empty() ? job.reason : job.detail), Paint::red, style));
    auto range = "-" + std::to_string(max_tail_bytes);
    if (step && step->log_start && step->log_end && *step->log_end > *step->log_start)
      range = std::to_string(std::max(*step->log_start, *step->log_end - max_tail_bytes)) + "-" + std::to_string(*step->log_end - 1);
    auto text = co_await session_.api.log_piece(job.id, job.attempt, range);
    if (!text) co_return;
    for (auto& line : last_lines(*text, max_lines_shown)) session_.line("   " + line);
  }

  Session& session_;
  std::string id_;
  std::string project_;
  std::optional<Build> build_;
  std::optional<Result<Build>> result_;
  std::size_t drawn_ = 0;
  Scope scope_;
};

}  // namespace

Task<Result<Build>> follow_build(Session& session, std::string build_id, std::function<bool(const Build&)> look) {
  std::optional<Build> last;
  Persistence persistence(session.clock);
  auto moved = [&]() -> Task<Result<bool>> {
    CO_TRY_ASSIGN(auto now, co_await session.api.build(build_id));
    persistence.progress();
    if (last && now.sequence < last->sequence) co_return true;
    last = std::move(now);
    bool wanted = look(*last);
    co_return wanted && !has_ended(last->status);
  };
  while (true) {
    auto seen = co_await session.api.build_events(build_id, moved);
    if (seen) co_return *std::move(last);
    CO_TRY(co_await persistence.after(std::move(seen).error()));
  }
}

Task<Result<Build>> watch_build(Session& session, std::string build_id) {
  Watch watch(session, std::move(build_id));
  co_return co_await watch.run();
}

int exit_code_of(const Build& build) { return build.status == "succeeded" ? done : said_no; }

}  // namespace mayfly::cli
