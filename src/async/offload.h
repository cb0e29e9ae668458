#pragma once
// Where blocking work goes: files, child processes, SQLite. A pool of threads in the server, the caller's own thread in
// the simulator (which must stay single-threaded to replay).

#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "async/task.h"

namespace mayfly {

class Offload {
 public:
  virtual ~Offload() = default;
  virtual void post(std::move_only_function<void()> work) = 0;
};

/// `threads` workers; the destructor finishes what was posted.
std::unique_ptr<Offload> make_thread_offload(unsigned threads);

/// Runs the work inside post().
std::unique_ptr<Offload> make_inline_offload();

/// Runs `work` elsewhere and comes back to the caller's loop. A cancellation waits until the work is done, so what it
/// refers to stays alive. `work` must not throw.
Task<void> run_on(Offload& offload, std::move_only_function<void()> work);

template <class F>
Task<std::invoke_result_t<F&>> offload(Offload& pool, F work) {
  using R = std::invoke_result_t<F&>;
  if constexpr (std::is_void_v<R>) {
    co_await run_on(pool, [&work] { work(); });
  } else {
    std::optional<R> result;
    co_await run_on(pool, [&work, &result] { result.emplace(work()); });
    co_return *std::move(result);
  }
}

}  // namespace mayfly
