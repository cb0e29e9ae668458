#pragma once
// Who runs, by the word of the platform it runs on: a token (JWT, RFC 7519) that a cluster of Kubernetes signs for one pod, checked
// here against the cluster's public keys (JWKS, RFC 7517) without asking it. Pure; everything read is hostile.

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace mayfly {

inline constexpr std::size_t max_workload_token_bytes = 16 << 10;
inline constexpr std::size_t max_jwks_bytes = 256 << 10;
inline constexpr std::size_t max_verification_keys = 64;               // of a JWKS; later ones are not read
inline constexpr std::size_t min_rsa_bits = 2048, max_rsa_bits = 8192;
inline constexpr Duration workload_clock_skew = std::chrono::seconds(30);

/// A public key and the one algorithm it may be used with (RFC 7518): a token does not get to choose.
struct VerificationKey {
  enum class Algorithm { rs256, es256 };
  std::string id;
  Algorithm algorithm;
  std::string first, second;   // big-endian numbers: RSA's modulus and exponent, or x and y of a point of P-256
  bool operator==(const VerificationKey&) const = default;
};

/// Keys that are no RS256 or ES256 signature keys, or malformed, or without an id, are left out. Errc::invalid: no JWKS at all.
Result<std::vector<VerificationKey>> verification_keys_from_jwks(std::string_view jwks);

/// What a token must say.
struct WorkloadRules {
  std::string issuer;
  std::string audience;
  std::string name_space;
  std::string service_account;
  std::string pod;             // the pod's name, or what stands before "-…" in it
};

struct Workload {
  std::string pod;
  std::string pod_uid;
  std::string node;            // empty where the platform does not say
  bool operator==(const Workload&) const = default;
};

/// The pod the token was made for. Errc::unauthenticated, with why: for our own log, not for who showed it.
Result<Workload> verify_workload(std::string_view token, const std::vector<VerificationKey>& keys, const WorkloadRules& rules, Time now);

}  // namespace mayfly
