#include "adapters/redis/scripts.h"

#include <openssl/evp.h>

#include <array>
#include <span>

#include "base/digest.h"

namespace mayfly {
namespace {

constexpr std::string_view set_if_newer_text = R"lua(
local there = redis.pcall('GETRANGE', KEYS[1], 0, 19)
if type(there) == 'string' and #there == 20 and not there:find('%D') and there >= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2], 'PX', ARGV[3])
return 1)lua";

constexpr std::string_view admit_text = R"lua(
local burst, each, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local there = redis.pcall('GET', KEYS[1])
local instant = type(there) == 'string' and tonumber(there) or now
local room = burst * each
local used = math.min(math.max(instant - now, 0), room)
local wanted = used + cost * each
if wanted > room then return {0, wanted - room, math.floor((room - used) / each)} end
redis.call('SET', KEYS[1], string.format('%.0f', now + wanted), 'PX', math.ceil(wanted / 1000))
return {1, 0, math.floor((room - wanted) / each)})lua";

std::string sha1_hex(std::string_view text) {
  std::array<unsigned char, 20> digest{};
  EVP_Digest(text.data(), text.size(), digest.data(), nullptr, EVP_sha1(), nullptr);
  return to_hex(digest);
}

}  // namespace

const RedisScript& set_if_newer_script() {
  static const RedisScript script{set_if_newer_text, sha1_hex(set_if_newer_text)};
  return script;
}

const RedisScript& admit_script() {
  static const RedisScript script{admit_text, sha1_hex(admit_text)};
  return script;
}

}  // namespace mayfly
