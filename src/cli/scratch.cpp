#include "cli/scratch.h"

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace mayfly::cli {

Scratch::Scratch() {
  auto pattern = (std::filesystem::temp_directory_path() / "mayfly-XXXXXX").string();
  if (!::mkdtemp(pattern.data())) throw std::system_error(errno, std::generic_category(), "a temporary directory cannot be made at " + pattern);
  path_ = pattern;
}

Scratch::~Scratch() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace mayfly::cli
