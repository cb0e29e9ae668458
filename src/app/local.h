#pragma once
// `mayfly run`: a whole server in this process, for the length of one build.

#include "cli/cli.h"

namespace mayfly {

/// Opens a server in `options.data_dir` on a free port of the loopback, runs `use` beside it and drains. Returns what `use`
/// does, or 1 with a word on standard error when the server cannot be opened.
int with_local_server(cli::LocalOptions options, std::function<Task<int>(Loop, cli::LocalServer&)> use);

}  // namespace mayfly
