#pragma once
// Events between roles. They make things fast, never true: whatever is lost here is found again by the next sweep over
// the database. At least once, ordered by key, replayable from a position.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "async/task.h"
#include "base/result.h"
#include "base/time.h"

namespace mayfly {

namespace topic {
inline constexpr std::string_view jobs = "mayfly.jobs";                // key project_id: a job became queued
inline constexpr std::string_view assignments = "mayfly.assignments";  // key pool: an attempt to start or stop there
inline constexpr std::string_view logs = "mayfly.logs";                // key attempt_id
inline constexpr std::string_view events = "mayfly.events";            // key build_id: a build's sequence went up
inline constexpr std::string_view deliveries = "mayfly.deliveries";    // key project_id: a webhook is durable
}  // namespace topic

struct Message {
  std::string key;
  std::string payload;
  std::int64_t position = 0;  // set by the bus; grows within a topic
};

class Subscription {
 public:
  virtual ~Subscription() = default;
  /// Up to `max` messages in order; empty when `until` passes first.
  virtual Task<Result<std::vector<Message>>> poll(std::size_t max, Time until) = 0;
  /// What a later subscription of the same group need not see again.
  virtual Task<Result<void>> commit(std::int64_t position) = 0;
};

class Bus {
 public:
  virtual ~Bus() = default;
  virtual Task<Result<void>> publish(std::string_view topic, std::vector<Message> messages) = 0;
  /// Each group sees each message (its members divide them). A new group starts at the end.
  virtual std::unique_ptr<Subscription> subscribe(std::string_view topic, std::string_view group) = 0;
};

}  // namespace mayfly
