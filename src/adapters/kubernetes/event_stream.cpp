#include "adapters/kubernetes/event_stream.h"

#include <array>

namespace mayfly::kubernetes {
namespace {

constexpr std::size_t read_bytes = 16 << 10;
constexpr std::size_t compact_at = 64 << 10;

}  // namespace

void Lines::feed(std::string_view bytes) {
  if (at_ > compact_at) {
    buffer_.erase(0, at_);
    looked_ -= at_;
    at_ = 0;
  }
  buffer_ += bytes;
}

Result<std::optional<std::string>> Lines::next() {
  for (;;) {
    auto end = buffer_.find('\n', looked_);
    bool complete = end != buffer_.npos;
    looked_ = complete ? end : buffer_.size();
    auto line = std::string_view(buffer_).substr(at_, looked_ - at_);
    if (line.size() > limit_) return fail(Errc::too_large, "Kubernetes sent an event of more than " + std::to_string(limit_) + " bytes");
    if (!complete) return std::nullopt;
    at_ = looked_ = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) return std::string(line);
  }
}

Task<Result<std::optional<Event>>> EventStream::next(Time deadline) {
  for (;;) {
    CO_TRY_ASSIGN(auto line, lines_.next());
    if (line) {
      CO_TRY_ASSIGN(auto event, read_event(*line));
      co_return event;
    }
    std::array<char, read_bytes> bytes;
    stream_->set_deadline(deadline);
    CO_TRY_ASSIGN(auto n, co_await stream_->read(bytes));
    if (n == 0) co_return std::nullopt;
    lines_.feed({bytes.data(), n});
  }
}

}  // namespace mayfly::kubernetes
