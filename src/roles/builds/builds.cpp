#include "roles/builds/builds.h"

#include <algorithm>


namespace mayfly {
namespace {

constexpr std::size_t row_of_build = 1;   // in the unit of insert_build()

}  // namespace

std::shared_ptr<Builds::Entry> Builds::entry(BuildId id) {
  auto& slot = entries_[id];
  if (!slot) slot = std::make_shared<Entry>();
  slot->last_used = ++uses_;
  auto result = slot;
  if (entries_.size() > max_cached_builds) {
    // Forget the older half of what nobody holds.
    auto horizon = uses_ - std::int64_t(max_cached_builds);
    std::erase_if(entries_, [&](auto& e) { return e.second.use_count() == 1 && e.second->last_used < horizon; });
  }
  return result;
}

Task<Result<void>> Builds::ensure_loaded(std::shared_ptr<Entry> entry, BuildId id) {
  if (entry->record) co_return Result<void>{};
  CO_TRY_ASSIGN(auto record, co_await load_build(db_, id));
  entry->record = std::make_shared<BuildRecord>(std::move(record));
  co_return Result<void>{};
}

Task<Result<void>> Builds::create(BuildRecord record, std::vector<Statement> also) {
  Effects effects;
  if (record.header.errors.empty()) {
    link_needs(record.state);
    effects = begin(record.state, clock_.now());
  } else {
    record.state.status = BuildStatus::failed;
    record.state.sequence = 1;
    record.state.start_time = record.state.end_time = clock_.now();
    effects.build_changed = true;
  }
  auto change = insert_build(record, effects, clock_, entropy_);
  std::ranges::move(also, std::back_inserter(change.unit));
  auto made = entry(record.header.id);
  auto guard = co_await made->mutex.lock(clock_);
  CO_TRY_ASSIGN(auto stored, co_await db_.transact(std::move(change.unit)));
  record.header.number = int_at(stored.at(row_of_build).rows.at(0), 0);
  made->record = std::make_shared<BuildRecord>(std::move(record));
  announce(made->record->state, effects, std::move(change.outbox));
  co_return Result<void>{};
}

Task<bool> Builds::is_current(std::shared_ptr<const BuildRecord> record) {
  auto sequence = co_await sequence_of_build(db_, record->header.id);
  co_return sequence && *sequence == record->state.sequence;
}

Task<Result<Builds::Tried>> Builds::try_change(std::shared_ptr<Entry> entry, const BuildEvent& event, const std::vector<Statement>& also) {
  // Others may hold the record they were given: change a copy, and show it only once it is stored.
  auto next = std::make_shared<BuildRecord>(*entry->record);
  auto from = next->state.sequence;
  CO_TRY_ASSIGN(auto effects, apply(next->state, event, clock_.now()));
  if (effects.empty()) co_return Tried::known;
  auto change = store_change(next->state, effects, from, clock_, entropy_);
  change.unit.insert(change.unit.end(), also.begin(), also.end());
  entry->record.reset();  // unknown until the database has answered
  auto stored = co_await db_.transact(std::move(change.unit));
  if (!stored && stored.error().code == Errc::conflict) co_return Tried::beaten;
  if (!stored) co_return std::unexpected(stored.error());
  entry->record = std::move(next);
  announce(entry->record->state, effects, std::move(change.outbox));
  co_return Tried::stored;
}

Task<Result<void>> Builds::change(BuildId id, BuildEvent event, std::vector<Statement> also) {
  auto held = entry(id);
  auto guard = co_await held->mutex.lock(clock_);
  for (int i = 0; i < max_change_tries; ++i) {
    bool fresh = !held->record;
    CO_TRY(co_await ensure_loaded(held, id));
    auto tried = co_await try_change(held, event, also);
    if (tried && *tried == Tried::beaten) continue;
    bool stored = tried && *tried == Tried::stored;
    // A refusal, or "known already", is only as good as the state it was decided on.
    if (!stored && !fresh && held->record && !co_await is_current(held->record)) {
      held->record.reset();
      continue;
    }
    if (!tried) co_return std::unexpected(tried.error());
    co_return Result<void>{};
  }
  co_return fail(Errc::unavailable, "build " + id.str() + " changes faster than this change could be stored", "try again");
}

Task<Result<std::shared_ptr<const BuildRecord>>> Builds::get(BuildId id) {
  auto held = entry(id);
  auto guard = co_await held->mutex.lock(clock_);
  if (held->record && !co_await is_current(held->record)) held->record.reset();
  auto loaded = co_await ensure_loaded(held, id);
  if (!loaded) {
    entries_.erase(id);
    co_return std::unexpected(loaded.error());
  }
  co_return held->record;
}

void Builds::announce(const BuildState& state, const Effects& effects, std::vector<OutboxRow> rows) {
  outbox_.stored(std::move(rows));
  for (auto& observer : observers_) observer(state, effects);
}

}  // namespace mayfly
