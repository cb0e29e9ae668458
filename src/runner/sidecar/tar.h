#pragma once
// A job's `outputs` on their way to the jobs that need it: a tar of files, directories and symbolic links, written from one
// workspace and unpacked into another. Blocking.

#include <vector>

#include "base/result.h"
#include "domain/runner/protocol.h"
#include "runner/sidecar/tree.h"

namespace mayfly {

/// Writes the entries to `fd` (pax format). What is no file, directory or link inside the workspace is left out and named in
/// `left_out`. Errc::too_large past max_artifact_bytes.
Result<void> pack(const Tree& tree, const std::vector<TreeEntry>& entries, int fd, std::vector<std::string>& left_out);

/// Unpacks what `fd` holds. Names and links that lead outside, hard links, devices: Errc::forbidden. Errc::corrupt: no tar.
/// Errc::too_large: past max_artifact_bytes or max_tree_entries.
Result<void> unpack(int fd, const Tree& tree);

}  // namespace mayfly
