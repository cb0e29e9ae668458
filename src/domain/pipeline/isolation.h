#pragma once
// How strongly a runner is walled off from the machine it runs on. A pipeline asks for at least a word, a pool promises
// never to go below one: an attempt gets the weakest that all of them allow. Words in order:
//
//   sandbox, runc   namespaces, filters and cgroups over the machine's own kernel: one wall, two names
//   gvisor          a kernel of the job's own, in user space
//   kata            a virtual machine

#include <optional>
#include <string_view>
#include <vector>

#include "domain/names.h"

namespace mayfly {

enum class Isolation { sandbox, runc, gvisor, kata };

inline constexpr Name<Isolation> isolation_words[] = {
    {Isolation::sandbox, "sandbox"}, {Isolation::runc, "runc"}, {Isolation::gvisor, "gvisor"}, {Isolation::kata, "kata"}};

constexpr std::string_view to_string(Isolation isolation) { return name_of(isolation_words, isolation); }
constexpr std::optional<Isolation> isolation_from(std::string_view word) { return value_of(isolation_words, word); }

constexpr int strength(Isolation isolation) {
  switch (isolation) {
    case Isolation::sandbox:
    case Isolation::runc: return 0;
    case Isolation::gvisor: return 1;
    case Isolation::kata: return 2;
  }
  return 0;
}

constexpr bool at_least(Isolation isolation, Isolation floor) { return strength(isolation) >= strength(floor); }
constexpr Isolation stronger(Isolation a, Isolation b) { return at_least(a, b) ? a : b; }

/// The weakest of `offered` that is no weaker than `wish` and `floor`. Of equally strong ones `wish` itself, else the
/// first. nullopt: nothing offered is strong enough.
constexpr std::optional<Isolation> weakest(const std::vector<Isolation>& offered, std::optional<Isolation> wish, Isolation floor) {
  auto least = wish ? stronger(*wish, floor) : floor;
  std::optional<Isolation> out;
  for (auto isolation : offered) {
    if (!at_least(isolation, least)) continue;
    bool better = !out || strength(isolation) < strength(*out) || (strength(isolation) == strength(*out) && isolation == wish);
    if (better) out = isolation;
  }
  return out;
}

}  // namespace mayfly
