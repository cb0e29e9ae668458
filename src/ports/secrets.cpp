#include "ports/secrets.h"

#include <algorithm>

namespace mayfly {

Result<void> check_secret_name(std::string_view name) {
  auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  auto digit = [](char c) { return c >= '0' && c <= '9'; };
  if (!name.empty() && name.size() <= max_secret_name && letter(name[0]) &&
      std::ranges::all_of(name, [&](char c) { return letter(c) || digit(c); }))
    return {};
  return fail(Errc::invalid, "not a secret's name: " + std::string(name.substr(0, max_secret_name)),
              "names are like DEPLOY_TOKEN: letters, digits and '_', not a digit first, at most " +
                  std::to_string(max_secret_name) + " characters");
}

Result<void> check_secret(const Secret& secret) {
  TRY(check_secret_name(secret.name));
  if (secret.value.empty()) return fail(Errc::invalid, "secret " + secret.name + " is empty");
  if (secret.value.find('\0') != std::string::npos)
    return fail(Errc::invalid, "secret " + secret.name + " holds a NUL byte", "encode it, for example with base64");
  if (secret.value.size() > max_secret_bytes)
    return fail(Errc::too_large, "secret " + secret.name + " has " + std::to_string(secret.value.size()) + " bytes; " +
                                     std::to_string(max_secret_bytes) + " are the limit");
  return {};
}

}  // namespace mayfly
