#pragma once
// A watch's answer as events: one JSON object a line, in pieces of any size. A line has a limit, for it is held in memory.

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "adapters/kubernetes/objects.h"
#include "net/client.h"

namespace mayfly::kubernetes {

inline constexpr std::size_t max_event_bytes = 4 << 20;   // etcd keeps 1.5 MiB an object; JSON may need twice that

/// Bytes in, lines out.
class Lines final {
 public:
  explicit Lines(std::size_t limit = max_event_bytes) : limit_(limit) {}

  void feed(std::string_view bytes);
  /// Without its end; empty lines are left out. Nothing: more bytes are needed. Errc::too_large: a line has passed the limit, whether or
  /// not its end is there.
  Result<std::optional<std::string>> next();
  /// Bytes of a line whose end has not come.
  std::size_t pending() const { return buffer_.size() - at_; }

 private:
  const std::size_t limit_;
  std::string buffer_;
  std::size_t at_ = 0;        // where the next line begins
  std::size_t looked_ = 0;    // no line ends before it
};

class EventStream final {
 public:
  explicit EventStream(std::unique_ptr<http::ClientStream> stream) : stream_(std::move(stream)) {}

  /// Nothing: the stream has ended; half a line at its end is dropped. Errc::timeout when `deadline` passes; as ClientStream::read,
  /// read_event and Lines::next else.
  Task<Result<std::optional<Event>>> next(Time deadline);

 private:
  std::unique_ptr<http::ClientStream> stream_;
  Lines lines_;
};

}  // namespace mayfly::kubernetes
