#pragma once
// Values that jobs may use by name and nobody may see. Sealed at rest; read only for an attempt that is running. No error
// or log line ever holds a value.

#include <cstddef>
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

inline constexpr std::size_t max_secret_name = 128;
inline constexpr std::size_t max_secret_bytes = 64 << 10;

/// Errc::invalid for what cannot be the name of an environment variable, or is longer than max_secret_name.
Result<void> check_secret_name(std::string_view name);

/// The name, and the value: Errc::invalid when it is empty or holds a NUL, which no environment can; Errc::too_large past
/// max_secret_bytes.
Result<void> check_secret(const Secret& secret);

class Secrets {
 public:
  virtual ~Secrets() = default;
  /// Durable when it returns; takes the place of an earlier value. Errc as check_secret().
  virtual Task<Result<void>> set(ProjectId project, Secret secret) = 0;
  /// Absent is success.
  virtual Task<Result<void>> remove(ProjectId project, std::string name) = 0;
  /// In order.
  virtual Task<Result<std::vector<std::string>>> names(ProjectId project) = 0;
  /// The named ones, in that order. Errc::not_found names every one that is missing; Errc::corrupt when what is stored
  /// was not sealed by us for this project and name.
  virtual Task<Result<std::vector<Secret>>> read(ProjectId project, std::vector<std::string> names) = 0;
};

}  // namespace mayfly
