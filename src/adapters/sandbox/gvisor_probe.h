#pragma once
// Whether gVisor works on this machine: known only by trying, for a kernel or a container around us may refuse what its
// sentry needs. A pool offers `gvisor` when this says so, and not before.

#include <string>

#include "base/result.h"
#include "base/time.h"

namespace mayfly {

inline constexpr Duration gvisor_probe_patience = std::chrono::seconds(15);   // some platforms hang where they do not work

/// Starts /bin/true under `runsc` (a path, or a name to be looked up in PATH) and waits for its end. Blocking. Errc::unsupported: there is
/// no such program. Errc::timeout: it hangs. Errc::unavailable: it said no, and what.
Result<void> probe_gvisor(const std::string& runsc, Duration patience = gvisor_probe_patience);

}  // namespace mayfly
