#pragma once
// The tools that touch what registries and images say (skopeo, umoci) run where they can do no harm: they see /usr, one directory
// they may write, and of /etc what reaching a registry takes; as root they run as a uid that owns nothing but images.

#include <string>
#include <vector>

namespace mayfly {

/// The command that runs `words` with `place` as its current directory. As root `place` must belong to image_uid.
std::vector<std::string> confined(const std::string& place, bool network, const std::vector<std::string>& words);

}  // namespace mayfly
