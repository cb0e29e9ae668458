// Tokens of pods and the keys of their issuers, both from elsewhere: nothing that was not signed here is ever believed.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "domain/access/workload.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mayfly;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto cut = text.find('\n');
  auto keys = verification_keys_from_jwks(text.substr(0, cut));
  if (!keys) return 0;
  if (keys->size() > max_verification_keys) std::abort();
  WorkloadRules rules{.issuer = "i", .audience = "mayfly", .name_space = "n", .service_account = "s", .pod = "mayfly-a"};
  auto token = cut == text.npos ? std::string_view() : text.substr(cut + 1);
  if (verify_workload(token, *keys, rules, Time{})) std::abort();   // the corpus knows no private key
  return 0;
}
