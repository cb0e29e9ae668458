#include "adapters/postgres/group_commit.h"

#include <algorithm>
#include <span>

namespace mayfly::postgres {
namespace {

/// PostgreSQL keeps 64 of them at hand; more slow every other session down.
constexpr std::size_t max_savepoints = 48;
constexpr int max_rounds = 2;  // after so many a batch that still has guilty units goes in savepoints as a whole
constexpr int max_tries = 12;  // that lost to others' locks: each time somebody else has won
constexpr int max_losses = 1;  // of a connection, before COMMIT was sent
constexpr std::size_t max_silent = 1024;

const Statement begin_it{"begin", {}}, commit_it{"commit", {}}, roll_it_back{"rollback", {}};
const Statement save{"savepoint unit", {}}, release{"release savepoint unit", {}}, go_back{"rollback to savepoint unit", {}};

std::optional<Failure> unexpected(const Statement& statement, const Reply& reply) {
  if (!statement.expect) return std::nullopt;
  auto found = reply.reads ? std::int64_t(reply.rows.rows.size()) : reply.rows.affected;
  if (found == *statement.expect) return std::nullopt;
  return Failure{{Errc::conflict,
                  "database: " + std::to_string(found) + " rows where " + std::to_string(*statement.expect) +
                      " were expected of: " + shortened(statement.sql),
                  {}}};
}

std::vector<Rows> rows_of(std::span<Reply> replies) {
  std::vector<Rows> out;
  out.reserve(replies.size());
  for (auto& reply : replies) out.push_back(std::move(reply.rows));
  return out;
}

/// Why a unit cannot be, as far as its statements, which stand from `first` on in the exchange, were answered.
std::optional<Failure> verdict(const Unit& unit, const Exchange& exchange, std::size_t first) {
  auto heard = exchange.replies.size();
  for (std::size_t i = 0; i < unit.statements.size() && first + i < heard; ++i)
    if (auto failure = unexpected(unit.statements[i], exchange.replies[first + i])) return failure;
  if (first <= heard && heard < first + unit.statements.size()) return exchange.failure;
  return std::nullopt;
}

std::span<Reply> replies_of(const Unit& unit, Exchange& exchange, std::size_t first) {
  return std::span(exchange.replies).subspan(first, unit.statements.size());
}

}  // namespace

struct GroupCommit::Verdicts {
  Units guilty, innocent;
  std::optional<Failure> failure;  // of the guilty one when there is but one
  bool run_again = false, read_only = false;

  static Verdicts of(const Batch& batch, const Exchange& exchange) {
    Verdicts out;
    std::size_t first = 1;  // behind BEGIN
    for (auto* unit : batch.units) {
      if (auto failure = verdict(*unit, exchange, first)) {
        out.guilty.push_back(unit);
        out.run_again = out.run_again || failure->run_again;
        out.read_only = out.read_only || failure->read_only;
        out.failure = std::move(failure);
      } else {
        out.innocent.push_back(unit);
      }
      first += unit->statements.size();
    }
    return out;
  }
};

Task<void> GroupCommit::run(Units units) {
  todo_.push_back({std::move(units)});
  while (!todo_.empty()) {
    auto batch = std::move(todo_.front());
    todo_.pop_front();
    if (batch.in_savepoints) co_await one_by_one_in_savepoints(std::move(batch));
    else co_await together(std::move(batch));
  }
}

Task<void> GroupCommit::together(Batch batch) {
  auto link = co_await connect_(batch.units.front()->since);
  if (!link) {
    refuse(batch.units, link.error());
    co_return;
  }
  // With nothing to look at before it, COMMIT goes along with the rest.
  bool at_once = std::ranges::all_of(batch.units, [&](auto* unit) { return says_nothing(*unit); });
  Exchange exchange;
  exchange.statements.push_back(&begin_it);
  for (auto* unit : batch.units)
    for (auto& statement : unit->statements) exchange.statements.push_back(&statement);
  if (at_once) exchange.statements.push_back(&commit_it);
  co_await postgres::run(**link, exchange);

  if (exchange.lost && !exchange.failure) {
    if (at_once) unknown(batch.units, *exchange.lost);
    else interrupted(std::move(batch), *exchange.lost);
    co_return;
  }
  auto verdicts = Verdicts::of(batch, exchange);
  if (exchange.failure || !verdicts.guilty.empty()) co_await roll_back_and_sort(**link, std::move(batch), exchange, std::move(verdicts));
  else if (at_once) answer_all(batch, exchange);
  else co_await commit(**link, std::move(batch), exchange);
}

Task<void> GroupCommit::commit(Link& link, Batch batch, Exchange& exchange) {
  Exchange closing;
  closing.statements.push_back(&commit_it);
  co_await postgres::run(link, closing);
  // A deferred constraint speaks up only here, without a name: whose it was shows when each commits alone.
  if (closing.failure && batch.units.size() > 1) alone(batch.units);
  else if (closing.failure && closing.failure->run_again) again(std::move(batch), closing.failure->error);
  else if (closing.failure) answer(*batch.units.front(), std::unexpected(closing.failure->error));
  else if (closing.lost) unknown(batch.units, *closing.lost);
  else answer_all(batch, exchange);
}

Task<void> GroupCommit::roll_back_and_sort(Link& link, Batch batch, const Exchange& exchange, Verdicts verdicts) {
  if (link.up()) {
    Exchange closing;
    closing.statements.push_back(&roll_it_back);
    co_await postgres::run(link, closing);
  }
  auto failure = verdicts.guilty.empty() ? *exchange.failure : *verdicts.failure;
  if (verdicts.read_only) {
    link.close(failure.error);  // this is no primary any more: the next connection finds the one that is
    interrupted(std::move(batch), failure.error);
  } else if (failure.run_again || verdicts.run_again) {
    again(std::move(batch), failure.error);
  } else if (batch.units.size() == 1) {
    answer(*batch.units.front(), std::unexpected(failure.error));
  } else if (verdicts.guilty.empty()) {
    alone(batch.units);  // it was the COMMIT that failed
  } else if (++batch.rounds > max_rounds) {
    suspect(batch.units);
  } else {
    suspect(verdicts.guilty);
    if (!verdicts.innocent.empty()) todo_.push_front({std::move(verdicts.innocent), false, batch.rounds, batch.tries});
  }
}

struct GroupCommit::Savepoints {
  struct Tried {
    Unit* unit;
    Exchange exchange;
    std::size_t first = 0;  // of the unit's own statements
    std::optional<Failure> failure{};
  };
  std::deque<Tried> tried;
  std::vector<const Statement*> opening{&begin_it};  // closes the savepoint before
};

Task<void> GroupCommit::one_by_one_in_savepoints(Batch batch) {
  auto link = co_await connect_(batch.units.front()->since);
  if (!link) {
    refuse(batch.units, link.error());
    co_return;
  }
  Savepoints savepoints;
  for (auto* unit : batch.units)
    if (!co_await try_in_savepoint(**link, *unit, savepoints)) {
      auto& lost = savepoints.tried.back().exchange.lost;
      if (lost) interrupted(std::move(batch), *lost);
      else alone(batch.units);
      co_return;
    }
  co_await commit_savepoints(**link, std::move(batch), savepoints);
}

/// False when the transaction is gone with it.
Task<bool> GroupCommit::try_in_savepoint(Link& link, Unit& unit, Savepoints& savepoints) {
  auto& tried = savepoints.tried.emplace_back(&unit);
  tried.exchange.statements = std::move(savepoints.opening);
  tried.exchange.statements.push_back(&save);
  tried.first = tried.exchange.statements.size();
  for (auto& statement : unit.statements) tried.exchange.statements.push_back(&statement);
  co_await postgres::run(link, tried.exchange);
  if (tried.exchange.lost) co_return false;
  if (tried.exchange.replies.size() < tried.first) {
    Exchange closing;
    closing.statements.push_back(&roll_it_back);
    co_await postgres::run(link, closing);
    co_return false;
  }
  tried.failure = verdict(unit, tried.exchange, tried.first);
  if (tried.failure) savepoints.opening = {&go_back, &release};
  else savepoints.opening = {&release};
  co_return true;
}

Task<void> GroupCommit::commit_savepoints(Link& link, Batch batch, Savepoints& savepoints) {
  Exchange closing;
  closing.statements = std::move(savepoints.opening);
  closing.statements.push_back(&commit_it);
  co_await postgres::run(link, closing);
  if (closing.failure) {
    alone(batch.units);
    co_return;
  }
  for (auto& tried : savepoints.tried) {
    if (tried.failure && tried.failure->run_again) alone({tried.unit}, batch.tries + 1);
    // What refused it may have been another unit of this batch, of which nobody knows whether it is there.
    else if (tried.failure && closing.lost) refuse({tried.unit}, *closing.lost);
    else if (tried.failure) answer(*tried.unit, std::unexpected(tried.failure->error));
    else if (closing.lost) unknown({tried.unit}, *closing.lost);
    else answer(*tried.unit, rows_of(replies_of(*tried.unit, tried.exchange, tried.first)));
  }
}

bool GroupCommit::says_nothing(const Unit& unit) const {
  return std::ranges::all_of(unit.statements, [&](auto& statement) { return !statement.expect && silent_.contains(statement.sql); });
}

void GroupCommit::answer(Unit& unit, Result<std::vector<Rows>> result) {
  unit.result = std::move(result);
  unit.answered = true;
  if (auto wake = std::move(unit.wake)) wake();
}

void GroupCommit::answer_all(const Batch& batch, Exchange& exchange) {
  std::size_t first = 1;
  for (auto* unit : batch.units) {
    auto replies = replies_of(*unit, exchange, first);
    for (std::size_t i = 0; i < replies.size(); ++i)
      if (auto sql = unit->statements[i].sql; !replies[i].has_columns && !silent_.contains(sql) && silent_.size() < max_silent) silent_.emplace(sql);
    first += replies.size();
    answer(*unit, rows_of(replies));
  }
}

void GroupCommit::refuse(const Units& units, const Error& error) {
  for (auto* unit : units) answer(*unit, std::unexpected(error));
}

void GroupCommit::unknown(const Units& units, const Error& why) {
  refuse(units, {Errc::timeout, why.message + ", with the commit under way", "whether it happened is not known: look before it is done again"});
}

/// The connection ended before COMMIT was sent: nothing happened.
void GroupCommit::interrupted(Batch batch, const Error& why) {
  std::erase_if(batch.units, [&](auto* unit) {
    if (++unit->losses <= max_losses) return false;
    answer(*unit, std::unexpected(Error{Errc::unavailable, why.message, why.hint}));
    return true;
  });
  if (!batch.units.empty()) todo_.push_front(std::move(batch));
}

/// It lost to others' locks, and nothing happened.
void GroupCommit::again(Batch batch, const Error& why) {
  if (++batch.tries >= max_tries)
    return refuse(batch.units, {Errc::unavailable, why.message, "others hold what this needs: try again in a moment"});
  if (batch.tries >= 2 && batch.units.size() > 1) return alone(batch.units, batch.tries);
  todo_.push_front(std::move(batch));
}

void GroupCommit::alone(const Units& units, int tries) {
  for (auto unit = units.rbegin(); unit != units.rend(); ++unit) todo_.push_front({{*unit}, false, 0, tries});
}

void GroupCommit::suspect(const Units& units) {
  if (units.size() == 1) return alone(units);
  for (std::size_t i = 0; i < units.size(); i += max_savepoints) {
    auto end = std::min(i + max_savepoints, units.size());
    todo_.push_front({{units.begin() + std::ptrdiff_t(i), units.begin() + std::ptrdiff_t(end)}, true});
  }
}

}  // namespace mayfly::postgres
