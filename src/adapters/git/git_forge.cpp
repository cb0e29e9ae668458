#include "adapters/git/git_forge.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>

#include "adapters/git/libgit2.h"
#include "adapters/git/local_copy.h"
#include "adapters/git/reader.h"
#include "adapters/git/remote.h"
#include "adapters/git/serial_offload.h"
#include "adapters/git/tidy.h"
#include "adapters/git/upload_pack.h"
#include "base/log.h"
#include "domain/pipeline/glob.h"
#include "domain/webhook/git_names.h"

namespace mayfly {
namespace {

struct Repo {
  Repo(RepoUrl address, std::filesystem::path directory, Offload& pool) : url(std::move(address)), mirror(std::move(directory)), serial(pool) {}
  const RepoUrl url;
  const Mirror mirror;
  SerialOffload serial;
  unsigned fetches = 0;   // in the repository's turn
};

Result<void> check_sha(const std::string& sha) {
  if (!is_commit_sha(sha)) return fail(Errc::invalid, "'" + sha.substr(0, 64) + "' is not a commit: 40 hex digits in lower case are");
  return {};
}

Result<void> check_ref(const std::string& ref) {
  if (!ref.empty() && !is_ref_name(ref)) return fail(Errc::invalid, "'" + ref.substr(0, 100) + "' is not the name of a ref");
  return {};
}

bool is_missing(const Error& error) { return error.code == Errc::not_found; }

// A commit that is marked as here and cannot be read: part of it is gone or not what it was.
template <class R>
bool is_broken(const Result<R>& read) {
  return !read && (read.error().code == Errc::corrupt || is_missing(read.error()));
}

/// One of GitOptions::served_at_once, while it lives.
class Place final {
 public:
  static std::optional<Place> take(std::atomic<unsigned>& taken, unsigned limit) {
    if (taken.fetch_add(1) < limit) return Place(taken);
    --taken;
    return std::nullopt;
  }
  Place(Place&& other) noexcept : taken_(std::exchange(other.taken_, nullptr)) {}
  Place& operator=(Place&&) = delete;
  ~Place() {
    if (taken_) --*taken_;
  }

 private:
  explicit Place(std::atomic<unsigned>& taken) : taken_(&taken) {}
  std::atomic<unsigned>* taken_;
};

class Served final : public SourceStream {
 public:
  Served(Place place, std::unique_ptr<UploadPack> git, Offload& pool, const StopFlag& stop) : place_(std::move(place)), git_(std::move(git)), pool_(pool), stop_(stop) {}
  Task<Result<std::size_t>> read(std::span<char> into) override {
    co_return co_await offload(pool_, [&] { return git_->read(into, stop_); });
  }

 private:
  Place place_;
  std::unique_ptr<UploadPack> git_;
  Offload& pool_;
  const StopFlag& stop_;
};

}  // namespace

struct GitForge::Impl {
  Impl(Offload& reads_, std::filesystem::path mirrors_, GitOptions options_)
      : reads(reads_), mirrors(std::move(mirrors_)), options(std::move(options_)), pool(make_thread_offload(options.fetches)) {
    git2::use_library();
  }

  Offload& reads;
  const std::filesystem::path mirrors;
  const GitOptions options;
  StopFlag stop;
  std::mutex mutex;
  std::map<std::string, std::unique_ptr<Repo>, std::less<>> repos;
  std::atomic<unsigned> served = 0;
  std::unique_ptr<Offload> serving;   // made when the first runner asks
  std::unique_ptr<Offload> pool;   // last: its threads end before what they use

  Result<Repo*> repo(const std::string& address) {
    std::lock_guard lock(mutex);
    if (auto known = repos.find(address); known != repos.end()) return known->second.get();
    TRY_ASSIGN(auto url, parse_repo_url(address));
    if (url.local && !options.local_repositories)
      return fail(Errc::forbidden, "repositories on the server's own disk are not allowed here", "use a URL with https:// or ssh://");
    auto directory = mirrors / url.mirror_name;
    auto& made = repos[address] = std::make_unique<Repo>(std::move(url), std::move(directory), *pool);
    return made.get();
  }

  /// Brings a commit here; its own name. In the repository's turn.
  Result<std::string> fetch(const Repo& repo, const std::string& sha, const std::string& ref) const {
    TRY_ASSIGN(auto lock, MirrorLock::take(repo.mirror));
    if (auto commit = repo.mirror.commit_of(sha)) return *commit;
    TRY(repo.mirror.create());
    TRY(copy_or_fetch(repo, sha, ref));
    if (auto commit = repo.mirror.commit_of(sha)) {
      if (*commit != sha) TRY(repo.mirror.mark(*commit, *commit));
      return *commit;
    }
    return fail(Errc::unavailable, "the mirror '" + repo.mirror.directory().string() + "' was changed by somebody else");
  }

  Result<void> copy_or_fetch(const Repo& repo, const std::string& sha, const std::string& ref) const {
    if (repo.url.local) {
      auto copied = copy_commit(repo.url.local->string(), repo.mirror, sha);
      if (copied) return repo.mirror.mark(sha, *copied);
      if (is_missing(copied.error())) return std::unexpected(std::move(copied).error());
    }
    return Remote(repo.url, options, stop).fetch(repo.mirror, sha, ref);
  }

  Result<void> deepen(const Repo& repo, const std::string& sha, const std::string& ref, int depth) const {
    TRY(fetch(repo, sha, ref));
    TRY_ASSIGN(auto lock, MirrorLock::take(repo.mirror));
    if (repo.mirror.has_history(sha, depth)) return {};
    return Remote(repo.url, options, stop).deepen(repo.mirror, sha, ref, depth);
  }

  /// Fetches and reads; once more from nothing when the mirror turns out to be broken. In the repository's turn.
  template <class R>
  Result<R> fetch_and_read(Repo& repo, const std::string& sha, const std::string& ref, const std::function<Result<R>(const std::string&)>& read) {
    TRY_ASSIGN(auto commit, fetch(repo, sha, ref));
    auto done = read(commit);
    if (is_broken(done)) {
      log_warn("a mirror is broken and is fetched anew", {{"mirror", repo.mirror.directory().string()}, {"error", done.error().message}});
      {
        TRY_ASSIGN(auto lock, MirrorLock::take(repo.mirror));
        repo.mirror.discard();
      }
      TRY_ASSIGN(commit, fetch(repo, sha, ref));
      done = read(commit);
    }
    if (++repo.fetches % options.tidy_after_fetches == 0) repo.serial.post([this, &repo] { tidy_up(repo); });
    return done;
  }

  void tidy_up(const Repo& repo) const {
    auto lock = MirrorLock::take(repo.mirror);
    auto done = lock ? tidy(repo.mirror, options, stop) : Result<void>(std::unexpected(lock.error()));
    if (!done) log_warn("a mirror could not be tidied", {{"error", done.error().message}});
  }

  /// What `read` makes of a commit's own name, fetched first if it is not here.
  template <class R>
  Task<Result<R>> with_commit(Repo& repo, std::string sha, std::string ref, std::function<Result<R>(const std::string&)> read) {
    using Maybe = std::optional<Result<R>>;
    auto here = co_await offload(reads, [&]() -> Maybe {
      auto commit = repo.mirror.use(sha);
      return commit ? Maybe(read(*commit)) : std::nullopt;
    });
    if (here && !is_broken(*here)) co_return *std::move(here);
    co_return co_await offload(repo.serial, [&] { return fetch_and_read(repo, sha, ref, read); });
  }
};

GitForge::GitForge(Offload& reads, std::filesystem::path mirrors, GitOptions options)
    : impl_(std::make_unique<Impl>(reads, std::move(mirrors), std::move(options))) {}

GitForge::~GitForge() { stop(); }

void GitForge::stop() { impl_->stop.raise(); }

Task<Result<std::string>> GitForge::resolve(std::string repo_url, std::string ref) {
  CO_TRY(check_ref(ref));
  CO_TRY_ASSIGN(Repo * repo, impl_->repo(repo_url));
  if (is_commit_sha(ref)) co_return ref;
  co_return co_await offload(*impl_->pool, [&]() -> Result<std::string> {
    if (repo->url.local) {
      auto read = read_ref(repo->url.local->string(), ref);
      if (read || is_missing(read.error())) return read;
    }
    return Remote(repo->url, impl_->options, impl_->stop).resolve(ref);
  });
}

Task<Result<Snapshot>> GitForge::snapshot(std::string repo_url, std::string sha, std::string ref) {
  CO_TRY(check_sha(sha));
  CO_TRY(check_ref(ref));
  CO_TRY_ASSIGN(Repo * repo, impl_->repo(repo_url));
  auto directory = repo->mirror.directory().string();
  co_return co_await impl_->with_commit<Snapshot>(*repo, sha, ref, [&](auto& commit) { return read_snapshot(directory, commit); });
}

Task<Result<std::optional<std::vector<std::string>>>> GitForge::changed_paths(std::string repo_url, std::string before, std::string after) {
  using Paths = std::optional<std::vector<std::string>>;
  CO_TRY(check_sha(after));
  if (!is_commit_sha(before) || is_zero_sha(before)) co_return Paths();
  CO_TRY_ASSIGN(Repo * repo, impl_->repo(repo_url));
  auto directory = repo->mirror.directory().string();
  auto from = co_await impl_->with_commit<std::string>(*repo, before, "", [](auto& commit) { return Result<std::string>(commit); });
  if (!from && is_missing(from.error())) co_return Paths();
  CO_TRY(from);
  co_return co_await impl_->with_commit<Paths>(*repo, after, "", [&](auto& to) { return read_changed_paths(directory, *from, to); });
}

Task<Result<std::optional<std::string>>> GitForge::merge_base(std::string repo_url, std::string one, std::string other) {
  CO_TRY(check_sha(one));
  CO_TRY(check_sha(other));
  CO_TRY_ASSIGN(Repo * repo, impl_->repo(repo_url));
  co_return co_await offload(repo->serial, [&]() -> Result<std::optional<std::string>> {
    TRY_ASSIGN(auto lock, MirrorLock::take(repo->mirror));
    TRY(repo->mirror.create());
    auto base = Remote(repo->url, impl_->options, impl_->stop).merge_base(repo->mirror, one, other);
    if (!base && is_missing(base.error())) return std::nullopt;
    return base;
  });
}

Task<Result<std::vector<std::string>>> GitForge::tree_hashes(std::string repo_url, std::string sha, std::vector<std::string> globs) {
  CO_TRY(check_sha(sha));
  CO_TRY_ASSIGN(Repo * repo, impl_->repo(repo_url));
  auto directory = repo->mirror.directory().string();
  auto wanted = [&](std::string_view path) { return std::ranges::any_of(globs, [&](auto& glob) { return glob_match(glob, path); }); };
  co_return co_await impl_->with_commit<std::vector<std::string>>(*repo, sha, "", [&](auto& commit) { return read_tree_hashes(directory, commit, wanted); });
}

Task<Result<void>> GitForge::deepen(std::string repo_url, std::string sha, std::string ref, int depth) {
  CO_TRY(check_sha(sha));
  CO_TRY(check_ref(ref));
  if (depth < 0) co_return fail(Errc::invalid, "a history of " + std::to_string(depth) + " commits cannot be fetched");
  CO_TRY_ASSIGN(Repo * repo, impl_->repo(repo_url));
  if (depth == 1) {
    CO_TRY(co_await impl_->with_commit<bool>(*repo, sha, ref, [](auto&) { return Result<bool>(true); }));
    co_return Result<void>();
  }
  co_return co_await offload(repo->serial, [&] { return impl_->deepen(*repo, sha, ref, depth); });
}

Task<Result<std::string>> GitForge::mirror(std::string repo_url) {
  CO_TRY_ASSIGN(Repo * repo, impl_->repo(repo_url));
  co_return co_await offload(repo->serial, [&]() -> Result<std::string> {
    TRY_ASSIGN(auto lock, MirrorLock::take(repo->mirror));
    TRY(repo->mirror.create());
    return repo->mirror.directory().string();
  });
}

Task<Result<std::unique_ptr<SourceStream>>> GitForge::serve(std::string repo_url, std::string sha, std::optional<std::string> request) {
  CO_TRY(check_sha(sha));
  CO_TRY_ASSIGN(Repo * repo, impl_->repo(repo_url));
  auto place = Place::take(impl_->served, impl_->options.served_at_once);
  if (!place) co_return fail(Errc::rate_limited, "source is being given to as many runners as this server may at once", "ask again in a moment");
  if (!impl_->serving) impl_->serving = make_thread_offload(impl_->options.served_at_once);
  auto git = co_await offload(*impl_->serving, [&]() -> Result<std::unique_ptr<UploadPack>> {
    if (!repo->mirror.use(sha)) return fail(Errc::not_found, "commit " + sha + " is not in the mirror");
    return UploadPack::start(repo->mirror, sha, std::move(request), impl_->options);
  });
  if (!git) co_return std::unexpected(git.error());
  co_return std::make_unique<Served>(*std::move(place), *std::move(git), *impl_->serving, impl_->stop);
}

}  // namespace mayfly
