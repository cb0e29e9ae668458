#pragma once
// Hashes, MACs and the text encodings they travel in. OpenSSL does the work; its headers stay in digest.cpp.

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace mayfly {

using Sha256 = std::array<std::uint8_t, 32>;

Sha256 sha256(std::string_view bytes);
Sha256 hmac_sha256(std::string_view key, std::string_view message);

/// Feeds bytes as they come; `digest()` ends it.
class Sha256Stream final {
 public:
  Sha256Stream();
  ~Sha256Stream();
  Sha256Stream(Sha256Stream&&) noexcept;
  void update(std::string_view bytes);
  Sha256 digest();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// True if equal; takes the same time wherever they differ.
bool equal_in_constant_time(std::string_view a, std::string_view b);

std::string to_hex(std::span<const std::uint8_t> bytes);
Result<std::string> from_hex(std::string_view hex);
std::string to_base64(std::string_view bytes);      // standard alphabet, padded
std::string to_base64url(std::string_view bytes);   // RFC 4648 §5, not padded
Result<std::string> from_base64(std::string_view text);

}  // namespace mayfly
