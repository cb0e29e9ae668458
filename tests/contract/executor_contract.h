#pragma once
// What every Executor must do. To plug one in: link executor_contract.cpp, and instantiate ExecutorContract with a factory of
// the world its runners live in.

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "async/scope.h"
#include "contract/surroundings.h"
#include "ports/executor.h"

namespace mayfly::contract {

enum class Behaviour {
  ends,            // at once, with Reason::oom and the detail "as it was told"
  waits,           // until SIGTERM, and then ends with Reason::canceled
  ignores_sigterm,
};

class ExecutorWorld {
 public:
  virtual ~ExecutorWorld() = default;
  /// Of the same pool each time: as after a restart of the server.
  virtual std::unique_ptr<Executor> make_executor(Loop loop) = 0;
  /// Of an attempt never seen before.
  virtual RunnerSpec make_spec(Behaviour behaviour) = 0;
  /// True once the runner is so far that it behaves as it should.
  virtual bool is_settled(AttemptId attempt) = 0;
  /// Ends the runner in a way that leaves it no last word.
  virtual void destroy_runner(AttemptId attempt) = 0;
  /// What is still on the machine of this attempt, for people; empty when nothing is.
  virtual std::string traces_of(AttemptId attempt) = 0;
};

struct ExecutorFactory {
  std::string name;
  std::function<std::unique_ptr<ExecutorWorld>()> make_world;
  Duration patience;  // how long an end may take to show

  friend void PrintTo(const ExecutorFactory& f, std::ostream* out) { *out << f.name; }
};

class ExecutorContract : public testing::TestWithParam<ExecutorFactory> {
 protected:
  void SetUp() override;
  void TearDown() override;

  template <class T>
  T run(Task<T> task) {
    return around.loop->run(std::move(task));
  }
  AttemptId start(Behaviour behaviour);
  /// What list() says of it; nullopt: nothing.
  std::optional<RunnerStatus> look(AttemptId attempt);
  /// Once it runs no more, or as it is when patience ends.
  RunnerStatus end_of(AttemptId attempt);
  /// Until `seen` holds or patience ends; the loop runs meanwhile.
  bool wait_until(std::function<bool()> seen);

  /// As a server that starts, and one that ends; the latter waits for what the executor does besides.
  void make_executor();
  void end_executor();

  Surroundings around;
  std::unique_ptr<ExecutorWorld> world;
  std::unique_ptr<Executor> executor;
  std::unique_ptr<Scope> upkeep;
  std::vector<AttemptId> started;
};

}  // namespace mayfly::contract
