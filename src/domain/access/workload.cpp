#include "domain/access/workload.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include <algorithm>
#include <bit>
#include <memory>
#include <optional>

#include "base/digest.h"
#include "base/json.h"

namespace mayfly {
namespace {

using Algorithm = VerificationKey::Algorithm;

constexpr std::size_t p256_bytes = 32;
constexpr std::string_view base64url_alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* thing) const {
    Free(thing);
  }
};
using Number = std::unique_ptr<BIGNUM, Freed<BN_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Freed<EVP_PKEY_CTX_free>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, Freed<EVP_MD_CTX_free>>;
using Builder = std::unique_ptr<OSSL_PARAM_BLD, Freed<OSSL_PARAM_BLD_free>>;
using Params = std::unique_ptr<OSSL_PARAM, Freed<OSSL_PARAM_free>>;
using Signature = std::unique_ptr<ECDSA_SIG, Freed<ECDSA_SIG_free>>;

std::unexpected<Error> refused(std::string why) { return fail(Errc::unauthenticated, "the identity is refused: " + std::move(why)); }

/// RFC 7515 §2: no padding, no other characters, and no bits that mean nothing.
std::optional<std::string> from_base64url(std::string_view text) {
  std::string out;
  unsigned bits = 0;
  std::uint32_t gathered = 0;
  for (char c : text) {
    auto value = base64url_alphabet.find(c);
    if (value == base64url_alphabet.npos) return std::nullopt;
    gathered = (gathered << 6 | static_cast<std::uint32_t>(value)) & 0xffff;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    out.push_back(static_cast<char>(gathered >> bits & 0xff));
  }
  bool clean = bits < 6 && (gathered & ((1u << bits) - 1)) == 0;
  return clean ? std::optional(std::move(out)) : std::nullopt;
}

std::string_view without_zeros(std::string_view number) {
  while (number.starts_with('\0')) number.remove_prefix(1);
  return number;
}

std::size_t bits_of(std::string_view number) {
  number = without_zeros(number);
  if (number.empty()) return 0;
  return number.size() * 8 - static_cast<std::size_t>(std::countl_zero(static_cast<unsigned char>(number[0])));
}

/// Of `fields`, decoded; nothing when one is missing or malformed.
std::optional<VerificationKey> key_of(const json::value& jwk, const char* first, const char* second, Algorithm algorithm) {
  auto id = find_string(jwk, "kid"), a = find_string(jwk, first), b = find_string(jwk, second);
  if (!id || id->empty() || !a || !b) return std::nullopt;
  auto x = from_base64url(*a), y = from_base64url(*b);
  if (!x || !y) return std::nullopt;
  return VerificationKey{*id, algorithm, *std::move(x), *std::move(y)};
}

std::optional<VerificationKey> read_key(const json::value& jwk) {
  if (!jwk.is_object()) return std::nullopt;
  auto type = find_string(jwk, "kty"), use = find_string(jwk, "use"), algorithm = find_string(jwk, "alg");
  if (use && *use != "sig") return std::nullopt;
  std::optional<VerificationKey> key;
  if (type == "RSA" && algorithm.value_or("RS256") == "RS256") {
    key = key_of(jwk, "n", "e", Algorithm::rs256);
    bool sound = key && bits_of(key->first) >= min_rsa_bits && bits_of(key->first) <= max_rsa_bits && bits_of(key->second) >= 2 && bits_of(key->second) <= 64;
    if (!sound) return std::nullopt;
  } else if (type == "EC" && find_string(jwk, "crv") == "P-256" && algorithm.value_or("ES256") == "ES256") {
    key = key_of(jwk, "x", "y", Algorithm::es256);
    if (!key || key->first.size() != p256_bytes || key->second.size() != p256_bytes) return std::nullopt;
  }
  return key;
}

Number number_of(std::string_view bytes) { return Number(BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()), nullptr)); }

Key made_of(const char* type, OSSL_PARAM_BLD* builder) {
  Params params(OSSL_PARAM_BLD_to_param(builder));
  KeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
  EVP_PKEY* key = nullptr;
  if (params && context && EVP_PKEY_fromdata_init(context.get()) == 1) EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, params.get());
  return Key(key);
}

Key openssl_key(const VerificationKey& key) {
  Builder builder(OSSL_PARAM_BLD_new());
  if (key.algorithm == Algorithm::rs256) {
    auto n = number_of(key.first), e = number_of(key.second);
    OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get());
    OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get());
    return made_of("RSA", builder.get());
  }
  auto point = "\x04" + key.first + key.second;   // uncompressed
  OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0);
  OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size());
  return made_of("EC", builder.get());
}

/// JWS has r and s one after the other, OpenSSL wants them as ASN.1.
std::string as_der(std::string_view raw) {
  Signature signature(ECDSA_SIG_new());
  auto r = number_of(raw.substr(0, p256_bytes)), s = number_of(raw.substr(p256_bytes));
  ECDSA_SIG_set0(signature.get(), r.release(), s.release());
  unsigned char* bytes = nullptr;
  int size = i2d_ECDSA_SIG(signature.get(), &bytes);
  std::string out(reinterpret_cast<char*>(bytes), static_cast<std::size_t>(std::max(size, 0)));
  OPENSSL_free(bytes);
  return out;
}

bool is_signed_by(const VerificationKey& key, std::string_view text, std::string signature) {
  if (key.algorithm == Algorithm::es256) {
    if (signature.size() != 2 * p256_bytes) return false;
    signature = as_der(signature);
  }
  auto pkey = openssl_key(key);
  DigestContext context(EVP_MD_CTX_new());
  if (!pkey || EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, pkey.get()) != 1) return false;
  return EVP_DigestVerify(context.get(), reinterpret_cast<const unsigned char*>(signature.data()), signature.size(),
                          reinterpret_cast<const unsigned char*>(text.data()), text.size()) == 1;
}

struct Parts {
  json::value header, claims;
  std::string signature;
  std::string_view signed_text;
};

std::optional<json::value> object_in(std::string_view part) {
  auto text = from_base64url(part);
  if (!text) return std::nullopt;
  auto value = parse_json(*text);
  if (!value || !value->is_object()) return std::nullopt;
  return *std::move(value);
}

std::optional<Parts> take_apart(std::string_view token) {
  auto first = token.find('.'), last = token.rfind('.');
  if (first == token.npos || first == last || token.find('.', first + 1) != last) return std::nullopt;
  auto header = object_in(token.substr(0, first)), claims = object_in(token.substr(first + 1, last - first - 1));
  auto signature = from_base64url(token.substr(last + 1));
  if (!header || !claims || !signature) return std::nullopt;
  return Parts{*std::move(header), *std::move(claims), *std::move(signature), token.substr(0, last)};
}

std::string_view name_of(Algorithm algorithm) { return algorithm == Algorithm::rs256 ? "RS256" : "ES256"; }

Result<void> check_signature(const Parts& parts, const std::vector<VerificationKey>& keys) {
  if (find(parts.header, "crit")) return refused("it has critical extensions");
  auto algorithm = find_string(parts.header, "alg"), id = find_string(parts.header, "kid");
  if (!algorithm || !id) return refused("it names no algorithm, or no key");
  auto key = std::ranges::find_if(keys, [&](auto& k) { return k.id == *id && name_of(k.algorithm) == *algorithm; });
  if (key == keys.end()) return refused("its issuer has no such key for this algorithm");
  if (!is_signed_by(*key, parts.signed_text, parts.signature)) return refused("its signature does not fit");
  return {};
}

bool is_for(const json::value& claims, std::string_view audience) {
  auto* aud = find(claims, "aud");
  if (!aud) return false;
  if (aud->is_string()) return aud->get_string() == audience;
  return aud->is_array() && std::ranges::any_of(aud->get_array(), [&](auto& one) { return one.is_string() && one.get_string() == audience; });
}

Result<void> check_times(const json::value& claims, Time now) {
  // Numbers of seconds; beyond these no clock of ours goes.
  constexpr std::int64_t most = 1ll << 40;
  auto seconds = [&](const char* name) { return find_int(claims, name); };
  auto expires = seconds("exp");
  if (!expires || *expires < 0 || *expires > most) return refused("it does not say when it expires");
  if (now >= from_micros(*expires * 1'000'000) + workload_clock_skew) return refused("it has expired");
  auto begins = seconds("nbf");
  if (find(claims, "nbf") && (!begins || *begins < 0 || *begins > most || now + workload_clock_skew < from_micros(*begins * 1'000'000))) return refused("it is not valid yet");
  return {};
}

std::string text_of(const json::value& object, std::string_view path) { return find_string(object, path).value_or(""); }

Result<Workload> check_claims(const json::value& claims, const WorkloadRules& rules) {
  if (find_string(claims, "iss") != rules.issuer) return refused("it is of another issuer");
  if (!is_for(claims, rules.audience)) return refused("it is for somebody else");
  auto* platform = claims.get_object().if_contains("kubernetes.io");
  if (!platform || !platform->is_object()) return refused("it is of no pod");
  if (text_of(*platform, "namespace") != rules.name_space) return refused("it is of another namespace");
  if (text_of(*platform, "serviceaccount.name") != rules.service_account) return refused("it is of another service account");
  Workload who{.pod = text_of(*platform, "pod.name"), .pod_uid = text_of(*platform, "pod.uid"), .node = text_of(*platform, "node.name")};
  if (who.pod != rules.pod && !who.pod.starts_with(rules.pod + "-")) return refused("it is of another pod");
  if (who.pod_uid.empty()) return refused("it does not say which pod");
  return who;
}

}  // namespace

Result<std::vector<VerificationKey>> verification_keys_from_jwks(std::string_view jwks) {
  if (jwks.size() > max_jwks_bytes) return fail(Errc::invalid, "the issuer's keys are over " + std::to_string(max_jwks_bytes) + " bytes");
  TRY_ASSIGN(auto value, parse_json(jwks));
  auto* list = value.is_object() ? find(value, "keys") : nullptr;
  if (!list || !list->is_array()) return fail(Errc::invalid, "the issuer's keys are no JWKS: 'keys' must be an array");
  std::vector<VerificationKey> keys;
  for (auto& jwk : list->get_array()) {
    if (keys.size() == max_verification_keys) break;
    if (auto key = read_key(jwk)) keys.push_back(*std::move(key));
  }
  return keys;
}

Result<Workload> verify_workload(std::string_view token, const std::vector<VerificationKey>& keys, const WorkloadRules& rules, Time now) {
  if (token.size() > max_workload_token_bytes) return refused("it is too long");
  auto parts = take_apart(token);
  if (!parts) return refused("it is no signed token");
  TRY(check_signature(*parts, keys));
  TRY(check_times(parts->claims, now));
  return check_claims(parts->claims, rules);
}

}  // namespace mayfly
