// URLs, escapes, queries and ranges: what is accepted means the same when it is written and read again.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "net/range.h"
#include "net/url.h"

namespace {

void require(bool held) {
  if (!held) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mayfly::http;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto url = parse_url(text)) {
    auto again = parse_url(to_string(*url));
    require(again && *again == *url);
    require(url->target.find_first_of(" \r\n\t") == std::string::npos && host_field(*url).find_first_of(" \r\n/") == std::string::npos);
  }
  if (auto decoded = percent_decode(text)) require(percent_decode(percent_encode(*decoded)) == *decoded);
  if (auto query = parse_query(text)) require(parse_query(build_query(*query)) == *query);
  auto range = parse_range(text, size);
  require(range.kind != RangeKind::satisfiable || (range.first <= range.last && range.last < size));
  return 0;
}
