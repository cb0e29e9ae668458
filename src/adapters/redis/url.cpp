#include "adapters/redis/url.h"

#include "net/http.h"
#include "net/url.h"

namespace mayfly {
namespace {

constexpr std::string_view hint = "redis://[user:password@]host[:port][/database] (rediss:// over TLS), other characters in user and password as %XX";

Result<void> read_credentials(std::string_view text, RedisTarget& target) {
  auto colon = text.find(':');
  if (colon == std::string_view::npos) return fail(Errc::invalid, "the Redis URL has a user without a password", std::string(hint));
  auto user = http::percent_decode(text.substr(0, colon)), password = http::percent_decode(text.substr(colon + 1));
  if (!user || !password) return fail(Errc::invalid, "the Redis URL's user or password is not escaped rightly", std::string(hint));
  target.user = std::move(*user);
  target.password = std::move(*password);
  return {};
}

Result<void> read_address(std::string_view text, RedisTarget& target) {
  auto host_end = text.starts_with('[') ? text.find(']') : text.find(':');
  auto bracketed = text.starts_with('[');
  if (bracketed && host_end == std::string_view::npos) return fail(Errc::invalid, "the Redis URL's host has no closing bracket", std::string(hint));
  target.host = bracketed ? text.substr(1, host_end - 1) : text.substr(0, host_end);
  if (target.host.empty()) return fail(Errc::invalid, "the Redis URL has no host", std::string(hint));
  auto rest = host_end == std::string_view::npos ? std::string_view{} : text.substr(host_end + (bracketed ? 1 : 0));
  if (rest.empty()) return {};
  if (!rest.starts_with(':')) return fail(Errc::invalid, "the Redis URL's host is not a host", std::string(hint));
  auto port = http::parse_text<std::uint16_t>(rest.substr(1), "the Redis URL's port");
  if (!port || *port == 0) return fail(Errc::invalid, "the Redis URL's port is not a port", std::string(hint));
  target.port = *port;
  return {};
}

}  // namespace

std::string RedisTarget::name() const {
  auto shown = host.contains(':') ? "[" + host + "]" : host;
  return shown + ":" + std::to_string(port) + "/" + std::to_string(database);
}

Result<RedisTarget> parse_redis_url(std::string_view url) {
  constexpr std::string_view plain = "redis://", secured = "rediss://";
  RedisTarget target{.tls = url.starts_with(secured)};
  if (!target.tls && !url.starts_with(plain)) return fail(Errc::invalid, "the Redis URL begins with neither redis:// nor rediss://", std::string(hint));
  auto rest = url.substr((target.tls ? secured : plain).size());
  if (auto slash = rest.find('/'); slash != std::string_view::npos) {
    if (auto number = rest.substr(slash + 1); !number.empty()) {
      auto database = http::parse_text<std::uint16_t>(number, "the Redis URL's database");
      if (!database) return fail(Errc::invalid, "the Redis URL's database is not a number", std::string(hint));
      target.database = *database;
    }
    rest = rest.substr(0, slash);
  }
  if (auto at = rest.rfind('@'); at != std::string_view::npos) {
    TRY(read_credentials(rest.substr(0, at), target));
    rest = rest.substr(at + 1);
  }
  TRY(read_address(rest, target));
  return target;
}

}  // namespace mayfly
