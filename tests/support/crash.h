#pragma once
// Kills a process that works, at a moment of the test's choosing, and tells what it had promised by then.

#include <functional>
#include <string>
#include <vector>

#include "base/time.h"

namespace mayfly {

/// How the victim tells the test what is acknowledged. Each call is one line, whole or not at all.
using Acknowledge = std::function<void(const std::string& line)>;

/// Runs `work` in a forked child until it is killed with SIGKILL, `after` its first acknowledgement; returns every line it
/// acknowledged. `work` starts its own threads and never returns. Fork before the test has threads of its own.
std::vector<std::string> kill_during(const std::function<void(const Acknowledge&)>& work, Duration after);

/// Runs `check` in a forked child, as the unprivileged user nobody when the test is root. True if it returned true.
bool passes_unprivileged(const std::function<bool()>& check);

/// Runs `check` in a forked child that sees a disk of its own, with `bytes` of room, mounted on `folder`. True if it
/// returned true.
bool passes_on_small_disk(std::size_t bytes, const std::string& folder, const std::function<bool()>& check);

}  // namespace mayfly
