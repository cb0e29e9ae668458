#include "runner/sidecar/source.h"

#include <poll.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "adapters/git/mirror.h"

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
constexpr int wire_rounds = 6;                                     // through all gateways, half a minute of pauses in all
constexpr std::chrono::milliseconds wire_pause(1000);              // after the first of them; then twice as long each time
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

/// A server that says no, and will say it again.
bool is_final(std::string_view errors) {
  constexpr std::string_view answer = "requested URL returned error: 4";
  auto at = errors.find(answer);
  return (at != errors.npos && !errors.substr(at + answer.size()).starts_with("29")) || errors.contains("Authentication failed") || errors.contains("could not read Username");
}

class Checkout final {
 public:
  Checkout(const SourceRequest& request, const StopFlag& stop) : request_(request), stop_(stop), git_dir_(fs::path(request.workspace) / ".git") {}

  Result<void> run() {
    auto& source = request_.source;
    if (!is_sha(source.sha)) return fail(Errc::invalid, "'" + source.sha + "' is no commit: 40 hex digits are");
    if (source.repository.empty() || source.repository.starts_with('-')) return fail(Errc::invalid, "there is no repository to fetch from");
    commit_ = source.sha;
    bool marked = in_mirror();
    bool from_mirror = source.checkout.depth == 1 && marked;
    TRY(make_git_dir(from_mirror));
    if (from_mirror) return check_out_from_mirror();
    TRY_ASSIGN(auto fetched, is_elsewhere(marked) ? fetch_over_wire() : fetch());
    TRY(git({"checkout", "--quiet", "--force", "--detach", fetched}, {}, {}));
    std::error_code ignored;
    fs::remove(git_dir_ / "FETCH_HEAD", ignored);   // where it came from is nothing to the job
    return {};
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

  bool has_wire() const { return !request_.wire.urls.empty() && request_.source.repository.starts_with('/'); }

  /// On the server's machine, not on this one; or a mirror that is here and has less history than is asked for.
  bool is_elsewhere(bool marked) const {
    auto& source = request_.source;
    std::error_code ec;
    if (!has_wire()) return false;
    if (!fs::is_directory(source.repository, ec)) return true;
    return marked && !Mirror(source.repository).has_history(source.sha, source.checkout.depth);
  }

  std::string wire_config() const {
    auto& wire = request_.wire;
    return std::string(git_config) + "[protocol]\n\tversion = 0\n[http]\n\tproxy =\n\tfollowRedirects = false\n\tlowSpeedTime = 300\n\textraHeader = " +
           config_quoted("Authorization: Bearer " + wire.token) + "\n\textraHeader = \"Mayfly-Fence: " + std::to_string(wire.fence.value) + "\"\n";
  }

  /// From any of the gateways; each of them may be away for a moment, or have enough to do.
  Result<std::string> fetch_over_wire() {
    auto& source = request_.source;
    Result<void> fetched = fail(Errc::unavailable, "no gateway was asked");
    for (int round = 0; round < wire_rounds; ++round) {
      if (round > 0) TRY(wait(wire_pause * (1 << (round - 1))));
      for (auto& url : request_.wire.urls) {
        std::vector<std::string> arguments{"fetch", "--quiet", "--no-tags", "--no-write-commit-graph"};
        if (source.checkout.depth > 0) arguments.push_back("--depth=" + std::to_string(source.checkout.depth));
        arguments.insert(arguments.end(), {url, "refs/mayfly/" + source.sha});
        fetched = git(arguments, {}, {}, wire_config());
        if (fetched) return "FETCH_HEAD";
        if (fetched.error().code != Errc::unavailable) return std::unexpected(fetched.error());
      }
    }
    return std::unexpected(fetched.error());
  }

  Result<void> wait(std::chrono::milliseconds pause) const {
    pollfd stopped{stop_.fd(), POLLIN, 0};
    if (::poll(&stopped, 1, static_cast<int>(pause.count())) > 0) return fail(Errc::canceled, "the checkout was stopped");
    return {};
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
    if (fetched.error().code == Errc::not_found && has_wire()) return fetch_over_wire();   // a mirror, but of another machine
    if (fetched.error().code != Errc::not_found || source.ref.empty() || source.ref.starts_with('-')) return std::unexpected(fetched.error());
    // A server that gives nothing by name: the commit may be in the history of its ref.
    arguments.insert(arguments.end(), {source.repository, source.ref});
    TRY(git(arguments, {}, {}));
    return source.sha;
  }

  Result<void> git(std::vector<std::string> arguments, std::vector<std::string> environment, std::string input, std::string config = std::string(git_config)) {
    auto name = arguments[0];
    environment.push_back("GIT_DIR=" + git_dir_.string());
    environment.push_back("GIT_WORK_TREE=" + request_.workspace);
    GitCommand command{.program = "git", .arguments = std::move(arguments), .environment = std::move(environment), .config = std::move(config),
                       .time_limit = request_.time_limit, .max_file_bytes = max_pack_bytes, .input = std::move(input)};
    TRY_ASSIGN(auto done, run_git(command, stop_));
    if (done.exit_code == 0) return {};
    auto absent = done.errors.contains("not our ref") || done.errors.contains("couldn't find remote ref") || done.errors.contains("bad object") ||
                  done.errors.contains("unadvertised object") || done.errors.contains("is not a tree") || done.errors.contains("unable to read tree");
    return fail(absent ? Errc::not_found : is_final(done.errors) ? Errc::forbidden : Errc::unavailable, "git " + name + ": " + last_line(done.errors));
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
