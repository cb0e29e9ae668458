#pragma once
// The stage between Bus and storage: takes every log's frames off topic::logs, gathers them, and stores them when a chunk is full
// (1 MB), old (5 s) or marked. Its place on the bus moves only behind bytes that are stored, so one that dies, is paused or
// loses its share is followed by another that begins with the same bytes; two that store the same log are kept apart by the
// chunks' compare-and-set (log_chunks.h). Any number may run: the bus divides the logs.
//
// What lies beyond a gap is not stored: it says so (log_wire.h), and the runner sends again from there.

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "async/scope.h"
#include "async/signal.h"
#include "ports/bus.h"
#include "ports/cache.h"
#include "roles/logs/log_store.h"
#include "roles/logs/log_wire.h"

namespace mayfly {

inline constexpr std::string_view log_group = "logs";
inline constexpr std::size_t max_aggregate_bytes = 256 << 20;   // in memory and not stored; past it, nothing more is polled
inline constexpr std::size_t max_aggregate_polled = 64;         // messages of one poll
inline constexpr std::size_t max_flushes_at_once = 16;
inline constexpr Duration gap_notice_interval = std::chrono::seconds(1);   // of one log
inline constexpr std::size_t max_retold_bytes = 512 << 10;      // from memory, to one who began to watch

class LogAggregator final {
 public:
  /// All outlive this.
  LogAggregator(Database& db, Blobs& blobs, Bus& bus, Cache& cache, Clock& clock, Loop loop)
      : store_(db, blobs, clock), bus_(bus), cache_(cache), clock_(clock), loop_(std::move(loop)) {}

  /// Until canceled. What was not stored by then is not lost: the next one polls it again.
  Task<void> run();

  std::size_t buffered_bytes() const { return store_.buffered_bytes(); }

 private:
  /// A polled message, until what it brought is stored: every log as far as it says.
  struct Polled {
    std::int64_t position = 0;
    std::vector<std::pair<AttemptId, std::int64_t>> ends = {};
  };
  struct Flush {
    bool queued = false, busy = false;
  };
  /// What a message brings of one log.
  struct Piece {
    AttemptId attempt;
    std::string frames;
  };
  struct Decoded {
    std::int64_t position = 0;
    std::vector<Piece> pieces;
  };

  Task<void> consume();
  Result<std::vector<Piece>> pieces_of(Message message);
  Result<std::vector<Piece>> shipped_pieces(std::string_view payload);
  std::vector<Decoded> decode(std::vector<Message> batch);
  Task<void> open_logs(const std::vector<Decoded>& batch);
  Task<void> open_log(AttemptId attempt);
  Task<void> take(Polled& into, Piece piece);
  void look_at(AttemptId attempt, const LogStore::Taken& taken);
  Task<void> commit(Subscription& from);
  bool is_stored(const Polled& polled) const;
  void complain(const Error& error);

  void want_flush(AttemptId attempt);
  void start_flushes();
  Task<void> flush(AttemptId attempt);
  Task<void> flush_old();

  void announce(const LogNotice& notice);
  Task<void> announce_forever();
  Task<void> retell();

  LogStore store_;
  Bus& bus_;
  Cache& cache_;
  Clock& clock_;
  Loop loop_;
  Scope* work_ = nullptr;                     // while run() runs
  std::deque<Polled> polled_;                 // in the order of their positions
  std::map<AttemptId, Flush> flushes_;
  std::deque<AttemptId> flush_queue_;
  std::size_t flushing_ = 0;
  Signal flushed_;
  std::map<AttemptId, Time> gaps_;            // when one was last spoken of
  LineBatches notices_;
  Signal to_send_;
  Time complained_{};
};

}  // namespace mayfly
