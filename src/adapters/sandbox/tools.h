#pragma once
// Runs one of the machine's own tools (mkfs, skopeo, umoci) to its end. Blocking.

#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"

namespace mayfly {

inline constexpr std::size_t max_tool_output_bytes = 8 << 10;  // the last of it, for error messages

/// `arguments[0]` is looked up in PATH, /usr/sbin and /sbin. Errc::unsupported: there is no such program. Errc::unavailable: it said
/// no; the message ends with what it printed.
Result<void> run_tool(const std::vector<std::string>& arguments);

struct ToolOptions {
  std::string directory = {};                   // where it runs; empty: here
  std::vector<std::string> environment = {};    // "KEY=value", the whole of it; empty: ours
  std::stop_token stop = {};
  std::function<Result<void>()> look = {};      // asked every tool_look_interval_ms while it runs; what it returns other than success ends it
  int descriptor = -1;                          // its descriptor 3
};
inline constexpr int tool_look_interval_ms = 200;

/// The same, with what it printed (its last max_tool_output_bytes). Errc::canceled: stopped; it and its children of the same group are killed.
Result<std::string> run_tool(const std::vector<std::string>& arguments, const ToolOptions& options);

/// The bytes of a file, at most `limit`; empty if it cannot be read. For files of /proc and of cgroups, which vanish while they are
/// read (std::ifstream throws then).
std::string read_whole(const std::string& path, std::size_t limit = 1 << 20);

/// "PID-N": for the name of a file that is being written, which no other thread or process uses.
std::string unique_suffix();

/// Where a program is, or nothing.
std::string find_program(const std::string& name);

}  // namespace mayfly
