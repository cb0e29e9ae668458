#pragma once
// Amounts in words people use.

#include <cstdint>
#include <string>
#include <vector>

#include "domain/scheduling/types.h"

namespace mayfly::scheduling {

std::string format_cpu(std::int64_t milli);              // "2 cpu", "0.5 cpu"
std::string format_memory(std::int64_t bytes);           // "64 GiB", "512 MiB", "1.5 GiB"
/// "2 cpu, 4 GiB, arm, gvisor".
std::string shape_text(const Shape&);
std::string ordinal(int n);                              // "1st", "2nd", "11th"
std::string list_of(const std::vector<std::string>&);    // "a, b and c"

}  // namespace mayfly::scheduling
