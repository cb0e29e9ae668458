#pragma once
// Where a group stands in a topic: the blocking questions a member asks elsewhere than on the loop.

#include <cstdint>
#include <optional>
#include <vector>

#include "adapters/kafka/client.h"

namespace mayfly::kafka {

/// One for each partition; -1 where there is none.
using Offsets = std::vector<std::int64_t>;

struct Look {
  bool started = false;  // the group has committed something
  Offsets ends;          // of a topic where it has not
};

/// Whether the group has its place in the topic, and where the topic ends if it has not. Errc::not_found when there is no such
/// topic; blocks for some seconds at most.
Result<Look> look_around(rd_kafka_t* client, const std::string& topic);

struct Place {
  bool may_settle = false;  // this member is the one that decides where the group starts
  bool placed = false;      // the group had its place before: what there is now is all new
  Offsets ends;             // where a group without a place starts
};

/// Where each partition is to be read from: what the group committed. Where it has not, the start is committed first, if it
/// is on us; otherwise there is no answer yet. Blocks for some seconds at most.
Result<std::optional<Offsets>> settle(rd_kafka_t* client, const std::string& topic, const Place& place);

}  // namespace mayfly::kafka
