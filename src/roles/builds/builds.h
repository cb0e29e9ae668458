#pragma once
// The one way builds come to be and change. Holds live builds in memory as a cache of the database: each change is decided
// on the cached state, stored by compare-and-set on the sequence, and decided again on fresh state if somebody else was
// first. What the change asks of others goes into the outbox with it and from there onto the bus.

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "async/mutex.h"
#include "roles/builds/outbox.h"
#include "roles/builds/records.h"

namespace mayfly {

inline constexpr std::size_t max_cached_builds = 2000;
inline constexpr int max_change_tries = 8;

class Builds final {
 public:
  Builds(Database& db, Bus& bus, Cache& cache, Clock& clock, Entropy& entropy)
      : db_(db), clock_(clock), entropy_(entropy), outbox_(db, bus, cache, clock) {}

  /// Stores a planned build (or one whose pipeline has errors: it has no jobs and is failed) together with `also`, in one
  /// unit. Errc::conflict: its meaning has a build already, or an expectation of `also` failed.
  Task<Result<void>> create(BuildRecord record, std::vector<Statement> also);

  /// Applies one event. The errors of apply(), plus Errc::not_found, and Errc::unavailable when the database is away.
  /// `also` is stored in the same unit, or not at all; it is not stored when the event changes nothing.
  Task<Result<void>> change(BuildId id, BuildEvent event, std::vector<Statement> also = {});

  /// The build as the database has it now: whoever changed it, a later call never gives an earlier state.
  Task<Result<std::shared_ptr<const BuildRecord>>> get(BuildId id);

  /// Brings what was stored here onto the bus, until canceled. Every process that changes builds runs it.
  Task<void> relay() { return outbox_.run(); }
  /// Errc::unavailable: messages have waited for long.
  Task<Result<void>> check_outbox() { return outbox_.check(); }

  /// Called after every stored change, on the loop, with what it asked for.
  void on_change(std::function<void(const BuildState&, const Effects&)> observer) { observers_.push_back(std::move(observer)); }

 private:
  struct Entry {
    Mutex mutex;
    std::shared_ptr<BuildRecord> record;  // null: to be loaded
    std::int64_t last_used = 0;
  };

  std::shared_ptr<Entry> entry(BuildId id);
  Task<Result<void>> ensure_loaded(std::shared_ptr<Entry> entry, BuildId id);
  enum class Tried { stored, known, beaten };
  Task<bool> is_current(std::shared_ptr<const BuildRecord> record);
  Task<Result<Tried>> try_change(std::shared_ptr<Entry> entry, const BuildEvent& event, const std::vector<Statement>& also);
  void announce(const BuildState& state, const Effects& effects, std::vector<OutboxRow> rows);

  Database& db_;
  Clock& clock_;
  Entropy& entropy_;
  std::map<BuildId, std::shared_ptr<Entry>> entries_;
  std::int64_t uses_ = 0;
  Outbox outbox_;
  std::vector<std::function<void(const BuildState&, const Effects&)>> observers_;
};

}  // namespace mayfly
