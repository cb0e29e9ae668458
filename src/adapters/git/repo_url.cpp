#include "adapters/git/repo_url.h"

#include <algorithm>

#include "base/digest.h"

namespace mayfly {
namespace {

constexpr std::string_view schemes[] = {"file", "http", "https", "ssh", "git"};

std::unexpected<Error> refused(std::string_view url, std::string_view why) {
  return fail(Errc::invalid, "the repository URL '" + redacted(url) + "' " + std::string(why),
              "use https://, http://, ssh://, git://, file:// or an absolute path");
}

std::string percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    auto byte = text[i] == '%' && i + 2 < text.size() ? from_hex(text.substr(i + 1, 2)) : Result<std::string>(std::unexpected(Error{}));
    out += byte ? *byte : std::string(1, text[i]);
    if (byte) i += 2;
  }
  return out;
}

bool has_dot_dot(const std::filesystem::path& path) { return std::ranges::find(path, "..") != path.end(); }

Result<RepoUrl> local_url(std::string_view url, std::filesystem::path path) {
  if (!path.is_absolute() || has_dot_dot(path)) return refused(url, "must be an absolute path without '..'");
  return RepoUrl{.text = path.string(), .scheme = "file", .local = path};
}

bool is_safe_host(std::string_view host) {
  return !host.empty() && !host.starts_with('-') && host.find_first_of("/\\?#'\"`$;|&<>()") == host.npos;
}

struct Authority {
  std::string_view userinfo, host;
};

Authority authority_of(std::string_view text) {
  auto at = text.rfind('@');
  if (at == text.npos) return {.userinfo = {}, .host = text};
  return {.userinfo = text.substr(0, at), .host = text.substr(at + 1)};
}

Result<RepoUrl> network_url(std::string_view url, std::string_view scheme, std::string_view rest) {
  auto slash = std::min(rest.find('/'), rest.size());
  auto [userinfo, host] = authority_of(rest.substr(0, slash));
  auto path = rest.substr(slash);
  if (!is_safe_host(host) || userinfo.starts_with('-')) return refused(url, "has no usable host");
  if (path.size() < 2 || path.starts_with("/-")) return refused(url, "has no usable path");
  auto prefix = std::string(scheme) + "://";
  RepoUrl out{.text = prefix + std::string(host) + std::string(path), .scheme = std::string(scheme)};
  if (!scheme.starts_with("http")) {
    if (userinfo.contains(':')) return refused(url, "has a password that its transport cannot use");
    if (!userinfo.empty()) out.text = prefix + std::string(userinfo) + "@" + std::string(host) + std::string(path);
    return out;
  }
  auto colon = std::min(userinfo.find(':'), userinfo.size());
  out.user = percent_decoded(userinfo.substr(0, colon));
  out.password = percent_decoded(userinfo.substr(std::min(colon + 1, userinfo.size())));
  out.origin = prefix + std::string(host) + "/";
  return out;
}

// git@host:path
Result<RepoUrl> short_ssh_url(std::string_view url) {
  auto colon = url.find(':');
  if (colon == url.npos) return refused(url, "is not an absolute path and names no transport");
  auto [user, host] = authority_of(url.substr(0, colon));
  auto path = url.substr(colon + 1);
  if (!is_safe_host(host) || user.starts_with('-')) return refused(url, "has no usable host");
  if (path.empty() || path.starts_with('-') || path.starts_with(':')) return refused(url, "has no usable path");
  return RepoUrl{.text = std::string(url), .scheme = "ssh"};
}

Result<RepoUrl> parsed(std::string_view url) {
  if (url.empty() || url.size() > max_repo_url_bytes) return refused(url.substr(0, 64), "is empty or longer than 2048 bytes");
  if (std::ranges::any_of(url, [](unsigned char c) { return c < ' ' || c == 0x7f; })) return refused(url, "has control characters in it");
  if (url.starts_with('-')) return refused(url, "starts with '-'");
  if (url.starts_with('/')) return local_url(url, std::filesystem::path(url));
  auto colon = url.find("://");
  if (colon == url.npos) return short_ssh_url(url);
  auto scheme = url.substr(0, colon), rest = url.substr(colon + 3);
  if (std::ranges::find(schemes, scheme) == std::end(schemes)) return refused(url, "uses a transport that is not allowed");
  if (scheme == "file") return local_url(url, percent_decoded(rest));
  return network_url(url, scheme, rest);
}

}  // namespace

Result<RepoUrl> parse_repo_url(std::string_view text) {
  TRY_ASSIGN(auto url, parsed(text));
  url.mirror_name = to_hex(sha256(text)).substr(0, 32) + ".git";
  return url;
}

std::string redacted(std::string_view url) {
  auto scheme = url.find("://");
  auto from = scheme == url.npos ? 0 : scheme + 3;
  auto end = std::min(url.find('/', from), url.size());
  auto at = url.substr(from, end - from).rfind('@');
  if (at == url.npos || url.starts_with('/')) return std::string(url);
  return std::string(url.substr(0, from)) + "***" + std::string(url.substr(from + at));
}

}  // namespace mayfly
