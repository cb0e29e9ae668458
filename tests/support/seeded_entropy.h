#pragma once
// Chance that repeats: the same seed gives the same bytes.

#include <random>

#include "ports/clock.h"

namespace mayfly {

class SeededEntropy final : public Entropy {
 public:
  explicit SeededEntropy(std::uint64_t seed) : engine_(seed) {}
  void fill(std::span<std::uint8_t> bytes) override {
    for (auto& b : bytes) b = std::uint8_t(engine_() >> 32);
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace mayfly
