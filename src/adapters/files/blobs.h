#pragma once
// The Blobs port on a folder of this machine. A blob is one file: its bytes, then a trailer with their length and SHA-256,
// so that a copy made with any tool carries its own proof.

#include <memory>
#include <string>

#include "async/offload.h"
#include "ports/blobs.h"

namespace mayfly {

struct FileBlobsOptions {
  bool fsync = true;  // false: a stored blob survives the process, not the machine
  std::int64_t max_blob_bytes = 64LL << 30;
};

/// Makes the folder (mode 0700) where it is missing, and removes what a crashed process had half written there: one
/// process a folder. `pool` outlives the store and its writers. Errc::unavailable.
Result<std::unique_ptr<Blobs>> open_file_blobs(std::string folder, Offload& pool, FileBlobsOptions options = {});

}  // namespace mayfly
