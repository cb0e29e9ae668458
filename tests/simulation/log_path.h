#pragma once
// The log path across nodes on virtual time: runners ship to gateways that die, a bus that loses, doubles, delays and is emptied,
// aggregators that die, are stopped in the middle of a write and wake up as zombies, a cache that forgets, a database that is
// away or leaves one in doubt; and viewers who go from gateway to gateway. Byte for byte, whatever happens.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "simulation/faults.h"

namespace mayfly::simulation {

/// On top of the faults of the world (message_…, database_…, call_lost, answer_lost). Chances are of 1000.
struct LogFaults {
  Faults world;
  int cache_lost = 0;                // a value, a notice, a live frame
  int bus_away = 0;                  // it says so
  Duration gateway_dies_every{};     // mean times; zero: never
  Duration aggregator_dies_every{};
  Duration aggregator_stops_every{};
  Duration bus_emptied_every{};
};

inline constexpr LogFaults log_scenarios[] = {
    {.world = {.name = "calm"}},
    {.world = {.name = "lossy", .database_slow = 100, .message_lost = 100, .message_doubled = 100, .message_late = 50, .call_lost = 50, .answer_lost = 50},
     .cache_lost = 300},
    {.world = {.name = "cacheless", .database_slow = 100, .message_lost = 20}, .cache_lost = 1000},
    {.world = {.name = "deadly", .database_before = 20, .database_after = 20, .answer_lost = 20}, .cache_lost = 50, .bus_away = 20,
     .gateway_dies_every = std::chrono::seconds(6), .aggregator_dies_every = std::chrono::seconds(4)},
    {.world = {.name = "undead", .database_after = 20, .database_slow = 100}, .cache_lost = 50, .aggregator_dies_every = std::chrono::seconds(15),
     .aggregator_stops_every = std::chrono::seconds(4)},
    {.world = {.name = "emptied", .message_doubled = 50}, .cache_lost = 100, .aggregator_dies_every = std::chrono::seconds(10),
     .bus_emptied_every = std::chrono::seconds(7)},
    {.world = {.name = "all_of_it", .database_before = 20, .database_after = 20, .database_slow = 100, .message_lost = 20, .message_doubled = 50,
               .message_late = 20, .call_lost = 20, .answer_lost = 20},
     .cache_lost = 200, .bus_away = 10, .gateway_dies_every = std::chrono::seconds(8), .aggregator_dies_every = std::chrono::seconds(8),
     .aggregator_stops_every = std::chrono::seconds(8), .bus_emptied_every = std::chrono::seconds(20)},
};

struct LogReport {
  std::vector<std::string> violations;
  std::string trace;
  std::int64_t bytes = 0;            // written by the runners
  std::int64_t sent = 0;             // … and how many they sent
  int deaths = 0, stops = 0, emptied = 0, resent = 0;
};

LogReport simulate_logs(std::uint64_t seed, const LogFaults& faults, int runners = 6, int viewers = 8);

}  // namespace mayfly::simulation
