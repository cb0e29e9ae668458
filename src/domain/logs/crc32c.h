#pragma once
// CRC-32C (Castagnoli, RFC 3720 §12.1): the checksum of a log frame's text. Uses the processor's instruction for it where
// there is one.

#include <cstdint>
#include <string_view>

namespace mayfly {

std::uint32_t crc32c(std::string_view bytes);

/// The same by table, whatever the processor can do.
std::uint32_t crc32c_by_table(std::string_view bytes);

}  // namespace mayfly
