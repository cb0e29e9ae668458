#pragma once
// Names for things: UUIDv7 (RFC 9562), so that ids sort by the time they were made, with one C++ type a kind so that a
// job's id cannot be handed over as a build's.

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"

namespace mayfly {

struct Uuid {
  std::array<std::uint8_t, 16> bytes{};

  auto operator<=>(const Uuid&) const = default;
  bool is_nil() const { return *this == Uuid{}; }
};

std::string to_string(const Uuid&);               // 36 characters, lower case
Result<Uuid> parse_uuid(std::string_view text);   // Errc::invalid unless 36 hex digits and dashes
Uuid uuid_v7(Time at, std::span<const std::uint8_t, 10> random);

template <class Tag>
struct Id {
  Uuid value;

  auto operator<=>(const Id&) const = default;
  bool is_nil() const { return value.is_nil(); }
  std::string str() const { return to_string(value); }
  static Result<Id> parse(std::string_view text) {
    TRY_ASSIGN(auto uuid, parse_uuid(text));
    return Id{uuid};
  }
};

using OrganizationId = Id<struct OrganizationTag>;
using ProjectId = Id<struct ProjectTag>;
using DeliveryId = Id<struct DeliveryTag>;
using BuildId = Id<struct BuildTag>;
using JobId = Id<struct JobTag>;
using AttemptId = Id<struct AttemptTag>;
using ArtifactId = Id<struct ArtifactTag>;
using TokenId = Id<struct TokenTag>;

/// Grows with every attempt of a job; each write on an attempt's behalf carries it, and a stale one is refused.
struct Fence {
  std::int64_t value = 0;
  auto operator<=>(const Fence&) const = default;
};

}  // namespace mayfly

template <class Tag>
struct std::hash<mayfly::Id<Tag>> {
  std::size_t operator()(const mayfly::Id<Tag>& id) const noexcept {
    std::uint64_t h;
    __builtin_memcpy(&h, id.value.bytes.data() + 8, 8);
    return h;
  }
};
