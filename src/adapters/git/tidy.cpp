#include "adapters/git/tidy.h"

#include <algorithm>
#include <filesystem>

#include "adapters/git/git_config.h"

namespace mayfly {
namespace {

namespace fs = std::filesystem;

// Objects that just came, of a commit that is not marked yet.
constexpr auto spared = "--expire=1.hour.ago";

template <class Wanted>
std::size_t count_files(const fs::path& directory, Wanted wanted) {
  std::error_code ec;
  return std::size_t(std::ranges::count_if(fs::directory_iterator(directory, ec), wanted));
}

std::size_t packs(const Mirror& mirror) {
  return count_files(mirror.directory() / "objects/pack", [](auto& entry) { return entry.path().extension() == ".pack"; });
}

// As git guesses it: object names are spread evenly over 256 folders.
std::size_t loose_objects(const Mirror& mirror) {
  return 256 * count_files(mirror.directory() / "objects/17", [](auto&) { return true; });
}

std::size_t forget_old_commits(const Mirror& mirror, std::chrono::hours age) {
  std::error_code ec;
  auto limit = fs::file_time_type::clock::now() - age;
  std::size_t forgotten = 0;
  for (auto& entry : fs::directory_iterator(mirror.directory() / "refs/mayfly", ec)) {
    std::error_code gone;
    if (entry.last_write_time(gone) >= limit || gone) continue;
    mirror.unmark(entry.path().filename().string());
    ++forgotten;
  }
  return forgotten;
}

Result<void> git(const Mirror& mirror, const GitOptions& options, const StopFlag& stop, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "--git-dir=" + mirror.directory().string());
  TRY_ASSIGN(auto done, run_git({.program = options.program,
                                 .arguments = std::move(arguments),
                                 .environment = {},
                                 .config = std::string(git_config),
                                 .time_limit = options.time_limit,
                                 .max_file_bytes = options.max_fetch_bytes},
                                stop));
  if (done.exit_code == 0) return {};
  return fail(Errc::unavailable, "the mirror '" + mirror.directory().string() + "' cannot be packed: " + done.errors.substr(0, 500));
}

}  // namespace

Result<void> tidy(const Mirror& mirror, const GitOptions& options, const StopFlag& stop) {
  auto forgotten = forget_old_commits(mirror, options.keep_commits_for);
  if (forgotten == 0 && packs(mirror) <= options.max_packs && loose_objects(mirror) <= options.max_loose_objects) return {};
  TRY(git(mirror, options, stop, {"repack", "-a", "-d", "-q"}));
  return git(mirror, options, stop, {"prune", spared});
}

}  // namespace mayfly
