#pragma once
// The rendering of a build that people read, made once for many readers. Whatever the cache says, a reader never sees a state
// older than the database's: a cached rendering is shown only if its sequence is the one that the database has just named.

#include <functional>
#include <string>

#include "base/ids.h"
#include "ports/cache.h"

namespace mayfly {

inline constexpr Duration build_status_life = std::chrono::minutes{5};

struct BuildRendering {
  std::int64_t sequence = 0;
  bool terminal = false;
  bool lasting = false;   // it holds for this sequence; not so while a job waits, since why it waits changes without one
  std::string json;

  bool operator==(const BuildRendering&) const = default;
};

class BuildStatusCache final {
 public:
  using Sequence = std::function<Task<Result<std::int64_t>>(BuildId)>;
  using Render = std::function<Task<Result<BuildRendering>>(BuildId)>;

  /// `sequence` asks the database for the build's sequence now; `render` renders what the database has then or later. `form`
  /// names what else renderings depend on: the URL of this server. The cache outlives this.
  BuildStatusCache(Cache& cache, std::string form, Sequence sequence, Render render)
      : cache_(cache), form_(std::move(form)), sequence_(std::move(sequence)), render_(std::move(render)) {}

  /// The errors of `sequence` and `render`; none of the cache's.
  Task<Result<BuildRendering>> get(BuildId id);

 private:
  std::string text_of(BuildId id, const BuildRendering& rendering) const;
  std::optional<BuildRendering> rendering_from(BuildId id, Cached cached) const;
  std::string seal(BuildId id, std::int64_t sequence, std::string_view rest) const;

  Cache& cache_;
  std::string form_;
  Sequence sequence_;
  Render render_;
};

/// "build_status:0193…"
std::string build_status_key(BuildId id);

}  // namespace mayfly
