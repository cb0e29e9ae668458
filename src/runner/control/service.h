#pragma once
// What the launcher of a service and the mayfly-init in its sandbox say to each other: one JSON object a line. Down goes one
// ServiceStart, up come ServiceReports. The launcher believes nothing of them beyond their form.

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "domain/pipeline/plan.h"

namespace mayfly {

inline constexpr Duration service_ready_limit = std::chrono::minutes(5);
inline constexpr std::size_t max_service_start_bytes = 16 << 20;
inline constexpr std::size_t max_service_report_bytes = 256 << 10;
inline constexpr std::size_t max_service_lines = 50;           // the last of what a service wrote
inline constexpr std::size_t max_service_line_bytes = 1000;    // of each

struct ServiceStart {
  std::vector<std::string> argv = {};      // [0] is looked up in the PATH of `env`
  Env env = {};
  std::string directory = "/";
  std::string ready = {};                  // for `sh -c`; empty: ready once started
  Duration ready_limit = service_ready_limit;
  bool operator==(const ServiceStart&) const = default;
};

struct ServiceReport {
  enum class What { ready, ended, late };
  What what = What::ready;
  std::string how = {};                    // ended: "exited with 1"; late: what `ready` came to the last time
  bool killed = false;                     // ended by a SIGKILL: memory, perhaps
  std::vector<std::string> last_lines = {};
  bool operator==(const ServiceReport&) const = default;
};

/// One line, with its '\n'.
std::string to_line(const ServiceStart&);
std::string to_line(const ServiceReport&);
/// Errc::invalid names the field that is wrong. `line` may end with '\n'.
Result<ServiceStart> service_start_from(std::string_view line);
Result<ServiceReport> service_report_from(std::string_view line);

}  // namespace mayfly
