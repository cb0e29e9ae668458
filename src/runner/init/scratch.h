#pragma once
// Files that init and a step share: its script, and what it writes to $CI_OUTPUT and $CI_ENV. The job may do to them what it
// likes; reading them back never leaves the directory and never blocks.

#include <string>
#include <string_view>

#include "base/result.h"

namespace mayfly {

/// A new directory below `parent`, removed with all it holds in the end.
class Scratch final {
 public:
  static Result<Scratch> make(const std::string& parent);
  ~Scratch();
  Scratch(Scratch&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  Scratch& operator=(Scratch&&) = delete;

  const std::string& path() const { return path_; }

 private:
  explicit Scratch(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

/// One step's own directory.
class StepFiles final {
 public:
  /// Writes the script and two empty files.
  static Result<StepFiles> make(const std::string& scratch, std::size_t step, std::string_view script);
  ~StepFiles();
  StepFiles(StepFiles&& other) noexcept : path_(std::move(other.path_)), directory_(std::exchange(other.directory_, -1)) {}
  StepFiles& operator=(StepFiles&&) = delete;

  std::string script() const { return path_ + "/script"; }
  std::string output() const { return path_ + "/output"; }
  std::string env() const { return path_ + "/env"; }
  /// Empty if the job removed it. Errc::invalid if it is no plain file now, Errc::too_large over max_step_output_bytes.
  Result<std::string> read_output() const { return read("output"); }
  Result<std::string> read_env() const { return read("env"); }

 private:
  StepFiles(std::string path, int directory) : path_(std::move(path)), directory_(directory) {}
  Result<std::string> read(const char* name) const;

  std::string path_;
  int directory_;
};

}  // namespace mayfly
