#include "runner/sandbox/image.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/digest.h"
#include "base/json.h"
#include "adapters/sandbox/tools.h"
#include "runner/sandbox/registry.h"

namespace mayfly {
namespace {

namespace fs = std::filesystem;

constexpr const char* tag_annotation = "org.opencontainers.image.ref.name";
constexpr std::string_view oci_prefix = "oci:";

std::unexpected<Error> failed(const std::string& what) {
  return fail(Errc::unavailable, "image: cannot " + what + ": " + std::strerror(errno));
}

bool lies_below(const fs::path& path, const std::vector<std::string>& allowed) {
  return std::ranges::any_of(allowed, [&](const std::string& directory) {
    std::error_code ec;
    auto root = fs::canonical(directory, ec);
    if (ec) return false;
    auto [end, rest] = std::ranges::mismatch(root, path);
    return end == root.end();
  });
}

Result<std::string> allowed_path(const std::string& path, const std::vector<std::string>& allowed) {
  std::error_code ec;
  auto real = fs::weakly_canonical(path, ec);
  if (ec || !lies_below(real, allowed))
    return fail(Errc::unsupported, "image: " + path + " is not below a directory whose images jobs may use here",
                "use `image: host`, or have the operator add its directory to the server's image directories");
  if (!fs::exists(real, ec)) return fail(Errc::not_found, "image: there is no " + path);
  return real.string();
}

Result<ImageRef> resolve_oci(const std::string& rest, const std::vector<std::string>& allowed) {
  auto colon = rest.rfind(':'), slash = rest.rfind('/');
  bool tagged = colon != std::string::npos && (slash == std::string::npos || colon > slash);
  auto path = rest.substr(0, tagged ? colon : std::string::npos), tag = tagged ? rest.substr(colon + 1) : std::string();
  if (!path.starts_with('/')) return fail(Errc::unsupported, "image: 'oci:" + rest + "' does not name an absolute path", "write oci:/PATH[:TAG]");
  TRY_ASSIGN(auto real, allowed_path(path, allowed));
  std::error_code ec;
  return ImageRef{fs::is_directory(real, ec) ? ImageRef::Kind::oci_layout : ImageRef::Kind::oci_archive, real, tag};
}

bool is_digest(std::string_view text) {
  return text.size() == 71 && text.starts_with("sha256:") && text.find_first_not_of("0123456789abcdef", 7) == std::string_view::npos;
}

/// The digest the layout's index gives for the tag.
Result<std::string> layout_digest(const ImageRef& image) {
  auto index_path = image.path + "/index.json";
  auto text = read_whole(index_path, max_image_index_bytes + 1);
  if (text.empty() || text.size() > max_image_index_bytes)
    return fail(Errc::corrupt, "image: " + image.path + " is not an OCI layout: it has no index.json of at most " + std::to_string(max_image_index_bytes) + " bytes");
  auto index = parse_json(text);
  auto* manifests = index ? find(*index, "manifests") : nullptr;
  if (!manifests || !manifests->is_array()) return fail(Errc::corrupt, "image: " + index_path + " has no manifests");
  auto& list = manifests->get_array();
  for (auto& manifest : list) {
    auto digest = find_string(manifest, "digest");
    auto* annotations = find(manifest, "annotations");
    auto* name = annotations && annotations->is_object() ? annotations->get_object().if_contains(tag_annotation) : nullptr;
    bool wanted = image.tag.empty() ? list.size() == 1 : name && name->is_string() && name->get_string() == image.tag;
    if (wanted && digest && is_digest(*digest)) return digest->substr(7);
  }
  return fail(Errc::not_found, "image: " + image.path + " has no image '" + image.tag + "'", image.tag.empty() ? "it holds several: name one, oci:PATH:TAG" : "");
}

/// An archive is told from its next version by the file itself, without reading it through.
Result<std::string> archive_key(const ImageRef& image) {
  struct stat st;
  if (stat(image.path.c_str(), &st) != 0) return failed("look at " + image.path);
  auto identity = image.path + '\0' + image.tag + '\0' + std::to_string(st.st_dev) + ' ' + std::to_string(st.st_ino) + ' ' + std::to_string(st.st_size) + ' ' +
                  std::to_string(st.st_mtim.tv_sec) + '.' + std::to_string(st.st_mtim.tv_nsec);
  return "archive-" + to_hex(sha256(identity));
}

/// skopeo follows indexes to this machine's platform and checks every digest on the way.
Result<void> copy_to(const ImageRef& image, const std::string& layout) {
  auto source = (image.kind == ImageRef::Kind::oci_layout ? "oci:" : "oci-archive:") + image.path + (image.tag.empty() ? "" : ":" + image.tag);
  auto copied = run_tool({"skopeo", "copy", "--quiet", "--insecure-policy", source, "oci:" + layout + ":image"});
  if (copied) return {};
  return fail(copied.error().code == Errc::unsupported ? Errc::unsupported : Errc::corrupt, copied.error().message, copied.error().hint);
}

}  // namespace

Result<ImageRef> resolve_image(const std::string& image, const std::vector<std::string>& allowed) {
  if (image.empty() || image == "host") return ImageRef{};
  if (image.starts_with(oci_prefix)) return resolve_oci(image.substr(oci_prefix.size()), allowed);
  if (!image.starts_with('/')) return ImageRef{ImageRef::Kind::registry, image, ""};
  TRY_ASSIGN(auto real, allowed_path(image, allowed));
  std::error_code ec;
  if (!fs::is_directory(real, ec)) return fail(Errc::unsupported, "image: " + image + " is not a directory", "write oci:" + image + " for an OCI archive");
  return ImageRef{ImageRef::Kind::directory, real, ""};
}

Result<Image> open_image(const ImageRef& image, ImageStore& store, const RegistryOptions& registries, const std::function<void(std::string)>& say) {
  if (image.kind == ImageRef::Kind::host) return Image{};
  if (image.kind == ImageRef::Kind::directory) return Image{.root = image.path};
  if (image.kind == ImageRef::Kind::registry) {
    TRY_ASSIGN(auto name, parse_registry_image(image.path));
    return pull_image(name, {.options = registries, .store = store, .directory = store.directory(), .say = say, .stop = store.stop()});
  }
  TRY_ASSIGN(auto key, image.kind == ImageRef::Kind::oci_layout ? layout_digest(image) : archive_key(image));
  return store.get(key, [&](const std::string& layout) { return copy_to(image, layout); });
}

}  // namespace mayfly
