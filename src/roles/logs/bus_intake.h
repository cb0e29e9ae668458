#pragma once
// A gateway's intake where logs travel by the Bus: it checks frames and publishes them, keyed by attempt, for a LogAggregator to
// store. It owns nothing: what it remembers of an attempt only saves work, and any gateway can take over in the middle.
//
// `next` is what the bus has acknowledged, `durable` what the database holds. When an aggregator says that it has a gap (the
// bus lost something), or nothing becomes durable for log_stall_after although it should, `next` goes back and the runner,
// which keeps everything that is not durable, sends it again.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "async/mutex.h"
#include "async/signal.h"
#include "ports/bus.h"
#include "ports/cache.h"
#include "ports/clock.h"
#include "roles/logs/log_intake.h"
#include "roles/logs/log_wire.h"

namespace mayfly {

inline constexpr Duration log_doubt_after = std::chrono::seconds(7);      // without a notice, the database is asked
inline constexpr Duration log_stall_after = std::chrono::seconds(15);     // nothing became durable: it is sent again; doubles …
inline constexpr Duration longest_log_stall = std::chrono::minutes(5);    // … up to this
inline constexpr Duration log_complete_limit = std::chrono::seconds(10);  // of one complete()
inline constexpr Duration log_next_kept = std::chrono::minutes(1);        // in the cache
inline constexpr Duration log_watch_kept = std::chrono::seconds(15);      // without a repetition, a log is no longer watched
inline constexpr std::size_t max_live_bytes_per_second = 2 << 20;         // of one log, to its viewers: what pours faster they read from storage
inline constexpr std::size_t max_live_pending_bytes = 16 << 20;           // of all logs, while the cache is slow

class BusIntake final : public LogIntake {
 public:
  /// All outlive this.
  BusIntake(Database& db, Bus& bus, Cache& cache, Clock& clock, Loop loop) : db_(db), bus_(bus), cache_(cache), clock_(clock), loop_(std::move(loop)) {}

  Task<Result<LogsAnswer>> append(AttemptId attempt, std::string frames) override;
  Task<Result<LogsAnswer>> position(AttemptId attempt) override;
  /// Returns no statements: when it succeeds, all of the log is durable.
  Task<Result<LogEnd>> complete(AttemptId attempt, std::int64_t log_bytes) override;
  Task<Result<void>> flush(AttemptId) override { co_return Result<void>{}; }
  void ended(AttemptId attempt) override;

  /// Listens to aggregators and viewers and feeds these, until canceled. Without it everything still works, late.
  Task<void> run();

 private:
  struct Known {
    std::int64_t next = 0;
    std::int64_t durable = 0;
    std::optional<std::int64_t> gap;     // what has to come next
    Time heard{};                        // of `durable`
    Time moved_at{};                     // since when something is on its way and nothing became durable
    Duration patience = log_stall_after;
    Time touched{};
    Signal moved;
    Mutex sending;
    std::int64_t wanted() const { return gap.value_or(next); }
  };
  struct Live {
    std::string pending;
    Time window{};
    std::size_t in_window = 0;
  };
  /// What of a request goes on the bus.
  struct Batch {
    std::string frames;
    std::int64_t begin = 0;
    std::int64_t end = 0;
  };

  static Result<Batch> checked(std::string_view frames, std::int64_t durable);
  Task<Result<std::shared_ptr<Known>>> known(AttemptId attempt);
  Task<void> refresh(AttemptId attempt, Known& log);
  Task<Result<void>> ask_database(AttemptId attempt, Known& log);
  Task<void> ask_others(AttemptId attempt, Known& log);
  Task<Result<void>> publish(AttemptId attempt, std::string frames);
  void heard_durable(Known& log, std::int64_t durable);
  void go_back(AttemptId attempt, Known& log, std::int64_t to);
  void acknowledged(AttemptId attempt, Known& log, const Batch& batch);
  void offer(AttemptId attempt, std::string_view frames);
  LogsAnswer answer(const Known& log) const { return {log.wanted(), log.durable}; }

  Task<void> hear_notices();
  Task<void> hear_watches();
  Task<void> feed_viewers();
  Task<void> keep_hints();
  void forget_idle();

  Database& db_;
  Bus& bus_;
  Cache& cache_;
  Clock& clock_;
  Loop loop_;
  std::map<AttemptId, std::shared_ptr<Known>> known_;
  std::map<AttemptId, Time> watched_;           // until when
  std::map<AttemptId, Live> live_;
  std::size_t live_pending_ = 0;
  LineBatches notices_;
  Signal to_send_;
  std::set<AttemptId> moved_on_;                // their next is to be noted in the cache
  std::set<AttemptId> gone_back_;               // … and to be removed
};

}  // namespace mayfly
