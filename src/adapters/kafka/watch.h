#pragma once
// Where librdkafka's threads and the loop meet: its queues wake the loop, and what blocks is done elsewhere and comes back.

#include <functional>
#include <memory>
#include <optional>

#include "async/offload.h"
#include "async/signal.h"
#include "async/task.h"
#include "base/result.h"
#include "ports/clock.h"

typedef struct rd_kafka_queue_s rd_kafka_queue_t;

namespace mayfly::kafka {

/// Runs `work` on the loop at one of its next turns. From any thread.
void post_to(const Loop& loop, std::move_only_function<void()> work);

/// Calls `ready` on the loop when something came into an empty queue; whoever is called empties it. No call after the
/// destruction, which must come before the queue's.
class QueueWatch final {
 public:
  QueueWatch(Loop loop, rd_kafka_queue_t* queue, std::function<void()> ready);
  ~QueueWatch();
  QueueWatch(const QueueWatch&) = delete;
  QueueWatch& operator=(const QueueWatch&) = delete;

 private:
  struct State;
  rd_kafka_queue_t* queue_;
  std::shared_ptr<State> state_;
};

/// Calls `work` on the loop, `after` from now and again, until it is destroyed.
class Every final {
 public:
  Every(Loop loop, Duration after, std::function<void()> work);
  ~Every();
  Every(const Every&) = delete;
  Every& operator=(const Every&) = delete;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// A blocking call that is made once however many wait for what it answers.
class SharedCall final : public std::enable_shared_from_this<SharedCall> {
 public:
  SharedCall(Loop loop, Offload& blocking) : loop_(std::move(loop)), blocking_(blocking) {}

  /// The answer of the call that runs, or of `call`, run elsewhere. Errc::unavailable past `until`.
  Task<Result<void>> answer(Clock& clock, Time until, std::move_only_function<Result<void>()> call);

 private:
  Loop loop_;
  Offload& blocking_;
  bool running_ = false;
  Result<void> answer_;
  Signal answered_;
};

}  // namespace mayfly::kafka
