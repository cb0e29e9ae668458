#include "roles/builds/builds.h"

#include <algorithm>
#include <set>

#include "base/log.h"

namespace mayfly {
namespace {

const std::string build_channel_prefix = "build:";
constexpr std::size_t relay_batch = 500;
constexpr Duration relay_retry = std::chrono::seconds(1);
constexpr Duration relay_sweep = std::chrono::seconds(5);

constexpr std::string_view select_outbox = "select id, topic, key, payload from outbox order by id limit $1";
constexpr std::string_view delete_outbox = "delete from outbox where id = $1";

}  // namespace

std::string build_channel(BuildId id) { return build_channel_prefix + id.str(); }

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
  auto unit = insert_build(record, effects, clock_, entropy_);
  std::ranges::move(also, std::back_inserter(unit));
  auto made = entry(record.header.id);
  auto guard = co_await made->mutex.lock(clock_);
  CO_TRY(co_await db_.transact(std::move(unit)));
  // The number was given by the database: the record is read when it is first asked for, jobs decide from what is here.
  made->record = std::make_shared<BuildRecord>(std::move(record));
  announce(made->record->state, effects);
  co_return Result<void>{};
}

Task<Result<bool>> Builds::try_change(std::shared_ptr<Entry> entry, const BuildEvent& event, const std::vector<Statement>& also) {
  // Others may hold the record they were given: change a copy, and show it only once it is stored.
  auto next = std::make_shared<BuildRecord>(*entry->record);
  auto from = next->state.sequence;
  CO_TRY_ASSIGN(auto effects, apply(next->state, event, clock_.now()));
  if (effects.empty()) co_return true;
  auto unit = store_change(next->state, effects, from, clock_, entropy_);
  unit.insert(unit.end(), also.begin(), also.end());
  entry->record.reset();  // unknown until the database has answered
  auto stored = co_await db_.transact(std::move(unit));
  if (!stored && stored.error().code == Errc::conflict) co_return false;
  if (!stored) co_return std::unexpected(stored.error());
  entry->record = std::move(next);
  announce(entry->record->state, effects);
  co_return true;
}

Task<Result<void>> Builds::change(BuildId id, BuildEvent event, std::vector<Statement> also) {
  auto held = entry(id);
  auto guard = co_await held->mutex.lock(clock_);
  for (int i = 0; i < max_change_tries; ++i) {
    CO_TRY(co_await ensure_loaded(held, id));
    CO_TRY_ASSIGN(bool done, co_await try_change(held, event, also));
    if (done) co_return Result<void>{};
  }
  co_return fail(Errc::unavailable, "build " + id.str() + " changes faster than this change could be stored", "try again");
}

Task<Result<std::shared_ptr<const BuildRecord>>> Builds::get(BuildId id) {
  auto held = entry(id);
  auto guard = co_await held->mutex.lock(clock_);
  auto loaded = co_await ensure_loaded(held, id);
  if (!loaded) {
    entries_.erase(id);
    co_return std::unexpected(loaded.error());
  }
  co_return held->record;
}

void Builds::announce(const BuildState& state, const Effects& effects) {
  outbox_.notify();
  for (auto& observer : observers_) observer(state, effects);
}

Task<Result<std::size_t>> Builds::relay_some() {
  CO_TRY_ASSIGN(auto waiting, co_await db_.query(statement(select_outbox, std::int64_t(relay_batch))));
  if (waiting.rows.empty()) co_return std::size_t{0};
  std::map<std::string, std::vector<Message>> by_topic;
  std::set<std::string> moved;
  std::vector<Statement> done;
  for (auto& row : waiting.rows) {
    by_topic[text_at(row, 1)].push_back({text_at(row, 2), text_at(row, 3)});
    if (text_at(row, 1) == topic::events) moved.insert(text_at(row, 2));
    done.push_back(statement(delete_outbox, text_at(row, 0)));
  }
  for (auto& [name, messages] : by_topic) CO_TRY(co_await bus_.publish(name, std::move(messages)));
  for (auto& build : moved) CO_TRY(co_await cache_.publish(build_channel_prefix + build, ""));
  CO_TRY(co_await db_.transact(std::move(done)));
  co_return waiting.rows.size();
}

Task<void> Builds::relay() {
  for (;;) {
    auto sent = co_await relay_some();
    if (!sent) log_warn("the outbox could not be relayed", {{"error", sent.error().message}});
    if (sent && *sent == relay_batch) continue;
    co_await outbox_.wait(clock_, clock_.now() + (sent ? relay_sweep : relay_retry));
  }
}

}  // namespace mayfly
