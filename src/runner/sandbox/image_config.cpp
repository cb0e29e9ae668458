#include <algorithm>
#include <filesystem>

#include "base/json.h"
#include "base/text.h"
#include "runner/sandbox/image_store.h"

namespace mayfly {
namespace {

constexpr std::size_t max_words = 1000;  // of a command, of an environment

std::vector<std::string> strings(const json::value* v) {
  std::vector<std::string> out;
  auto* array = v ? v->if_array() : nullptr;
  if (!array) return out;
  for (auto& item : *array)
    if (item.is_string() && out.size() < max_words && item.get_string().find('\0') == json::string::npos) out.push_back(clean_text(std::string(item.get_string())));
  return out;
}

json::array array_of(const std::vector<std::string>& texts) {
  json::array out;
  for (auto& text : texts) out.push_back(json::value(text));
  return out;
}

std::vector<std::string> sound_env(const json::value* v) {
  std::vector<std::string> out;
  std::size_t bytes = 0;
  for (auto& text : strings(v)) {
    auto equals = text.find('=');
    bytes += text.size();
    if (equals != 0 && equals != text.npos && bytes <= max_image_env_bytes) out.push_back(text);
  }
  return out;
}

/// "/var/lib/x" → "var/lib/x"; "" for anything that is no such path.
std::string relative(std::string_view path) {
  auto normal = std::filesystem::path(path).lexically_normal().string();
  while (normal.ends_with('/')) normal.pop_back();
  if (!normal.starts_with('/') || normal.contains("..") || normal.size() > 1000) return "";
  return normal.substr(1);
}

}  // namespace

ImageConfig image_config_of(std::string_view oci) {
  ImageConfig out;
  auto value = parse_json(oci);
  auto* config = value ? find(*value, "config") : nullptr;
  if (!config || !config->is_object()) return out;
  out.env = sound_env(find(*config, "Env"));
  out.command = strings(find(*config, "Entrypoint"));
  for (auto& word : strings(find(*config, "Cmd"))) out.command.push_back(word);
  if (auto directory = find_string(*config, "WorkingDir"); directory && !relative(*directory).empty()) {
    out.directory = "/" + relative(*directory);
    out.writable.push_back(relative(*directory));
  }
  auto* volumes = find(*config, "Volumes");
  if (!volumes || !volumes->is_object()) return out;
  for (auto& [path, nothing] : volumes->get_object())
    if (auto clean = relative(path); !clean.empty() && out.writable.size() < max_image_writable) out.writable.push_back(clean);
  return out;
}

std::string to_json(const ImageConfig& c) {
  return json::serialize(json::object{{"env", array_of(c.env)}, {"command", array_of(c.command)}, {"directory", c.directory}, {"writable", array_of(c.writable)}});
}

Result<ImageConfig> image_config_from_json(std::string_view text) {
  TRY_ASSIGN(auto value, parse_json(text));
  auto directory = find_string(value, "directory");
  if (!directory) return fail(Errc::corrupt, "image: a stored configuration has no directory");
  return ImageConfig{.env = strings(find(value, "env")), .command = strings(find(value, "command")), .directory = *directory, .writable = strings(find(value, "writable"))};
}

}  // namespace mayfly
