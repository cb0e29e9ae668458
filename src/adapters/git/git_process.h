#pragma once
// Runs the git program so that nothing of this machine leaks into it and nothing it does can last: no shell, a fixed
// environment, its own process group, a limit on time, on output and on what it may write, and death with its parent.

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace mayfly {

inline constexpr std::size_t max_git_output_bytes = 1 << 20;
inline constexpr std::size_t max_git_errors_bytes = 16 << 10;

/// One that can be raised from any thread: what runs under it is killed, what starts under it later fails at once.
class StopFlag final {
 public:
  StopFlag();
  ~StopFlag();
  StopFlag(const StopFlag&) = delete;
  StopFlag& operator=(const StopFlag&) = delete;
  void raise();
  int fd() const { return fd_; }

 private:
  int fd_;
};

struct GitCommand {
  std::string program;                    // looked up in PATH
  std::vector<std::string> arguments;
  std::vector<std::string> environment;   // "KEY=value", beside what git always gets
  std::string config;                     // the only configuration read besides the repository's own; may hold secrets
  std::chrono::milliseconds time_limit{};
  std::int64_t max_file_bytes = 0;        // of any file it writes
  std::string input = {};                 // its standard input
};

struct GitFinished {
  int exit_code = 0;
  std::string output;
  std::string errors;   // cut at max_git_errors_bytes
};

/// A git whose output is read as it comes. Destroying it kills it and what it started.
class GitPipe final {
 public:
  static Result<GitPipe> start(const GitCommand&);
  ~GitPipe();
  GitPipe(GitPipe&&) noexcept;
  GitPipe& operator=(GitPipe&&) = delete;

  /// Blocks until there is something; 0 at its end. Errc::timeout past the command's time limit, since start(); Errc::canceled
  /// when stopped. `into` is not empty.
  Result<std::size_t> read(std::span<char> into, const StopFlag& stop);
  /// Kills it if it still runs; what it said on standard error.
  std::string end();

 private:
  struct Impl;
  explicit GitPipe(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Blocks until the program has ended. Errc::timeout when killed at its limit; Errc::canceled when stopped; Errc::too_large
/// when it printed or wrote more than it may; Errc::unavailable when it could not be started.
Result<GitFinished> run_git(const GitCommand&, const StopFlag&);

}  // namespace mayfly
