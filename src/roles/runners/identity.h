#pragma once
// Who a runner is. Tokens are MACs under the server's own key over what they are for, so none is stored, and a stolen one
// opens nothing but its attempt while that attempt is current.

#include <string>
#include <string_view>

#include "base/ids.h"

namespace mayfly {

class RunnerIdentity final {
 public:
  explicit RunnerIdentity(std::string key) : key_(std::move(key)) {}

  /// What a runner is born with: traded once for the attempt token.
  std::string boot_token(AttemptId attempt, Fence fence) const { return token("boot", attempt, fence); }
  std::string attempt_token(AttemptId attempt, Fence fence) const { return token("attempt", attempt, fence); }
  bool is_boot_token(std::string_view token, AttemptId attempt, Fence fence) const;
  bool is_attempt_token(std::string_view token, AttemptId attempt, Fence fence) const;

 private:
  std::string token(std::string_view purpose, AttemptId attempt, Fence fence) const;
  std::string key_;
};

}  // namespace mayfly
