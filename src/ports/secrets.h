#pragma once
// Values that jobs may use by name and nobody may see. Sealed at rest; read only for an attempt that is running.

#include <string>
#include <string_view>
#include <vector>

#include "async/task.h"
#include "base/ids.h"
#include "base/result.h"

namespace mayfly {

struct Secret {
  std::string name;   // [A-Za-z_][A-Za-z0-9_]*
  std::string value;  // never log, publish or store in the clear
};

class Secrets {
 public:
  virtual ~Secrets() = default;
  virtual Task<Result<void>> set(ProjectId project, Secret secret) = 0;
  virtual Task<Result<void>> remove(ProjectId project, std::string name) = 0;
  virtual Task<Result<std::vector<std::string>>> names(ProjectId project) = 0;
  /// The named ones, in that order. Errc::not_found names every one that is missing.
  virtual Task<Result<std::vector<Secret>>> read(ProjectId project, std::vector<std::string> names) = 0;
};

}  // namespace mayfly
