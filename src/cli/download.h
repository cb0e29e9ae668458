#pragma once
// An artifact's bytes into a file: resumed after a broken connection, and after an earlier try of this program; the file has
// its name only once its digest is right.

#include <string>

#include "cli/session.h"

namespace mayfly::cli {

/// Errc::corrupt: the bytes are not what the server said they are (nothing is left behind). Errc::invalid: the file cannot
/// be written.
Task<Result<void>> download(Session& session, Artifact artifact, std::string output);

/// To standard output. Errc::corrupt comes after the bytes: whoever reads them must look at the exit code.
Task<Result<void>> print_artifact(Session& session, Artifact artifact);

}  // namespace mayfly::cli
