#pragma once
// What every Clock must do. To plug one in: link clock_contract.cpp, and instantiate ClockContract with its surroundings.

#include <gtest/gtest.h>

#include <functional>
#include <ostream>
#include <string>

#include "contract/surroundings.h"

namespace mayfly::contract {

struct ClockFactory {
  std::string name;
  std::function<Surroundings()> surroundings;

  friend void PrintTo(const ClockFactory& f, std::ostream* out) { *out << f.name; }
};

class ClockContract : public testing::TestWithParam<ClockFactory> {
 protected:
  Surroundings around = GetParam().surroundings();
  Clock& clock = *around.clock;
};

}  // namespace mayfly::contract
