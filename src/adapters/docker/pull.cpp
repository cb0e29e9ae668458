#include "adapters/docker/pull.h"

#include <algorithm>
#include <array>

#include "base/json.h"

namespace mayfly::docker {
namespace {

constexpr std::size_t max_said_bytes = 300;

struct Sign {
  std::string_view words;
  Errc means;
};

// In this order: Docker Hub's "denied" of what does not exist says that it "may require" a login.
constexpr Sign signs[] = {
    {"no space left on device", Errc::too_large},
    {"toomanyrequests", Errc::rate_limited},
    {"too many requests", Errc::rate_limited},
    {"repository does not exist", Errc::not_found},
    {"manifest unknown", Errc::not_found},
    {"name unknown", Errc::not_found},
    {"no matching manifest", Errc::not_found},
    {"invalid reference", Errc::not_found},
    {"no basic auth credentials", Errc::forbidden},
    {"unauthorized", Errc::forbidden},
    {"authentication required", Errc::forbidden},
    {"denied", Errc::forbidden},
    {"forbidden", Errc::forbidden},
    {"not found", Errc::not_found},
};

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  return out;
}

std::string megabytes(std::int64_t bytes) { return std::to_string(bytes / 1'000'000); }

}  // namespace

Error pull_error(const std::string& image, int status, std::string_view said) {
  auto text = lower(said);
  auto sign = std::ranges::find_if(signs, [&](const Sign& s) { return text.contains(s.words); });
  auto code = sign != std::end(signs) ? sign->means : status == 404 ? Errc::not_found : status == 401 || status == 403 ? Errc::forbidden : Errc::unavailable;
  auto told = std::string(said.substr(0, max_said_bytes));
  switch (code) {
    case Errc::not_found: return {code, "there is no image '" + image + "' for this machine: " + told, "look for a mistake in its name or tag"};
    case Errc::forbidden: return {code, "the registry does not give the image '" + image + "' to this pool: " + told, "log the engine's registry in, or make the image public"};
    case Errc::too_large: return {code, "the engine's disk has no room for the image '" + image + "': " + told, "make room there: docker image prune"};
    default: return {code, "the image '" + image + "' could not be pulled: " + told, {}};
  }
}

Result<void> PullProgress::take(std::string_view line) {
  auto message = parse_json(line);
  if (!message) return fail(Errc::invalid, "the engine's words about a pull are not JSON: " + std::string(line.substr(0, 100)));
  if (auto error = find_string(*message, "error")) return std::unexpected(pull_error(image_, 0, *error));
  auto id = find_string(*message, "id").value_or("");
  auto status = find_string(*message, "status").value_or("");
  bool known = layers_.contains(id);
  if (!known && (status != "Pulling fs layer" || layers_.size() >= max_pull_layers)) return {};
  auto& layer = layers_[id];
  if (status == "Downloading") {
    layer.current = find_int(*message, "progressDetail.current").value_or(layer.current);
    layer.total = find_int(*message, "progressDetail.total").value_or(layer.total);
  }
  if (status == "Download complete") layer.current = layer.total;
  if (status == "Pull complete") layer.done = true;
  return {};
}

std::optional<std::string> PullProgress::say(Time now) {
  if (now - last_said_ < pull_say_interval || layers_.empty()) return std::nullopt;
  std::int64_t current = 0, total = 0;
  for (auto& [id, layer] : layers_) {
    current += layer.current;
    total += layer.total;
  }
  auto done = std::ranges::count_if(layers_, [](auto& entry) { return entry.second.done; });
  auto sentence = "pulling " + image_ + ": " + megabytes(current) + " of " + megabytes(total) + " MB, " + std::to_string(done) + " of " + std::to_string(layers_.size()) + " layers in place";
  if (sentence == last_sentence_) return std::nullopt;
  last_said_ = now;
  return last_sentence_ = sentence;
}

}  // namespace mayfly::docker
