#include "adapters/docker/image_name.h"

#include <algorithm>

namespace mayfly::docker {
namespace {

bool is_one_of(std::string_view text, std::string_view others) {
  return std::ranges::all_of(text, [&](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || others.contains(c); });
}

}  // namespace

Result<ImageName> parse_image_name(std::string_view text) {
  auto wrong = [&] { return fail(Errc::invalid, "'" + std::string(text.substr(0, 100)) + "' is no name of an image", "write it as debian:12 or registry.example.org/team/tool:1.2"); };
  if (text.empty() || text.size() > max_image_name_bytes) return wrong();
  ImageName name;
  auto at = text.find('@');
  auto repository = text.substr(0, at);
  auto slash = repository.rfind('/');
  auto colon = repository.find(':', slash == repository.npos ? 0 : slash);
  name.tag = colon == repository.npos ? "latest" : std::string(repository.substr(colon + 1));
  name.repository = repository.substr(0, colon);
  if (at != text.npos) name.tag = text.substr(at + 1);
  bool digest = at != text.npos;
  bool good = !name.repository.empty() && name.repository.front() != '/' && name.repository.back() != '/' && name.repository.front() != '-' &&
              is_one_of(name.repository, "._-/:") && !name.repository.contains("//") && !name.repository.contains("..") && !name.tag.empty() && is_one_of(name.tag, digest ? "._-+:" : "._-") &&
              (!digest || name.tag.contains(':'));
  if (!good) return wrong();
  return name;
}

std::string to_string(const ImageName& name) { return name.repository + (name.tag.contains(':') ? "@" : ":") + name.tag; }

}  // namespace mayfly::docker
