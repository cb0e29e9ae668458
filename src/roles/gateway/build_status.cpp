#include "roles/gateway/build_status.h"

#include "base/digest.h"

namespace mayfly {
namespace {

constexpr std::string_view version = "1";        // of the text below and of build_view(): processes of two versions do not share
constexpr std::size_t seal_characters = 64;

}  // namespace

std::string build_status_key(BuildId id) { return "build_status:" + id.str(); }

Task<Result<BuildRendering>> BuildStatusCache::get(BuildId id) {
  CO_TRY_ASSIGN(auto sequence, co_await sequence_(id));
  auto key = build_status_key(id);
  auto cached = co_await cache_.get(key);
  if (cached && *cached && (*cached)->sequence == sequence)
    if (auto rendering = rendering_from(id, std::move(**cached))) co_return *std::move(rendering);
  CO_TRY_ASSIGN(auto rendering, co_await render_(id));
  if (rendering.lasting) (void)co_await cache_.set_if_newer(key, {rendering.sequence, text_of(id, rendering)}, build_status_life);
  co_return rendering;
}

/// Its seal, whether it is terminal, the JSON.
std::string BuildStatusCache::text_of(BuildId id, const BuildRendering& rendering) const {
  auto rest = (rendering.terminal ? "1" : "0") + rendering.json;
  return seal(id, rendering.sequence, rest) + rest;
}

std::optional<BuildRendering> BuildStatusCache::rendering_from(BuildId id, Cached cached) const {
  if (cached.value.size() <= seal_characters) return std::nullopt;
  auto rest = cached.value.substr(seal_characters);
  if (cached.value.compare(0, seal_characters, seal(id, cached.sequence, rest)) != 0) return std::nullopt;
  return BuildRendering{.sequence = cached.sequence, .terminal = rest.front() == '1', .lasting = true, .json = rest.substr(1)};
}

/// What makes a text that is mutilated, or of another build, sequence or server, none at all.
std::string BuildStatusCache::seal(BuildId id, std::int64_t sequence, std::string_view rest) const {
  Sha256Stream hash;
  for (auto part : {std::string(version), form_, id.str(), std::to_string(sequence)}) hash.update(part + "\n");
  hash.update(rest);
  return to_hex(hash.digest());
}

}  // namespace mayfly
