#include "adapters/kafka/positions.h"

#include <algorithm>

namespace mayfly::kafka {

std::int64_t Positions::add(std::int32_t partition, std::int64_t offset) {
  ++last_;
  if (!stretches_.empty()) {
    auto& s = stretches_.back();
    if (s.partition == partition && s.offset + s.count == offset && s.position + s.count == last_) {
      ++s.count;
      return last_;
    }
  }
  stretches_.push_back({partition, last_, offset, 1});
  if (stretches_.size() > max_stretches) stretches_.pop_front();
  return last_;
}

std::map<std::int32_t, std::int64_t> Positions::up_to(std::int64_t position) const {
  std::map<std::int32_t, std::int64_t> out;
  for (auto& s : stretches_) {
    if (s.position > position) break;
    out[s.partition] = s.offset + std::min(s.count, position - s.position + 1);
  }
  return out;
}

void Positions::committed(std::int64_t position) {
  while (!stretches_.empty()) {
    auto& s = stretches_.front();
    auto done = std::clamp<std::int64_t>(position - s.position + 1, 0, s.count);
    if (done < s.count) {
      s = {s.partition, s.position + done, s.offset + done, s.count - done};
      return;
    }
    stretches_.pop_front();
  }
}

}  // namespace mayfly::kafka
