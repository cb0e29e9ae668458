#pragma once
// The one key that all secrets of a server are sealed with. It lives in a file beside the database, in no backup of the
// database, and in memory that is neither swapped out nor left behind.

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"
#include "ports/clock.h"

namespace mayfly {

class SealingKey final {
 public:
  static constexpr std::size_t bytes = 32;

  /// Reads the file, or makes it (mode 0600, durable, never over an existing one). Errc::forbidden: others may read it;
  /// Errc::corrupt: it is no key; Errc::unavailable: it cannot be read or made.
  static Result<SealingKey> load_or_make(const std::string& file, Entropy& entropy);
  /// The same without making one: for a key that several machines share. Errc::not_found.
  static Result<SealingKey> load(const std::string& file);

  std::span<std::uint8_t, bytes> span() const { return std::span<std::uint8_t, bytes>(memory_.get(), bytes); }

 private:
  struct Free {
    void operator()(std::uint8_t* p) const;
  };
  explicit SealingKey(std::uint8_t* memory) : memory_(memory) {}
  static Result<SealingKey> empty();
  static Result<void> make(const std::string& file, Entropy& entropy);

  std::unique_ptr<std::uint8_t, Free> memory_;
};

}  // namespace mayfly
