#pragma once
// A directory of this process's own, gone when it is done.

#include <string>

namespace mayfly::cli {

class Scratch final {
 public:
  Scratch();  // throws std::system_error where no temporary directory can be made
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace mayfly::cli
