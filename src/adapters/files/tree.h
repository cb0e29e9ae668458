#pragma once
// Where a key's file lies, and the keys of a folder in order. Each '/' of a key is a folder; a blob's file begins with
// '=', a character no key has, so that "a" and "a/b" can both be blobs. Long names (ids, digests) are spread over 256
// folders by their last two characters.

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace mayfly::files {

/// The file of a key that check_blob_key() allows, relative to the tree's root: "logs/4f+/0193…4f/=0".
std::string path_of(std::string_view key);

/// Up to `limit` keys that begin with `prefix` and come after `after`, in order. Folders that vanish meanwhile are empty.
Result<std::vector<std::string>> list_keys(const std::string& root, std::string_view prefix, std::string_view after,
                                           std::size_t limit);

}  // namespace mayfly::files
