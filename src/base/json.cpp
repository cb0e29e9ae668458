#include "base/json.h"

namespace mayfly {

Result<json::value> parse_json(std::string_view text) {
  json::parse_options options;
  options.max_depth = 64;
  json::stream_parser parser{{}, options};
  boost::system::error_code ec;
  auto used = parser.write_some(text.data(), text.size(), ec);
  if (!ec && used == text.size()) parser.finish(ec);
  if (ec || used != text.size())
    return fail(Errc::invalid, "not JSON: " + (ec ? ec.message() : "text after the end") + " at byte " + std::to_string(used));
  return parser.release();
}

const json::value* find(const json::value& v, std::string_view path) {
  const json::value* at = &v;
  while (!path.empty()) {
    auto dot = path.find('.');
    auto key = path.substr(0, dot);
    path = dot == path.npos ? std::string_view{} : path.substr(dot + 1);
    auto* object = at->if_object();
    if (!object) return nullptr;
    at = object->if_contains(key);
    if (!at) return nullptr;
  }
  return at;
}

std::optional<std::string> find_string(const json::value& v, std::string_view path) {
  auto* at = find(v, path);
  if (!at || !at->is_string()) return std::nullopt;
  return std::string(at->get_string());
}

std::optional<std::int64_t> find_int(const json::value& v, std::string_view path) {
  auto* at = find(v, path);
  if (!at) return std::nullopt;
  if (at->is_int64()) return at->get_int64();
  if (at->is_uint64() && at->get_uint64() <= std::uint64_t(INT64_MAX)) return std::int64_t(at->get_uint64());
  return std::nullopt;
}

std::optional<bool> find_bool(const json::value& v, std::string_view path) {
  auto* at = find(v, path);
  if (!at || !at->is_bool()) return std::nullopt;
  return at->get_bool();
}

}  // namespace mayfly
