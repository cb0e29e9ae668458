#include "runner/sidecar/source.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

namespace mayfly {
namespace {

namespace fs = std::filesystem;

// Nothing of the machine's, and nothing the repository may ask for: no hooks, no filters, no credentials.
constexpr std::string_view git_config =
    "[safe]\n\tdirectory = *\n"
    "[core]\n\thooksPath = /dev/null\n\tfsync = none\n\tautocrlf = false\n\tfsmonitor = false\n"
    "[protocol]\n\tallow = never\n\tversion = 2\n"
    "[protocol \"file\"]\n\tallow = always\n[protocol \"git\"]\n\tallow = always\n[protocol \"ssh\"]\n\tallow = always\n"
    "[protocol \"http\"]\n\tallow = always\n[protocol \"https\"]\n\tallow = always\n"
    "[credential]\n\thelper =\n[fetch]\n\trecurseSubmodules = false\n\tfsckObjects = true\n"
    "[fetch \"fsck\"]\n\tzeroPaddedFilemode = ignore\n\tmissingSpaceBeforeDate = ignore\n\tbadTimezone = ignore\n\tmissingEmail = ignore\n"
    "[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n[advice]\n\tdetachedHead = false\n[pack]\n\tthreads = 2\n\twindow = 0\n"
    "[http]\n\tlowSpeedLimit = 1000\n\tlowSpeedTime = 30\n";
constexpr std::int64_t max_pack_bytes = std::int64_t(8) << 30;

std::string last_line(std::string_view text) {
  while (text.ends_with('\n')) text.remove_suffix(1);
  return std::string(text.substr(text.rfind('\n') + 1));
}

bool is_sha(std::string_view text) {
  return text.size() == 40 && std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string config_quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out + '"';
}

Result<void> write_file(const fs::path& path, std::string_view text) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << text;
  out.close();
  if (!out) return fail(Errc::unavailable, "cannot write '" + path.string() + "': " + std::strerror(errno));
  return {};
}

class Checkout final {
 public:
  Checkout(const SourceRequest& request, const StopFlag& stop) : request_(request), stop_(stop), git_dir_(fs::path(request.workspace) / ".git") {}

  Result<void> run() {
    auto& source = request_.source;
    if (!is_sha(source.sha)) return fail(Errc::invalid, "'" + source.sha + "' is no commit: 40 hex digits are");
    if (source.repository.empty() || source.repository.starts_with('-')) return fail(Errc::invalid, "there is no repository to fetch from");
    commit_ = source.sha;
    bool from_mirror = source.checkout.depth == 1 && in_mirror();
    TRY(make_git_dir(from_mirror));
    if (from_mirror) return check_out_from_mirror();
    TRY_ASSIGN(auto fetched, fetch());
    return git({"checkout", "--quiet", "--force", "--detach", fetched}, {}, {});
  }

 private:
  /// Is the repository a mirror of ours with this commit? Then refs/mayfly/<sha> holds the commit's own name.
  bool in_mirror() {
    std::ifstream ref(fs::path(request_.source.repository) / "refs/mayfly" / request_.source.sha);
    std::string commit;
    if (!(ref >> commit) || !is_sha(commit)) return false;
    commit_ = commit;
    return true;
  }

  Result<void> make_git_dir(bool shallow) {
    std::error_code ec;
    for (auto* directory : {"objects/pack", "objects/info", "refs/heads", "refs/tags", "info"}) fs::create_directories(git_dir_ / directory, ec);
    if (ec) return fail(Errc::unavailable, "cannot make '" + git_dir_.string() + "': " + ec.message());
    std::string config = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n";
    if (!request_.origin.empty())
      config += "[remote \"origin\"]\n\turl = " + config_quoted(request_.origin) + "\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n";
    TRY(write_file(git_dir_ / "config", config));
    if (shallow) TRY(write_file(git_dir_ / "shallow", commit_ + "\n"));
    return write_file(git_dir_ / "HEAD", shallow ? commit_ + "\n" : "ref: refs/heads/main\n");
  }

  Result<void> check_out_from_mirror() {
    auto objects = "GIT_ALTERNATE_OBJECT_DIRECTORIES=" + (fs::path(request_.source.repository) / "objects").string();
    Result<void> packed;
    std::thread packer([&] { packed = git({"pack-objects", "--quiet", "--revs", "--delta-base-offset", (git_dir_ / "objects/pack/pack").string()}, {objects}, commit_ + "\n"); });
    auto tree = git({"read-tree", "--reset", "-u", commit_}, {objects}, {});
    packer.join();
    TRY(std::move(tree));
    return packed;
  }

  /// The name of what was fetched.
  Result<std::string> fetch() {
    auto& source = request_.source;
    std::vector<std::string> arguments{"fetch", "--quiet", "--no-tags", "--no-write-commit-graph"};
    auto by_sha = arguments;
    if (source.checkout.depth > 0) by_sha.push_back("--depth=" + std::to_string(source.checkout.depth));
    by_sha.insert(by_sha.end(), {source.repository, source.sha});
    auto fetched = git(by_sha, {}, {});
    if (fetched) return "FETCH_HEAD";
    if (fetched.error().code != Errc::not_found || source.ref.empty() || source.ref.starts_with('-')) return std::unexpected(fetched.error());
    // A server that gives nothing by name: the commit may be in the history of its ref.
    arguments.insert(arguments.end(), {source.repository, source.ref});
    TRY(git(arguments, {}, {}));
    return source.sha;
  }

  Result<void> git(std::vector<std::string> arguments, std::vector<std::string> environment, std::string input) {
    auto name = arguments[0];
    environment.push_back("GIT_DIR=" + git_dir_.string());
    environment.push_back("GIT_WORK_TREE=" + request_.workspace);
    GitCommand command{.program = "git", .arguments = std::move(arguments), .environment = std::move(environment), .config = std::string(git_config),
                       .time_limit = request_.time_limit, .max_file_bytes = max_pack_bytes, .input = std::move(input)};
    TRY_ASSIGN(auto done, run_git(command, stop_));
    if (done.exit_code == 0) return {};
    auto absent = done.errors.contains("not our ref") || done.errors.contains("couldn't find remote ref") || done.errors.contains("bad object") ||
                  done.errors.contains("unadvertised object") || done.errors.contains("is not a tree") || done.errors.contains("unable to read tree");
    return fail(absent ? Errc::not_found : Errc::unavailable, "git " + name + ": " + last_line(done.errors));
  }

  const SourceRequest& request_;
  const StopFlag& stop_;
  fs::path git_dir_;
  std::string commit_;
};

}  // namespace

Result<void> check_out(const SourceRequest& request, const StopFlag& stop) { return Checkout(request, stop).run(); }

std::string submodule_script(const CheckoutSpec& checkout) {
  std::string depth = checkout.depth > 0 ? " --depth " + std::to_string(checkout.depth) : "";
  return "git submodule sync --quiet --recursive\ngit submodule update --init --recursive" + depth + "\n";
}

}  // namespace mayfly
