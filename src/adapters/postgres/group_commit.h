#pragma once
// Many units, one fsync. A batch runs in one transaction as if all of it would succeed, in one or two round trips. When one of
// its units says no, nothing of the batch has happened: the innocent run again together, and those under suspicion in
// savepoints of their own, so that each gets the answer it would have got alone.

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "adapters/postgres/link.h"
#include "async/completion.h"

namespace mayfly::postgres {

struct Unit {
  const std::vector<Statement>& statements;
  std::size_t bytes = 0;
  std::string_view key{};  // what it is about; see lane.h
  Done wake{};             // of its caller, when it is answered or has to lead
  Result<std::vector<Rows>> result{};
  bool answered = false;
  int losses = 0;  // connections that ended under it
  std::chrono::steady_clock::time_point since = std::chrono::steady_clock::now();
};

class GroupCommit final {
 public:
  using Units = std::vector<Unit*>;
  /// The connection for units that have waited since then; or why there is none.
  using Connect = std::function<Task<Result<std::shared_ptr<Link>>>(std::chrono::steady_clock::time_point since)>;

  explicit GroupCommit(Connect connect) : connect_(std::move(connect)) {}

  /// Runs and commits the units, answers each and wakes its caller. One that fails leaves no trace and does not touch the others.
  Task<void> run(Units units);

 private:
  struct Batch {
    Units units;
    bool in_savepoints = false;
    int rounds = 0;  // in which somebody was found guilty
    int tries = 0;   // that lost to others' locks
  };
  struct Verdicts;
  struct Savepoints;
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };

  Task<void> together(Batch batch);
  Task<void> commit(Link& link, Batch batch, Exchange& exchange);
  Task<void> roll_back_and_sort(Link& link, Batch batch, const Exchange& exchange, Verdicts verdicts);
  Task<void> one_by_one_in_savepoints(Batch batch);
  Task<bool> try_in_savepoint(Link& link, Unit& unit, Savepoints& savepoints);
  Task<void> commit_savepoints(Link& link, Batch batch, Savepoints& savepoints);

  bool says_nothing(const Unit& unit) const;
  void answer(Unit& unit, Result<std::vector<Rows>> result);
  void answer_all(const Batch& batch, Exchange& exchange);
  void refuse(const Units& units, const Error& error);
  void unknown(const Units& units, const Error& why);
  void interrupted(Batch batch, const Error& why);
  void again(Batch batch, const Error& why);
  void alone(const Units& units, int tries = 0);
  void suspect(const Units& units);

  Connect connect_;
  std::deque<Batch> todo_;
  std::unordered_set<std::string, Hash, std::equal_to<>> silent_;  // statements known to return no rows
};

}  // namespace mayfly::postgres
