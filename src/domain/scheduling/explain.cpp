#include "domain/scheduling/explain.h"

#include <cstdio>

namespace mayfly::scheduling {
namespace {

/// At most three decimals, none that say nothing.
std::string trimmed(double value) {
  char out[32];
  std::snprintf(out, sizeof out, "%.3f", value);
  std::string text = out;
  text.erase(text.find_last_not_of('0') + 1);
  if (text.ends_with('.')) text.pop_back();
  return text;
}

}  // namespace

std::string format_cpu(std::int64_t milli) { return trimmed(double(milli) / 1000) + " cpu"; }

std::string format_memory(std::int64_t bytes) {
  constexpr std::int64_t KiB = 1024, MiB = 1024 * KiB, GiB = 1024 * MiB;
  if (bytes >= GiB) return trimmed(double(bytes) / GiB) + " GiB";
  if (bytes >= MiB) return trimmed(double(bytes) / MiB) + " MiB";
  return trimmed(double(bytes) / KiB) + " KiB";
}

std::string shape_text(const Shape& shape) {
  auto out = format_cpu(shape.cpu_milli) + ", " + format_memory(shape.memory_bytes);
  for (auto& label : shape.labels) out += ", " + label;
  if (shape.isolation) out += ", " + std::string(to_string(*shape.isolation));
  return shape.fork ? out + ", fork" : out;
}

std::string ordinal(int n) {
  auto text = std::to_string(n);
  if (n / 10 % 10 == 1) return text + "th";
  switch (n % 10) {
    case 1: return text + "st";
    case 2: return text + "nd";
    case 3: return text + "rd";
  }
  return text + "th";
}

std::string list_of(const std::vector<std::string>& items) {
  std::string out;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out += i + 1 == items.size() ? " and " : ", ";
    out += items[i];
  }
  return out;
}

}  // namespace mayfly::scheduling
