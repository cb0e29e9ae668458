#include "adapters/git/remote.h"

#include <algorithm>
#include <array>

#include "adapters/git/git_config.h"
#include "adapters/git/libgit2.h"
#include "base/digest.h"

namespace mayfly {
namespace {

std::string config_quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::string config_for(const RepoUrl& url) {
  std::string out(git_config);
  if (!url.user.empty() || !url.password.empty())
    out += "[http " + config_quoted(url.origin) + "]\n\textraHeader = " + config_quoted("Authorization: Basic " + to_base64(url.user + ":" + url.password)) + "\n";
  return out;
}

// git's last word, which is the reason; what comes before is progress and hints.
std::string reason_in(std::string_view errors) {
  std::string last = "no reason given";
  for (std::size_t at = 0; at < errors.size();) {
    auto end = std::min(errors.find('\n', at), errors.size());
    auto line = errors.substr(at, end - at);
    if (line.starts_with("fatal: ") || line.starts_with("error: ")) last = line.substr(7);
    at = end + 1;
  }
  return last;
}

bool says_any(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::ranges::any_of(words, [&](auto word) { return text.contains(word); });
}

std::unexpected<Error> complaint(const RepoUrl& url, std::string_view errors) {
  auto message = "git fetch from '" + url.text + "': " + reason_in(errors);
  if (says_any(errors, {"not our ref", "unadvertised object", "couldn't find remote ref", "no such remote ref", "does not allow request for"}))
    return fail(Errc::not_found, std::move(message), "was the branch deleted or pushed over?");
  if (says_any(errors, {"Authentication failed", "could not read Username", "could not read Password", "Permission denied", "returned error: 401", "returned error: 403"}))
    return fail(Errc::forbidden, std::move(message), "give the project's repository URL credentials that may read it");
  if (says_any(errors, {"does not appear to be a git repository", "returned error: 404", "repository not exported", "no such repository", "' not found"}))
    return fail(Errc::not_found, std::move(message), "is the project's repository URL right, and may the server read it?");
  return fail(Errc::unavailable, std::move(message), "the next try may succeed; if it does not, fetch by hand from the server's machine");
}

// A lone name may be a branch or a tag; the branch wins, as on the forges.
std::vector<std::string> candidates(const std::string& ref) {
  if (ref.empty() || ref == "HEAD") return {"HEAD"};
  if (ref.starts_with("refs/")) return {ref + "^{}", ref};
  return {"refs/heads/" + ref, "refs/tags/" + ref + "^{}", "refs/tags/" + ref};
}

std::optional<std::string> sha_of(std::string_view listing, std::string_view name) {
  for (std::size_t at = 0; at < listing.size();) {
    auto end = std::min(listing.find('\n', at), listing.size());
    auto line = listing.substr(at, end - at);
    auto tab = line.find('\t');
    if (tab != line.npos && line.substr(tab + 1) == name) return std::string(line.substr(0, tab));
    at = end + 1;
  }
  return std::nullopt;
}

const std::string through = "refs/mayfly/through";   // holds what a ref led to, until the next
constexpr int whole_history = 0x7fffffff;   // what git takes for no limit

/// The name of the commit `sha` leads to, if the mirror has it.
Result<std::string> commit_in(const Mirror& mirror, const std::string& sha) {
  TRY_ASSIGN(auto repository, git2::open(mirror.directory().string()));
  TRY_ASSIGN(auto commit, git2::find_commit(repository.get(), sha));
  return git2::to_string(*git_commit_id(commit.get()));
}

/// Marks a commit that is there by its own name; whatever else was fetched is none.
Result<void> mark_commit(const Mirror& mirror, const std::string& sha) {
  auto commit = commit_in(mirror, sha);
  if (commit) return mirror.mark(sha, *commit);
  mirror.unmark(sha);
  return std::unexpected(std::move(commit).error());
}

}  // namespace

Result<GitFinished> Remote::run(std::vector<std::string> arguments) const {
  return run_git({.program = options_.program,
                  .arguments = std::move(arguments),
                  .environment = {"GIT_SSH_COMMAND=" + options_.ssh_command},
                  .config = config_for(url_),
                  .time_limit = options_.time_limit,
                  .max_file_bytes = options_.max_fetch_bytes},
                 stop_);
}

Result<void> Remote::fetch_refs(const Mirror& into, const std::vector<Refspec>& refs, int depth) const {
  std::vector<std::string> arguments{"--git-dir=" + into.directory().string(), "fetch", "--quiet", "--no-tags", "--no-recurse-submodules",
                                     "--no-write-fetch-head", "--no-auto-maintenance", "--update-shallow", "--depth=" + std::to_string(depth), "--", url_.text};
  for (auto& ref : refs) arguments.push_back("+" + ref.what + ":" + ref.as);
  TRY_ASSIGN(auto done, run(std::move(arguments)));
  if (done.exit_code != 0) return complaint(url_, done.errors);
  return {};
}

Result<void> Remote::fetch_through(const Mirror& into, const std::string& sha, const std::string& ref) const {
  into.forget_histories();   // a depth cuts short what was deeper before
  for (int depth : {1, options_.deepen_to}) {
    TRY(fetch_one(into, ref, through, depth));
    if (commit_in(into, sha)) return {};
  }
  return fail(Errc::not_found, "commit " + sha + " is not among the last " + std::to_string(options_.deepen_to) + " of " + ref + " at '" + url_.text + "'",
              "was it pushed over? The server gives no commit by its name");
}

Result<void> Remote::fetch(const Mirror& into, const std::string& sha, const std::string& ref) const {
  if (commit_in(into, sha)) return mark_commit(into, sha);   // came with the history of another
  into.clean(sha);
  auto fetched = fetch_one(into, sha, Mirror::ref_of(sha), 1);
  if (!fetched && fetched.error().code == Errc::not_found && !ref.empty()) fetched = fetch_through(into, sha, ref);
  if (fetched) return mark_commit(into, sha);
  into.clean(sha);
  return fetched;
}

Result<void> Remote::deepen(const Mirror& in, const std::string& sha, const std::string& ref, int depth) const {
  in.clean(sha);
  int commits = depth == 0 ? whole_history : depth;
  auto deepened = fetch_one(in, sha, Mirror::ref_of(sha), commits);
  if (!deepened && deepened.error().code == Errc::not_found && !ref.empty()) deepened = fetch_one(in, ref, through, std::max(commits, options_.deepen_to));
  TRY(deepened);
  TRY(mark_commit(in, sha));
  if (depth != 0) in.forget_histories();
  return in.mark_history(sha, depth);
}

Result<std::optional<std::string>> Remote::merge_base(const Mirror& in, const std::string& one, const std::string& other) const {
  in.forget_histories();   // a depth cuts short what was deeper before
  for (int depth : {options_.deepen_to, whole_history}) {
    TRY(fetch_refs(in, {{one, Mirror::ref_of(one)}, {other, Mirror::ref_of(other)}}, depth));
    TRY(mark_commit(in, one));
    TRY(mark_commit(in, other));
    TRY_ASSIGN(auto found, run({"--git-dir=" + in.directory().string(), "merge-base", one, other}));
    if (found.exit_code == 0) return found.output.substr(0, found.output.find('\n'));
    if (found.exit_code != 1) return complaint(url_, found.errors);
  }
  return std::nullopt;
}

Result<std::string> Remote::resolve(const std::string& ref) const {
  auto names = candidates(ref);
  std::vector<std::string> arguments = {"ls-remote", "--quiet", "--", url_.text};
  arguments.insert(arguments.end(), names.begin(), names.end());
  TRY_ASSIGN(auto done, run(std::move(arguments)));
  if (done.exit_code != 0) return complaint(url_, done.errors);
  for (auto& name : names)
    if (auto sha = sha_of(done.output, name)) return *sha;
  return fail(Errc::not_found, "'" + url_.text + "' has no branch or tag '" + ref + "'");
}

}  // namespace mayfly
