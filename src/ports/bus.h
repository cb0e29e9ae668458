#pragma once
// Events between roles. They make things fast, never true: whatever is lost here is found again by the next sweep over
// the database. At least once, ordered by key, replayable from a position. What a view refers to
// stays alive until its task is done.

#include <cstddef>
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
  std::int64_t position = 0;  // set by the bus; grows in the order in which a subscription polls
};

/// Key and payload of one message together.
inline constexpr std::size_t max_message_bytes = 1'000'000;

/// A member of a group. Leaves it when destroyed; what it polled and did not commit goes to another member, or to the next.
class Subscription {
 public:
  virtual ~Subscription() = default;
  /// Up to `max` messages, those of one key in the order they were published; empty when `until` passes first. One poll
  /// at a time. The first may take some seconds more: it returns when the group has its place in the topic, else
  /// Errc::unavailable.
  virtual Task<Result<std::vector<Message>>> poll(std::size_t max, Time until) = 0;
  /// Done with every message this subscription has polled up to and including the one at `position`: the group need not
  /// see them again.
  virtual Task<Result<void>> commit(std::int64_t position) = 0;
};

class Bus {
 public:
  virtual ~Bus() = default;
  /// All are accepted when it returns. Errc::too_large past max_message_bytes: none is. Errc::unavailable: some may be, or
  /// become so when a server goes on with what it had heard; nothing is kept here to be sent later.
  virtual Task<Result<void>> publish(std::string_view topic, std::vector<Message> messages) = 0;
  /// Each group sees each message once or more; its members divide them by key. A new group starts at the end, as that is
  /// when its first poll returns at the latest. A bus keeps messages for a while: a group that falls behind further
  /// goes on with the oldest that is kept.
  virtual std::unique_ptr<Subscription> subscribe(std::string_view topic, std::string_view group) = 0;
  /// Whether the bus can be reached now: Errc::unavailable, within a few seconds, if not. As cheap as one question.
  virtual Task<Result<void>> ping() = 0;
};

}  // namespace mayfly
