#pragma once
// The server's own log: one JSON object a line on standard error. spdlog is behind it; its headers stay in log.cpp.

#include <initializer_list>
#include <string>
#include <string_view>

namespace mayfly {

enum class Level { debug, info, warn, error };

struct Field {
  std::string_view key;
  std::string value;
};

void set_log_level(Level);

/// Writes {"time", "level", "message", …fields}. Never hand it a secret: nothing here masks.
void log(Level, std::string_view message, std::initializer_list<Field> fields = {});

inline void log_info(std::string_view m, std::initializer_list<Field> f = {}) { log(Level::info, m, f); }
inline void log_warn(std::string_view m, std::initializer_list<Field> f = {}) { log(Level::warn, m, f); }
inline void log_error(std::string_view m, std::initializer_list<Field> f = {}) { log(Level::error, m, f); }

}  // namespace mayfly
