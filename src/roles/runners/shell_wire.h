#pragma once
// The wire between the two ends of a shell: whoever looks and the runner each hold a WebSocket to a gateway, which may be two.
// In one process the wire is two queues. Between two it goes over the Cache's channels, which may forget: so packets are
// numbered, acknowledged and sent again until they are, in order, and at most a window of them is under way.

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "async/signal.h"
#include "domain/runner/shell.h"
#include "ports/cache.h"
#include "ports/clock.h"

namespace mayfly {

inline constexpr std::size_t max_wire_frames = 32;                          // under way, each way
inline constexpr Duration wire_resend_after = std::chrono::milliseconds(300);   // and twice that at each further try, up to …
inline constexpr Duration wire_resend_longest = std::chrono::seconds(2);
inline constexpr Duration wire_sign_of_life = std::chrono::seconds(2);
inline constexpr Duration wire_silence = std::chrono::seconds(15);          // then the other end counts as gone

/// One end. Each call may be canceled; the frame is then handed on, or not.
class ShellWire {
 public:
  virtual ~ShellWire() = default;
  /// Waits while a window is under way. Errc::unavailable: the other end is gone.
  virtual Task<Result<void>> send(ShellFrame frame) = 0;
  /// Nothing: the other end is gone, and all it sent was received.
  virtual Task<std::optional<ShellFrame>> receive() = 0;
  /// Moves what has to move, until the other end is gone; run it beside the rest.
  virtual Task<void> run() = 0;
  /// The other end learns of it after all that was sent; waits for that, for a while.
  virtual Task<void> close() = 0;
};

struct ShellWires {
  std::shared_ptr<ShellWire> one;
  std::shared_ptr<ShellWire> other;
};

/// Both ends in this process.
ShellWires make_local_wire(Clock& clock);

enum class WireEnd { viewer, runner };

/// One end over `cache`, which outlives it as `clock` does. The other is made with the same `shell` elsewhere, now or later.
std::shared_ptr<ShellWire> make_cache_wire(Cache& cache, Clock& clock, std::string shell, WireEnd end);

}  // namespace mayfly
