#include "adapters/docker/frames.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace mayfly::docker {

Result<void> FrameReader::feed(std::string_view bytes, const Take& take) {
  while (!bytes.empty()) {
    if (left_ == 0) {
      auto n = std::min(sizeof head_ - head_bytes_, bytes.size());
      std::memcpy(head_ + head_bytes_, bytes.data(), n);
      head_bytes_ += n;
      bytes.remove_prefix(n);
      if (head_bytes_ == sizeof head_) TRY(begin());
      continue;
    }
    auto n = std::min(left_, bytes.size());
    take(stream_, bytes.substr(0, n));
    left_ -= n;
    bytes.remove_prefix(n);
  }
  return {};
}

Result<void> FrameReader::begin() {
  head_bytes_ = 0;
  if (head_[0] > 2 || head_[1] != 0 || head_[2] != 0 || head_[3] != 0) return fail(Errc::invalid, "the engine's stream has no frame where one must begin");
  std::size_t length = std::size_t(head_[4]) << 24 | std::size_t(head_[5]) << 16 | std::size_t(head_[6]) << 8 | head_[7];
  if (length > max_frame_bytes) return fail(Errc::invalid, "the engine's stream has a frame of " + std::to_string(length) + " bytes");
  stream_ = head_[0] == 2 ? Stream::error : Stream::output;
  left_ = length;
  return {};
}

}  // namespace mayfly::docker
