#pragma once
// Real git repositories for tests: a bare one that stands for the forge, a working copy that pushes to it.

#include <filesystem>
#include <string>
#include <string_view>

namespace mayfly {

/// Standard output of a shell command, without the last line's end; throws std::runtime_error when it fails. Git in it sees no
/// configuration of this machine, and commits as Ada at a fixed time.
std::string shell(const std::filesystem::path& directory, const std::string& command);

class GitRepository final {
 public:
  /// Makes `bare` and, beside it, its working copy with branch main and no commit.
  explicit GitRepository(std::filesystem::path bare);

  const std::filesystem::path& bare() const { return bare_; }
  const std::filesystem::path& work() const { return work_; }

  void write(const std::string& path, std::string_view content) const;
  /// Commits everything in the working copy; the commit's name.
  std::string commit(const std::string& message) const;
  /// "main", "+main:main", "v1", ":gone"
  void push(const std::string& refspec) const;
  /// write, commit and push to main.
  std::string push_file(const std::string& path, std::string_view content, const std::string& message = "a change") const;
  std::string git(const std::string& arguments) const { return shell(work_, "git " + arguments); }

 private:
  std::filesystem::path bare_;
  std::filesystem::path work_;
};

}  // namespace mayfly
