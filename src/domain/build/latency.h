#pragma once
// Where the time between a webhook and a job's first byte went. Instants are stored as they happen, by whichever process sees
// them; a hop is the time between two of them, so the hops of a job add up to the whole.

#include <array>
#include <optional>
#include <string_view>

#include "domain/build/state.h"

namespace mayfly {

enum class Hop {
  webhook,      // from the webhook's arrival until somebody plans it: checked, durable, taken up
  plan,         // … until the job is in the queue: commit, pipeline
  queue,        // … until a pool is chosen: build stored, fair share; of a job that needs others, or is tried again, it begins here
  assign,       // … until its runner exists: stored, told to the pool, sent to its platform, scheduled and pulled there
  start,        // … until the runner is let in
  first_byte,   // … until the first byte of the log is here: source, sandbox, first step
};
inline constexpr std::array hops = {Hop::webhook, Hop::plan, Hop::queue, Hop::assign, Hop::start, Hop::first_byte};
std::string_view to_string(Hop hop);

/// How a build came to be, as far as it is known.
struct BuildOrigin {
  std::optional<Time> received_at;    // its webhook arrived
  std::optional<Time> planned_from;   // planning began
  bool operator==(const BuildOrigin&) const = default;
};

struct StartLatency {
  std::array<std::optional<Duration>, hops.size()> hop;   // nothing: it has not come to it, or has no such hop
  std::optional<Duration> total;                          // once the first byte is here

  std::optional<Duration> of(Hop h) const { return hop[std::size_t(h)]; }
  bool operator==(const StartLatency&) const = default;
};

/// Of the job's current or last attempt. Clocks of two machines may differ: an instant before the one it follows counts as that
/// one. An instant nobody said (a runner's birth) makes its hop part of the next.
StartLatency start_latency(const BuildOrigin& origin, const JobState& job);

}  // namespace mayfly
