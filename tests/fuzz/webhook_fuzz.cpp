// Hostile webhook bytes: the first line is the event's name, the rest its payload.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "domain/webhook/git_names.h"
#include "domain/webhook/github.h"

using namespace mayfly;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void check(const DecodedWebhook& hook) {
  require(hook.makes_build() == hook.reason.empty());
  require(hook.makes_build() == !hook.meaning.empty());
  require(hook.message.size() <= max_webhook_text_bytes);
  if (!hook.makes_build()) return;
  require(is_commit_sha(hook.sha) && !is_zero_sha(hook.sha));
  require(is_ref_name(hook.ref));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto line = std::min(text.find('\n'), text.size());
  auto event = text.substr(0, line), payload = text.substr(std::min(line + 1, text.size()));
  auto names = github_repository(payload);
  auto hook = decode_github(event, payload);
  if (hook) {
    check(*hook);
    require(names.value_or(RepositoryNames{}) == hook->repository);
  }
  if (auto json = github_payload("application/x-www-form-urlencoded", payload)) require(json->size() <= payload.size());
  const std::string secrets[] = {"a", "b"};
  require(!verify_github(secrets, payload, event));
  return 0;
}
