#pragma once
// `mayfly serve`: some roles of a Mayfly that is many processes, over PostgreSQL, Kafka, Redis and S3.

#include "cli/cli.h"

namespace mayfly {

/// Serves until SIGTERM or SIGINT, then drains. Returns the process's exit code; says on standard error why when it is not 0.
int run_serve(ServeOptions options);

}  // namespace mayfly
