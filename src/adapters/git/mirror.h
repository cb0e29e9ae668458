#pragma once
// The local bare repository in which fetched commits of one remote wait for their builds. A commit is in it when
// refs/mayfly/<sha> exists and holds its name: the ref is written last, keeps git from collecting the commit, and is one small
// file to ask for. Commits are shallow, their parents are not here, until somebody asks for history.

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace mayfly {

class Mirror final {
 public:
  explicit Mirror(std::filesystem::path directory) : directory_(std::move(directory)) {}
  Mirror(const Mirror&) = delete;
  Mirror& operator=(const Mirror&) = delete;

  const std::filesystem::path& directory() const { return directory_; }
  static std::string ref_of(std::string_view sha) { return "refs/mayfly/" + std::string(sha); }

  /// The commit, if it is here, whole: its own name when `sha` is that of a tag object. Any thread.
  std::optional<std::string> commit_of(const std::string& sha) const;
  /// The same, and notes that it was asked for now, which keeps it from being forgotten.
  std::optional<std::string> use(const std::string& sha) const;
  /// Whether its last `depth` commits are here (0: all there are). Any thread.
  bool has_history(const std::string& sha, int depth) const;

  // The rest is for whoever holds the lock.

  /// Makes the repository if there is none yet, all of it or nothing. Errc::unavailable.
  Result<void> create() const;
  /// Says that `commit` is here, asked for by the name `sha`.
  Result<void> mark(const std::string& sha, const std::string& commit) const;
  Result<void> mark_history(const std::string& sha, int depth) const;
  /// Says that no history is whole any more.
  void forget_histories() const;
  /// Takes the mark back.
  void unmark(const std::string& sha) const;
  /// Removes the repository: what is in it is broken. Runners that read it fail, and their attempts are tried again.
  void discard() const;
  /// Tells git that the parents of this commit are not here.
  Result<void> add_shallow(const std::string& commit) const;
  /// Removes the lock files and half packs that a git killed while it fetched `sha`, or anything else, left.
  void clean(const std::string& sha) const;

 private:
  std::filesystem::path directory_;
};

/// Held while a mirror is written: by this object alone, whatever process asks. Ends with the process.
class MirrorLock final {
 public:
  /// Waits for its turn. Errc::unavailable when the mirror cannot be written.
  static Result<MirrorLock> take(const Mirror&);
  MirrorLock(MirrorLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  MirrorLock& operator=(MirrorLock&&) = delete;
  ~MirrorLock();

 private:
  explicit MirrorLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace mayfly
