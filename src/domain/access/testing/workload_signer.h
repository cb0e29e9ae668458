#pragma once
// For tests: what a cluster of Kubernetes signs for its pods, by keys made on the spot.

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/digest.h"

namespace mayfly {

/// A cluster's key pair; what it publishes and what it signs.
class WorkloadSigner final {
 public:
  WorkloadSigner(std::string id, bool rsa, unsigned bits = 2048) : id_(std::move(id)), rsa_(rsa), key_(rsa ? EVP_RSA_gen(bits) : EVP_EC_gen("P-256"), EVP_PKEY_free) {}

  /// JSON, as it stands in a JWKS.
  std::string jwk() const {
    auto text = [](const char* name, const std::string& value) { return "\"" + std::string(name) + "\":\"" + value + "\","; };
    auto numbers = rsa_ ? text("kty", "RSA") + text("n", number(OSSL_PKEY_PARAM_RSA_N)) + text("e", number(OSSL_PKEY_PARAM_RSA_E))
                        : text("kty", "EC") + text("crv", "P-256") + text("x", number(OSSL_PKEY_PARAM_EC_PUB_X, 32)) + text("y", number(OSSL_PKEY_PARAM_EC_PUB_Y, 32));
    return "{" + numbers + text("kid", id_) + text("alg", algorithm()) + R"("use":"sig"})";
  }

  std::string header() const { return R"({"alg":")" + algorithm() + R"(","kid":")" + id_ + R"("})"; }

  /// Of JSON texts.
  std::string token(std::string_view claims) const { return token(header(), claims); }
  std::string token(std::string_view header, std::string_view claims) const {
    auto text = to_base64url(header) + "." + to_base64url(claims);
    return text + "." + to_base64url(sign(text));
  }

 private:
  std::string algorithm() const { return rsa_ ? "RS256" : "ES256"; }

  std::string number(const char* name, int size = 0) const {
    BIGNUM* n = nullptr;
    EVP_PKEY_get_bn_param(key_.get(), name, &n);
    std::string bytes(static_cast<std::size_t>(size > 0 ? size : BN_num_bytes(n)), '\0');
    BN_bn2binpad(n, reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
    BN_free(n);
    return to_base64url(bytes);
  }

  std::string sign(std::string_view text) const {
    std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
    EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get());
    std::size_t size = 1024;
    std::string out(size, '\0');
    auto* bytes = reinterpret_cast<unsigned char*>(out.data());
    EVP_DigestSign(context.get(), bytes, &size, reinterpret_cast<const unsigned char*>(text.data()), text.size());
    out.resize(size);
    if (rsa_) return out;
    const auto* at = bytes;
    auto* pair = d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(size));
    std::string raw(64, '\0');
    BN_bn2binpad(ECDSA_SIG_get0_r(pair), reinterpret_cast<unsigned char*>(raw.data()), 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(pair), reinterpret_cast<unsigned char*>(raw.data()) + 32, 32);
    ECDSA_SIG_free(pair);
    return raw;
  }

  std::string id_;
  bool rsa_;
  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key_;
};

inline std::string jwks_of(std::string_view keys) { return R"({"keys":[)" + std::string(keys) + "]}"; }

}  // namespace mayfly
