#pragma once
// The other half of a fetch: git's own upload-pack over a mirror, one request at a time, its answer read as it comes. Of the
// mirror it shows one commit; what that commit leads to can be had, and nothing else that lies there.

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "adapters/git/git_options.h"
#include "adapters/git/git_process.h"
#include "adapters/git/mirror.h"

namespace mayfly {

class UploadPack final {
 public:
  /// Starts it for the commit marked as `sha`. Without `request` it says what there is; with, it answers the body of a client's POST.
  /// Errc::unavailable when git cannot be started.
  static Result<std::unique_ptr<UploadPack>> start(const Mirror& mirror, const std::string& sha, std::optional<std::string> request, const GitOptions& options);

  /// Blocks until there is something; 0 is the end of what git had to say. Errc::timeout past the options' serve_limit, Errc::canceled when stopped.
  Result<std::size_t> read(std::span<char> into, const StopFlag& stop);

 private:
  explicit UploadPack(GitPipe git) : git_(std::move(git)) {}
  GitPipe git_;
};

}  // namespace mayfly
