#include "adapters/s3/xml.h"

#include <expat.h>

#include <charconv>
#include <memory>

namespace mayfly::s3 {
namespace {

class Reader final {
 public:
  using Ended = std::function<void(std::string_view, std::string_view)>;

  explicit Reader(const Ended& ended) : ended_(ended), parser_(XML_ParserCreate(nullptr)) {
    XML_SetUserData(parser_.get(), this);
    XML_SetElementHandler(
        parser_.get(), [](void* self, const XML_Char* name, const XML_Char**) { of(self).start(name); },
        [](void* self, const XML_Char*) { of(self).end(); });
    XML_SetCharacterDataHandler(parser_.get(), [](void* self, const XML_Char* text, int size) { of(self).text({text, std::size_t(size)}); });
    XML_SetEntityDeclHandler(parser_.get(), [](void* self, const XML_Char*, int, const XML_Char*, int, const XML_Char*, const XML_Char*, const XML_Char*,
                                               const XML_Char*) { of(self).refuse("it declares entities of its own"); });
  }

  Result<void> read(std::string_view xml) {
    bool ok = XML_Parse(parser_.get(), xml.data(), int(xml.size()), 1) == XML_STATUS_OK;
    if (ok && refusal_.empty()) return {};
    auto why = refusal_.empty() ? XML_ErrorString(XML_GetErrorCode(parser_.get())) : refusal_.c_str();
    return fail(Errc::invalid, "the answer of the S3 server, line " + std::to_string(XML_GetCurrentLineNumber(parser_.get())) + ": " + why);
  }

 private:
  struct Free {
    void operator()(XML_Parser p) const { XML_ParserFree(p); }
  };
  static Reader& of(void* self) { return *static_cast<Reader*>(self); }

  void refuse(std::string why) {
    if (refusal_.empty()) refusal_ = std::move(why);
    XML_StopParser(parser_.get(), XML_FALSE);
  }
  void start(std::string_view name) {
    if (texts_.size() == std::size_t(max_xml_depth)) return refuse("its elements are nested too deep");
    if (path_.size() + name.size() > max_xml_text) return refuse("the names of its elements are too long");
    lengths_.push_back(path_.size());
    path_ += (path_.empty() ? "" : "/") + std::string(name);
    texts_.emplace_back();
  }
  void text(std::string_view more) {
    if (texts_.empty()) return;
    if (texts_.back().size() + more.size() > max_xml_text) return refuse("an element's text is too long");
    texts_.back() += more;
  }
  void end() {
    if (!refusal_.empty()) return;
    ended_(path_, texts_.back());
    path_.resize(lengths_.back());
    lengths_.pop_back();
    texts_.pop_back();
  }

  const Ended& ended_;
  std::unique_ptr<XML_ParserStruct, Free> parser_;
  std::string path_, refusal_;
  std::vector<std::size_t> lengths_;
  std::vector<std::string> texts_;
};

}  // namespace

Result<void> read_xml(std::string_view xml, const std::function<void(std::string_view path, std::string_view text)>& ended) {
  if (xml.size() > max_xml_bytes) return fail(Errc::invalid, "the answer of the S3 server has more than " + std::to_string(max_xml_bytes) + " bytes");
  return Reader(ended).read(xml);
}

Refusal read_refusal(std::string_view xml) {
  Refusal out;
  auto read = read_xml(xml, [&](std::string_view path, std::string_view text) {
    if (path == "Error/Code") out.code = text;
    if (path == "Error/Message") out.message = text;
  });
  return read ? out : Refusal{};
}

Result<Listing> read_listing(std::string_view xml) {
  Listing out;
  ListedObject object;
  bool is_listing = false, bad_size = false;
  TRY(read_xml(xml, [&](std::string_view path, std::string_view text) {
    if (path == "ListBucketResult") is_listing = true;
    if (path == "ListBucketResult/IsTruncated") out.truncated = text == "true";
    if (path == "ListBucketResult/Contents/Key") object.name = text;
    if (path == "ListBucketResult/Contents/Size") {
      auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), object.size);
      bad_size = bad_size || ec != std::errc{} || end != text.data() + text.size() || object.size < 0;
    }
    if (path == "ListBucketResult/Contents") out.objects.push_back(std::exchange(object, {}));
  }));
  if (!is_listing || bad_size) return fail(Errc::invalid, "the answer of the S3 server is no list of objects");
  return out;
}

Result<PendingUploads> read_uploads(std::string_view xml) {
  PendingUploads out;
  PendingUpload upload;
  bool is_listing = false;
  TRY(read_xml(xml, [&](std::string_view path, std::string_view text) {
    if (path == "ListMultipartUploadsResult") is_listing = true;
    if (path == "ListMultipartUploadsResult/IsTruncated") out.truncated = text == "true";
    if (path == "ListMultipartUploadsResult/Upload/Key") upload.name = text;
    if (path == "ListMultipartUploadsResult/Upload/UploadId") upload.id = text;
    if (path == "ListMultipartUploadsResult/Upload/Initiated") upload.initiated = text;
    if (path == "ListMultipartUploadsResult/Upload") out.uploads.push_back(std::exchange(upload, {}));
  }));
  if (!is_listing) return fail(Errc::invalid, "the answer of the S3 server is no list of uploads");
  return out;
}

Result<std::string> read_upload_id(std::string_view xml) {
  std::string id;
  TRY(read_xml(xml, [&](std::string_view path, std::string_view text) {
    if (path == "InitiateMultipartUploadResult/UploadId") id = text;
  }));
  if (id.empty()) return fail(Errc::invalid, "the answer of the S3 server names no upload");
  return id;
}

Result<std::vector<std::string>> read_rule_ids(std::string_view xml) {
  std::vector<std::string> out;
  TRY(read_xml(xml, [&](std::string_view path, std::string_view text) {
    if (path == "LifecycleConfiguration/Rule/ID") out.emplace_back(text);
  }));
  return out;
}

std::string xml_escape(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '&') out += "&amp;";
    else if (c == '"') out += "&quot;";
    else out += c;
  }
  return out;
}

}  // namespace mayfly::s3
