#include "cli/checkout.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "adapters/git/git_process.h"

namespace mayfly::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds git_time_limit = std::chrono::minutes(2);
constexpr std::int64_t max_object_bytes = std::int64_t(2) << 30;

/// The user's own configuration, and repositories of other users: whoever runs a pipeline in a directory trusts it.
constexpr const char* git_config = "[include]\n\tpath = ~/.gitconfig\n[safe]\n\tdirectory = *\n";

Result<std::string> git(std::vector<std::string> arguments, std::vector<std::string> environment = {}) {
  StopFlag never;
  auto what = arguments.empty() ? std::string() : arguments[arguments[0] == "-C" && arguments.size() > 2 ? 2 : 0];
  TRY_ASSIGN(auto finished, run_git({.program = "git",
                                     .arguments = std::move(arguments),
                                     .environment = std::move(environment),
                                     .config = git_config,
                                     .time_limit = git_time_limit,
                                     .max_file_bytes = max_object_bytes},
                                    never));
  if (finished.exit_code != 0) return fail(Errc::invalid, "git " + what + ": " + finished.errors, "see what git says about this directory");
  while (finished.output.ends_with('\n')) finished.output.pop_back();
  return std::move(finished.output);
}

/// What a git command prints, or nothing where it fails.
std::string git_or_nothing(const std::string& directory, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"-C", directory});
  return git(std::move(arguments)).value_or("");
}

/// What the index knows of the files saves reading them again. Git tells files that changed in the instant the index was
/// written by the index's own time, so the copy keeps it.
void copy_index(const std::string& from, const std::string& to) {
  std::error_code ec;
  auto written = fs::last_write_time(from, ec);
  if (ec || !fs::copy_file(from, to, ec)) return;
  fs::last_write_time(to, written, ec);
  if (ec) fs::remove(to, ec);
}

Error unreadable(const std::string& path) { return {Errc::invalid, "the file " + path + " cannot be read", "check its name and permissions"}; }

}  // namespace

Result<PipelineFile> read_pipeline_file(const std::string& root, const std::string& path) {
  auto limit = PlanLimits{}.file_bytes;
  std::error_code ec;
  auto full = fs::path(root) / path;
  if (!fs::is_regular_file(full, ec)) return std::unexpected(unreadable(path));
  std::ifstream file(full, std::ios::binary);
  std::string text(limit + 1, '\0');
  if (!file) return std::unexpected(unreadable(path));
  file.read(text.data(), std::streamsize(text.size()));
  text.resize(std::size_t(file.gcount()));
  if (text.size() > limit)
    return fail(Errc::too_large, path + " is longer than " + std::to_string(limit) + " bytes", "split it into several files in .ci/");
  return PipelineFile{path, std::move(text)};
}

Result<Checkout> Checkout::open(const std::string& directory) {
  std::error_code ec;
  if (!fs::is_directory(directory, ec)) return fail(Errc::invalid, directory + " is not a directory");
  Checkout out;
  out.root_ = fs::canonical(directory, ec).string();
  auto top = git_or_nothing(out.root_, {"rev-parse", "--show-toplevel"});
  if (top.empty()) return out;
  out.root_ = top;
  out.git_dir_ = git_or_nothing(top, {"rev-parse", "--absolute-git-dir"});
  out.ref_ = git_or_nothing(top, {"symbolic-ref", "--quiet", "HEAD"});
  out.head_ = git_or_nothing(top, {"rev-parse", "--verify", "--quiet", "HEAD^{commit}"});
  return out;
}

Result<std::vector<PipelineFile>> Checkout::pipeline_files() const {
  std::error_code ec;
  std::vector<std::string> paths;
  if (fs::exists(fs::path(root_) / ".ci.yaml", ec)) {
    paths.push_back(".ci.yaml");
  } else {
    for (auto& entry : fs::directory_iterator(fs::path(root_) / ".ci", ec))
      if (entry.path().extension() == ".yaml") paths.push_back(".ci/" + entry.path().filename().string());
    std::ranges::sort(paths);
  }
  if (paths.empty())
    return fail(Errc::not_found, root_ + " has neither .ci.yaml nor .ci/*.yaml", "a first one:\n\n    version: 1\n    jobs:\n      hello:\n        run: echo hello\n");
  std::vector<PipelineFile> files;
  for (auto& path : paths) {
    TRY_ASSIGN(auto file, read_pipeline_file(root_, path));
    files.push_back(std::move(file));
  }
  return files;
}

Result<std::string> Checkout::snapshot(const std::string& bare, const std::string& ref) const {
  TRY(git({"init", "--quiet", "--bare", bare}));
  std::vector<std::string> environment{"GIT_WORK_TREE=" + root_, "GIT_INDEX_FILE=" + bare + "/snapshot-index", "GIT_OBJECT_DIRECTORY=" + bare + "/objects",
                                       "GIT_DIR=" + (is_repository() ? git_dir_ : bare)};
  for (auto who : {"AUTHOR", "COMMITTER"}) {
    environment.push_back("GIT_" + std::string(who) + "_NAME=working tree");
    environment.push_back("GIT_" + std::string(who) + "_EMAIL=");
  }
  if (is_repository()) {
    auto objects = git_or_nothing(root_, {"rev-parse", "--path-format=absolute", "--git-path", "objects"});
    std::ofstream(bare + "/objects/info/alternates") << objects << "\n";
    environment.push_back("GIT_ALTERNATE_OBJECT_DIRECTORIES=" + objects);
    copy_index(git_dir_ + "/index", bare + "/snapshot-index");
  }
  TRY(git({"-C", root_, "add", "--all", "--", "."}, environment));
  TRY_ASSIGN(auto tree, git({"-C", root_, "write-tree"}, environment));
  std::vector<std::string> commit{"-C", root_, "commit-tree", tree, "-m", "working tree"};
  bool shallow = git_or_nothing(root_, {"rev-parse", "--is-shallow-repository"}) == "true";
  if (!head_.empty() && !shallow) commit.insert(commit.end(), {"-p", head_});
  TRY_ASSIGN(auto sha, git(std::move(commit), environment));
  TRY(git({"--git-dir=" + bare, "update-ref", ref, sha}));
  return sha;
}

}  // namespace mayfly::cli
