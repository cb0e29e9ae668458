#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "base/json.h"

namespace mayfly {
namespace {

spdlog::logger& sink() {
  static auto logger = [] {
    auto made = spdlog::stderr_logger_mt("mayfly");
    made->set_pattern("{\"time\":\"%Y-%m-%dT%H:%M:%S.%fZ\",\"level\":\"%l\",%v}", spdlog::pattern_time_type::utc);
    return made;
  }();
  return *logger;
}

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::debug: return spdlog::level::debug;
    case Level::info: return spdlog::level::info;
    case Level::warn: return spdlog::level::warn;
    case Level::error: return spdlog::level::err;
  }
  return spdlog::level::info;
}

}  // namespace

void set_log_level(Level level) { sink().set_level(to_spdlog(level)); }

void log(Level level, std::string_view message, std::initializer_list<Field> fields) {
  if (!sink().should_log(to_spdlog(level))) return;
  std::string line = "\"message\":" + json::serialize(json::string(message));
  for (auto& field : fields)
    line += "," + json::serialize(json::string(field.key)) + ":" + json::serialize(json::string(field.value));
  sink().log(to_spdlog(level), spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace mayfly
