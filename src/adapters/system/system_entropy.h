#pragma once
// The kernel's random bytes.

#include "ports/clock.h"

namespace mayfly {

class SystemEntropy final : public Entropy {
 public:
  void fill(std::span<std::uint8_t> bytes) override;
};

}  // namespace mayfly
