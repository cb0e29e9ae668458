#include "adapters/system/system_entropy.h"

#include <sys/random.h>

#include <cerrno>
#include <system_error>

namespace mayfly {

// getrandom(2) waits only before the kernel's pool is first ready; any other failure means there is no chance to be had,
// and no key or token may be made then.
void SystemEntropy::fill(std::span<std::uint8_t> bytes) {
  while (!bytes.empty()) {
    auto n = getrandom(bytes.data(), bytes.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw std::system_error(errno, std::generic_category(), "getrandom");
    bytes = bytes.subspan(std::size_t(n));
  }
}

}  // namespace mayfly
