// The answers of an S3 server: within limits whatever they are, and a name that is written is read again.
#include <cstdint>
#include <cstdlib>

#include "adapters/s3/names.h"
#include "adapters/s3/xml.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mayfly::s3;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)read_refusal(text);
  (void)read_uploads(text);
  (void)read_upload_id(text);
  (void)read_rule_ids(text);
  if (auto listing = read_listing(text))
    for (auto& object : listing->objects) {
      if (object.size < 0 || object.name.size() > max_xml_text) std::abort();
      if (auto key = key_of(object.name); key && object_name(*key) != object.name) std::abort();
    }
  return 0;
}
