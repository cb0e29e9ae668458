#pragma once
// What a blob is called in a bucket. "a/b" becomes "a.~/b!", so that no object is a folder of another (some S3 servers keep
// objects as files) and so that the order is the same for servers that sort whole names and for those that sort folder by
// folder: '!' is less than any character of a key, and ".~" lies between '.' and '0', where '/' does.

#include <optional>
#include <string>
#include <string_view>

namespace mayfly::s3 {

std::string object_name(std::string_view key);
/// What the names of all keys that begin with `prefix` begin with; other names may too.
std::string name_prefix(std::string_view prefix);
/// Nothing for what is no blob of ours.
std::optional<std::string> key_of(std::string_view object_name);

}  // namespace mayfly::s3
