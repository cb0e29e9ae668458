#pragma once
// mayfly-init as the job meets it: a file one may execute and not read. The kernel then makes the process undumpable, so
// the job, though of the same uid, can neither trace it nor reach its descriptors and memory through /proc.

#include <string>

#include "base/result.h"

namespace mayfly {

/// A copy of `init_path` in `cache_dir` with mode 0111, made once per version of the file. Errc::not_found: no such file.
Result<std::string> exec_only_init(const std::string& init_path, const std::string& cache_dir);

}  // namespace mayfly
