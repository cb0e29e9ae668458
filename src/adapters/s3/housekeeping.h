#pragma once
// What keeps a bucket clean: its lifecycle rules, and a sweep for what writers that died have left.

#include "adapters/s3/store.h"

namespace mayfly::s3 {

inline constexpr Duration sweep_interval = std::chrono::hours(6);
inline constexpr Duration stale_after = std::chrono::hours(24);   // no upload takes so long

/// The rules of the options, and that uploads in parts end. A bucket that has rules of others is left as it is.
Task<Result<void>> set_lifecycle(Store& store);

/// Gives up uploads that began more than stale_after ago, and removes digests that no blob names; how many of both.
Task<Result<std::size_t>> sweep(Store& store);

}  // namespace mayfly::s3
