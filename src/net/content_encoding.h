#pragma once
// Bodies that travel compressed (RFC 9110 §8.4.1), read as what they were: shippers of logs send gzip. A few bytes can stand
// for gigabytes, so what comes out has the limit, not what goes in, and no more is unpacked than is read.

#include <memory>
#include <string_view>

#include "net/http.h"

namespace mayfly::http {

/// Whether the field names a coding that can be read: gzip, x-gzip, deflate (zlib); identity and the empty field are no coding.
bool is_known_encoding(std::string_view content_encoding);

/// `body` unpacked; it outlives the reader. Errors of read() as BodyReader's, and Errc::too_large once more than
/// `max_bytes` have come out, Errc::invalid for bytes that are not of the coding, or end too early, or go on too long.
std::unique_ptr<BodyReader> unpacked(BodyReader& body, std::uint64_t max_bytes);

}  // namespace mayfly::http
