#pragma once
// A gateway's view of logs that others take in and store: chunks from storage, and behind them what comes live over the Cache,
// by offset, so that the two meet without a seam. One subscription a watched log, shared by all who watch it here. Whoever is
// slower than the live bytes reads storage: nobody has a queue of his own.
//
// The Cache may lose anything. A hole behind the stored part is asked for among the aggregators (log_wire.h: "from"), and
// else waited for until it is stored; what nobody told is found by asking the database, ever less often.

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "async/scope.h"
#include "async/signal.h"
#include "ports/cache.h"
#include "roles/logs/log_chunks.h"
#include "roles/logs/log_intake.h"
#include "roles/logs/log_wire.h"

namespace mayfly {

inline constexpr std::size_t max_live_log_bytes = 1 << 20;                // of one log in memory
inline constexpr Duration live_doubt_first = std::chrono::seconds(7);     // a silent log: then the database is asked …
inline constexpr Duration live_doubt_longest = std::chrono::seconds(30);  // … ever less often
inline constexpr Duration unwatched_log_kept = std::chrono::seconds(30);
inline constexpr Duration watch_repeat = std::chrono::seconds(5);         // within log_watch_kept
inline constexpr Duration missing_asked_again = std::chrono::milliseconds(200);

class LiveLogs final : public LogReader {
 public:
  /// All outlive this.
  LiveLogs(Database& db, Blobs& blobs, Cache& cache, Clock& clock, Loop loop)
      : chunks_(db, blobs, clock), cache_(cache), clock_(clock), loop_(std::move(loop)) {}

  Task<Result<std::int64_t>> size(AttemptId attempt, bool ended) override;
  Task<Result<std::string>> read(AttemptId attempt, std::int64_t from, std::size_t max) override;
  Task<Result<std::optional<LineRange>>> find_lines(AttemptId attempt, std::int64_t first, std::int64_t count) override {
    return chunks_.find_lines(attempt, first, count);
  }
  Task<bool> wait_beyond(AttemptId attempt, std::int64_t offset, Time until) override;

  /// Listens, until canceled. Without it, logs are read from storage alone.
  Task<void> run();

  std::size_t watched() const { return tails_.size(); }

 private:
  struct Tail {
    std::int64_t durable = 0;
    std::int64_t begin = 0;            // of `recent`
    std::string recent = {};
    Time heard{};                      // of `durable`
    Duration doubt = live_doubt_first;
    Time asked{};                      // for what is missing
    Time touched{};
    int waiting = 0;
    Signal moved;

    std::int64_t end() const { return begin + std::int64_t(recent.size()); }
    bool has_hole() const { return !recent.empty() && begin > durable; }
    std::int64_t readable() const { return recent.empty() || has_hole() ? durable : std::max(durable, end()); }
  };

  Task<Result<std::shared_ptr<Tail>>> watch(AttemptId attempt);
  Task<void> follow(AttemptId attempt, std::shared_ptr<Tail> tail);
  void absorb(AttemptId attempt, Tail& tail, std::string_view frames);
  static bool add(Tail& tail, std::int64_t offset, std::string_view text);
  static void forget_durable(Tail& tail);
  void heard_durable(Tail& tail, std::int64_t durable);
  Task<void> ask_database(AttemptId attempt, Tail& tail);
  void ask_for_missing(AttemptId attempt, Tail& tail);
  bool is_idle(const Tail& tail) const { return tail.waiting == 0 && tail.touched + unwatched_log_kept < clock_.now(); }

  Task<void> hear_notices();
  Task<void> repeat_watches();
  Task<void> send_watches();

  LogChunks chunks_;
  Cache& cache_;
  Clock& clock_;
  Loop loop_;
  Scope* listeners_ = nullptr;         // while run() runs
  std::map<AttemptId, std::shared_ptr<Tail>> tails_;
  LineBatches watches_;
  Signal to_send_;
};

}  // namespace mayfly
