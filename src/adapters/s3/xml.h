#pragma once
// The answers of an S3 server, which is as hostile as any other peer: read once, element by element, within limits.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace mayfly::s3 {

inline constexpr std::size_t max_xml_bytes = 4 << 20;     // 1,000 keys of 1,024 bytes with all that is said about each
inline constexpr int max_xml_depth = 16;
inline constexpr std::size_t max_xml_text = 16 << 10;     // of one element

/// Calls `ended` for each element as it ends, with its path ("ListBucketResult/Contents/Key") and its own text. Errc::invalid
/// for what is not well formed, declares entities or passes a limit.
Result<void> read_xml(std::string_view xml, const std::function<void(std::string_view path, std::string_view text)>& ended);

/// <Error> as every refusal has it.
struct Refusal {
  std::string code = {};       // "NoSuchKey"; empty when the answer is none of these
  std::string message = {};
};
Refusal read_refusal(std::string_view xml);

struct ListedObject {
  std::string name = {};
  std::int64_t size = 0;
};
struct Listing {
  std::vector<ListedObject> objects = {};
  bool truncated = false;
};
Result<Listing> read_listing(std::string_view xml);              // ListObjectsV2

struct PendingUpload {
  std::string name = {};
  std::string id = {};
  std::string initiated = {};  // RFC 3339
};
struct PendingUploads {
  std::vector<PendingUpload> uploads = {};
  bool truncated = false;
};
Result<PendingUploads> read_uploads(std::string_view xml);       // ListMultipartUploads
Result<std::string> read_upload_id(std::string_view xml);        // InitiateMultipartUpload

/// The names of a bucket's lifecycle rules.
Result<std::vector<std::string>> read_rule_ids(std::string_view xml);

std::string xml_escape(std::string_view text);

}  // namespace mayfly::s3
