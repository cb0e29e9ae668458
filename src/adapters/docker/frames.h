#pragma once
// What an attached container without a terminal says: its standard output and error on one connection, in frames of an eight
// byte head (stream, three zeros, length as a big-endian number) and the bytes. See "Attach to a container" in the Engine API.

#include <cstdint>
#include <functional>
#include <string_view>

#include "base/result.h"

namespace mayfly::docker {

inline constexpr std::size_t max_frame_bytes = 64 << 20;   // an engine's are what was written at once, 32 KiB mostly

class FrameReader final {
 public:
  enum class Stream { output, error };
  using Take = std::function<void(Stream, std::string_view)>;

  /// Hands on what of the bytes is payload, in order, as it comes: a frame need not be whole. Errc::invalid: these are no frames.
  Result<void> feed(std::string_view bytes, const Take& take);
  /// Nothing of a frame is still to come.
  bool between_frames() const { return left_ == 0 && head_bytes_ == 0; }

 private:
  Result<void> begin();

  unsigned char head_[8] = {};
  std::size_t head_bytes_ = 0;
  std::size_t left_ = 0;       // of the frame's payload
  Stream stream_ = Stream::output;
};

}  // namespace mayfly::docker
