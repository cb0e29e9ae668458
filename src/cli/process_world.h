#pragma once
// The World of a real process: file descriptors 0, 1 and 2, and its environment.

#include <memory>

#include "cli/world.h"

namespace mayfly::cli {

class ProcessWorld final {
 public:
  ProcessWorld();
  ~ProcessWorld();
  World& world() { return *world_; }

 private:
  std::unique_ptr<Console> console_;
  std::unique_ptr<World> world_;
};

}  // namespace mayfly::cli
