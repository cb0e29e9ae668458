#pragma once
// What an engine says while it pulls an image: many lines a second, of which people want one now and then; and how it fails,
// which decides what is to be done about it.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"

namespace mayfly::docker {

inline constexpr Duration pull_say_interval = std::chrono::seconds(5);   // between two lines of progress
inline constexpr std::size_t max_pull_layers = 512;                       // whose progress is counted

/// Why a pull failed, from the engine's words. Errc::not_found: no such image, or none for this kind of machine. Errc::forbidden:
/// it may not be had by us. Errc::too_large: the engine's disk is full. Errc::rate_limited and Errc::unavailable: another time.
Error pull_error(const std::string& image, int status, std::string_view said);

class PullProgress final {
 public:
  PullProgress(std::string image, Time now) : image_(std::move(image)), last_said_(now) {}

  /// One line of the engine's answer. An error in it is pull_error(); what is no JSON Errc::invalid.
  Result<void> take(std::string_view line);
  /// A sentence, when it is time for one and there is news.
  std::optional<std::string> say(Time now);

 private:
  struct Layer {
    std::int64_t current = 0;
    std::int64_t total = 0;
    bool done = false;
  };

  std::string image_;
  Time last_said_;
  std::map<std::string, Layer> layers_;
  std::string last_sentence_;
};

}  // namespace mayfly::docker
