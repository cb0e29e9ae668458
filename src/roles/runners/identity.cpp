#include "roles/runners/identity.h"

#include "base/digest.h"

namespace mayfly {

std::string RunnerIdentity::token(std::string_view purpose, AttemptId attempt, Fence fence) const {
  auto message = "mayfly/" + std::string(purpose) + "/" + attempt.str() + "/" + std::to_string(fence.value);
  auto mac = hmac_sha256(key_, message);
  return "mfr_" + to_base64url({reinterpret_cast<const char*>(mac.data()), mac.size()});
}

bool RunnerIdentity::is_boot_token(std::string_view given, AttemptId attempt, Fence fence) const {
  return equal_in_constant_time(given, token("boot", attempt, fence));
}

bool RunnerIdentity::is_attempt_token(std::string_view given, AttemptId attempt, Fence fence) const {
  return equal_in_constant_time(given, token("attempt", attempt, fence));
}

}  // namespace mayfly
