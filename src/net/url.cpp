#include "net/url.h"

#include <algorithm>
#include <charconv>

namespace mayfly::http {
namespace {

constexpr std::string_view kHex = "0123456789ABCDEF";

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_alphanumeric(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool is_unreserved(char c) { return is_alphanumeric(c) || c == '-' || c == '.' || c == '_' || c == '~'; }

std::string lower(std::string_view text) {
  std::string out(text);
  for (auto& c : out)
    if (c >= 'A' && c <= 'Z') c += 'a' - 'A';
  return out;
}

std::unexpected<Error> bad(std::string_view what, std::string_view text) {
  constexpr std::size_t kShown = 100;
  return fail(Errc::invalid, "URL: " + std::string(what) + ": '" + std::string(text.substr(0, kShown)) + "'",
              "Write it like https://host:port/path or unix:/path/to/socket:/path");
}

bool has_control_or_space(std::string_view text) {
  return std::ranges::any_of(text, [](unsigned char c) { return c <= 0x20 || c == 0x7f; });
}

Result<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (ec != std::errc{} || end != text.data() + text.size() || port == 0) return bad("the port is not 1 to 65535", text);
  return port;
}

bool is_host(std::string_view host) {
  return !host.empty() && std::ranges::all_of(host, [](char c) { return is_unreserved(c); });
}

bool is_ipv6(std::string_view host) {
  return host.contains(':') && std::ranges::all_of(host, [](char c) { return hex_digit(c) >= 0 || c == ':' || c == '.'; });
}

Result<void> parse_authority(std::string_view authority, Url& url) {
  if (authority.contains('@')) return bad("names a user; send credentials in a header", authority.substr(authority.rfind('@')));
  auto port = std::string_view{};
  if (authority.starts_with('[')) {
    auto close = authority.find(']');
    if (close == authority.npos) return bad("'[' without ']'", authority);
    url.host = lower(authority.substr(1, close - 1));
    auto rest = authority.substr(close + 1);
    if (!is_ipv6(url.host) || (!rest.empty() && !rest.starts_with(':'))) return bad("not an IPv6 address", authority);
    port = rest.empty() ? rest : rest.substr(1);
  } else {
    auto colon = authority.find(':');
    url.host = lower(authority.substr(0, colon));
    if (!is_host(url.host)) return bad("not a host name", authority);
    if (colon != authority.npos) port = authority.substr(colon + 1);
  }
  if (port.empty()) return {};
  TRY_ASSIGN(url.port, parse_port(port));
  return {};
}

std::string target_of(std::string_view text) {
  text = text.substr(0, text.find('#'));
  return text.starts_with('/') ? std::string(text) : "/" + std::string(text);
}

Result<Url> parse_unix(std::string_view rest) {
  Url url{.scheme = "unix"};
  auto colon = rest.find(":/");
  url.socket_path = rest.substr(0, colon);
  if (!url.socket_path.starts_with('/')) return bad("a unix socket needs an absolute path", rest);
  if (colon != rest.npos) url.target = target_of(rest.substr(colon + 1));
  return url;
}

}  // namespace

Result<Url> parse_url(std::string_view text) {
  if (text.size() > kMaxUrlBytes) return fail(Errc::invalid, "URL: longer than " + std::to_string(kMaxUrlBytes) + " bytes");
  if (has_control_or_space(text)) return bad("has a space or control character", {});
  if (text.starts_with("unix:")) return parse_unix(text.substr(5));
  auto mark = text.find("://");
  if (mark == text.npos) return bad("no scheme", text);
  Url url{.scheme = lower(text.substr(0, mark))};
  if (url.scheme != "http" && url.scheme != "https") return bad("the scheme is not http, https or unix", url.scheme);
  url.port = url.scheme == "https" ? 443 : 80;
  auto rest = text.substr(mark + 3);
  auto end = rest.find_first_of("/?#");
  TRY(parse_authority(rest.substr(0, end), url));
  if (end != rest.npos) url.target = target_of(rest.substr(end));
  TRY(percent_decode(std::string_view(url.target).substr(0, url.target.find('?'))));
  return url;
}

std::string to_string(const Url& url) {
  if (url.scheme == "unix") return "unix:" + url.socket_path + ":" + url.target;
  return url.scheme + "://" + host_field(url) + url.target;
}

std::string host_field(const Url& url) {
  if (url.scheme == "unix") return "localhost";
  auto host = url.host.contains(':') ? "[" + url.host + "]" : url.host;
  auto usual = url.scheme == "https" ? 443 : 80;
  return url.port == usual ? host : host + ":" + std::to_string(url.port);
}

Result<std::string> percent_decode(std::string_view text) {
  if (text.contains('\0')) return bad("a NUL", {});
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
    if (high < 0 || low < 0) return bad("'%' is not followed by two hex digits", text.substr(i, 3));
    if (high == 0 && low == 0) return bad("an encoded NUL", text.substr(i, 3));
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

std::string percent_encode(std::string_view text, std::string_view keep) {
  std::string out;
  out.reserve(text.size());
  for (char c : text) {
    if (is_unreserved(c) || keep.contains(c)) {
      out += c;
      continue;
    }
    auto byte = static_cast<unsigned char>(c);
    out += {'%', kHex[byte >> 4], kHex[byte & 15]};
  }
  return out;
}

std::optional<std::string_view> Query::get(std::string_view name) const {
  for (auto& [key, value] : pairs)
    if (key == name) return value;
  return std::nullopt;
}

Result<Query> parse_query(std::string_view text) {
  Query query;
  while (!text.empty()) {
    auto end = std::min(text.find('&'), text.size());
    std::string pair(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (pair.empty()) continue;
    if (query.pairs.size() == kMaxQueryPairs)
      return fail(Errc::too_large, "the query has more than " + std::to_string(kMaxQueryPairs) + " parameters");
    std::ranges::replace(pair, '+', ' ');
    auto equals = std::min(pair.find('='), pair.size());
    TRY_ASSIGN(auto name, percent_decode(std::string_view(pair).substr(0, equals)));
    TRY_ASSIGN(auto value, percent_decode(std::string_view(pair).substr(std::min(equals + 1, pair.size()))));
    query.add(std::move(name), std::move(value));
  }
  return query;
}

std::string build_query(const Query& query) {
  std::string out;
  for (auto& [name, value] : query.pairs) {
    if (!out.empty()) out += '&';
    out += percent_encode(name) + "=" + percent_encode(value);
  }
  return out;
}

}  // namespace mayfly::http
