// What either end of a shell may send: whatever is taken comes back the same when it is said again.
#include <cstdint>
#include <cstdlib>

#include "domain/runner/shell.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  mayfly::ShellFrame frame{(data[0] & 1) != 0, {reinterpret_cast<const char*>(data) + 1, size - 1}};
  auto word = mayfly::shell_word_from(frame);
  if (!word) return 0;
  auto again = mayfly::shell_word_from(mayfly::to_frame(*word));
  if (!again || *again != *word) std::abort();
  return 0;
}
