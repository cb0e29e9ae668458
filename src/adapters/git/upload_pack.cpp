#include "adapters/git/upload_pack.h"

#include "adapters/git/git_config.h"
#include "base/log.h"

namespace mayfly {

Result<std::unique_ptr<UploadPack>> UploadPack::start(const Mirror& mirror, const std::string& sha, std::optional<std::string> request, const GitOptions& options) {
  GitCommand command{.program = options.program,
                     // The mirror's own configuration gives any commit by name to runners of this machine; here it is overruled. Version 2 of the
                     // protocol would give anything to who knows its name, so it is never spoken.
                     .arguments = {"-c", "uploadpack.allowAnySHA1InWant=false", "-c", "uploadpack.allowReachableSHA1InWant=false", "-c", "uploadpack.allowTipSHA1InWant=false",
                                   "-c", "transfer.hideRefs=refs", "-c", "transfer.hideRefs=!" + Mirror::ref_of(sha), "-c", "pack.window=0", "-c", "pack.threads=2",
                                   "-c", "protocol.version=0", "upload-pack", "--strict", "--stateless-rpc"},
                     .environment = {},
                     .config = std::string(git_config),
                     .time_limit = options.serve_limit,
                     .max_file_bytes = options.max_fetch_bytes,
                     .input = request.value_or("")};
  if (!request) command.arguments.push_back("--advertise-refs");
  command.arguments.push_back(mirror.directory().string());
  TRY_ASSIGN(auto git, GitPipe::start(command));
  return std::unique_ptr<UploadPack>(new UploadPack(std::move(git)));
}

Result<std::size_t> UploadPack::read(std::span<char> into, const StopFlag& stop) {
  auto n = git_.read(into, stop);
  if (n && *n > 0) return n;
  if (auto errors = git_.end(); !errors.empty()) log_warn("git upload-pack", {{"said", errors.substr(0, 400)}});
  return n;
}

}  // namespace mayfly
