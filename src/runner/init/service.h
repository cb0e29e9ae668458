#pragma once
// mayfly-init as process 1 of a service's sandbox: starts the service, asks its `ready` until that says yes, keeps the last
// lines of what both write, and says what became of them.

#include <optional>

namespace mayfly {

/// N of `mayfly-init --service-fd N`; nothing when it was started otherwise.
std::optional<int> service_descriptor(int argc, const char* const* argv);

/// Reads a ServiceStart from `control`, answers with ServiceReports. Returns the exit code of the program: when the service has
/// ended, was not ready in time, or the other side has hung up; nothing of the service runs any more then.
int run_service(int control);

}  // namespace mayfly
