#include "runner/sidecar/junit.h"

#include <expat.h>

#include <charconv>
#include <cstring>
#include <memory>
#include <optional>

namespace mayfly {
namespace {

std::string_view attribute(const XML_Char** attributes, std::string_view name) {
  for (; attributes[0]; attributes += 2)
    if (name == attributes[0]) return attributes[1];
  return {};
}

/// Cut at `limit`, not inside a UTF-8 sequence.
std::string clipped(std::string_view text, std::size_t limit) {
  if (text.size() <= limit) return std::string(text);
  while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xC0) == 0x80) --limit;
  return std::string(text.substr(0, limit));
}

/// "1,234.5" as some write it, in milliseconds; what is no time counts nothing.
std::int64_t milliseconds(std::string_view seconds) {
  std::string plain;
  for (char c : seconds)
    if (c != ',') plain += c;
  double value = 0;
  auto [end, ec] = std::from_chars(plain.data(), plain.data() + plain.size(), value);
  constexpr double a_year = 366.0 * 86400;
  if (ec != std::errc{} || !(value >= 0) || value > a_year) return 0;
  return static_cast<std::int64_t>(value * 1000 + 0.5);
}

class JunitParser final {
 public:
  JunitParser() : parser_(XML_ParserCreate(nullptr)) {
    XML_SetUserData(parser_.get(), this);
    XML_SetElementHandler(parser_.get(), on_start, on_end);
    XML_SetCharacterDataHandler(parser_.get(), on_text);
    XML_SetEntityDeclHandler(parser_.get(), on_entity);
  }

  Result<TestReport> parse(std::string_view xml) {
    bool ok = XML_Parse(parser_.get(), xml.data(), static_cast<int>(xml.size()), 1) == XML_STATUS_OK;
    if (ok && !known_root_) refusal_ = "its outermost element is neither testsuites nor testsuite";
    if (ok && refusal_.empty()) return std::move(report_);
    auto line = std::to_string(XML_GetCurrentLineNumber(parser_.get()));
    return fail(Errc::invalid, "line " + line + ": " + (refusal_.empty() ? XML_ErrorString(XML_GetErrorCode(parser_.get())) : refusal_));
  }

 private:
  struct FreeParser {
    void operator()(XML_Parser p) const { XML_ParserFree(p); }
  };
  struct Case {
    std::string suite;
    std::string name;
    std::string_view verdict;   // "", "failure", "error", "skipped"
    std::string message;
  };

  static JunitParser& self(void* data) { return *static_cast<JunitParser*>(data); }
  static void XMLCALL on_start(void* data, const XML_Char* name, const XML_Char** attributes) { self(data).start(name, attributes); }
  static void XMLCALL on_end(void* data, const XML_Char* name) { self(data).end(name); }
  static void XMLCALL on_text(void* data, const XML_Char* text, int size) { self(data).text({text, static_cast<std::size_t>(size)}); }
  static void XMLCALL on_entity(void* data, const XML_Char*, int, const XML_Char*, int, const XML_Char*, const XML_Char*, const XML_Char*, const XML_Char*) {
    self(data).refuse("it declares entities of its own, which is not allowed");
  }

  void refuse(std::string why) {
    refusal_ = std::move(why);
    XML_StopParser(parser_.get(), XML_FALSE);
  }

  void start(std::string_view name, const XML_Char** attributes) {
    if (++depth_ > max_junit_depth) return refuse("its elements are nested too deep");
    if (depth_ == 1) known_root_ = name == "testsuites" || name == "testsuite";
    if (name == "testsuite") suite_ = clipped(attribute(attributes, "name"), max_test_name_bytes);
    if (name == "testcase") {
      auto class_name = attribute(attributes, "classname");
      case_ = Case{.suite = class_name.empty() ? suite_ : clipped(class_name, max_test_name_bytes),
                   .name = clipped(attribute(attributes, "name"), max_test_name_bytes), .verdict = {}, .message = {}};
      report_.time_ms += milliseconds(attribute(attributes, "time"));
    } else if (case_ && case_->verdict.empty()) {
      for (std::string_view verdict : {"failure", "error", "skipped"}) {
        if (name != verdict) continue;
        case_->verdict = verdict;
        case_->message = clipped(attribute(attributes, "message"), max_failure_message_bytes);
        in_verdict_ = depth_;
        text_.clear();
      }
    }
  }

  void text(std::string_view more) {
    if (in_verdict_ == 0) return;
    constexpr auto enough = max_failure_message_bytes + 4;  // more than is shown, so that the cut is seen to be one
    text_.append(more.substr(0, enough - std::min(enough, text_.size())));
  }

  void end(std::string_view name) {
    if (in_verdict_ == depth_) {
      auto first = text_.find_first_not_of(" \t\r\n");
      auto last = text_.find_last_not_of(" \t\r\n");
      auto body = first == text_.npos ? std::string() : text_.substr(first, last - first + 1);
      // The message is often the first line of the text.
      if (!body.starts_with(case_->message)) body = case_->message + (body.empty() ? "" : "\n") + body;
      case_->message = clipped(body, max_failure_message_bytes);
      in_verdict_ = 0;
    }
    --depth_;
    if (name == "testcase" && case_) finish_case();
  }

  void finish_case() {
    auto one = *std::exchange(case_, std::nullopt);
    ++report_.tests;
    if (one.verdict == "skipped") ++report_.skipped;
    if (one.verdict == "failure") ++report_.failures;
    if (one.verdict == "error") ++report_.errors;
    if ((one.verdict == "failure" || one.verdict == "error") && report_.failed.size() < max_failed_tests)
      report_.failed.push_back({.suite = std::move(one.suite), .name = std::move(one.name), .message = std::move(one.message)});
  }

  std::unique_ptr<XML_ParserStruct, FreeParser> parser_;
  TestReport report_;
  std::string refusal_;
  std::string suite_;
  std::optional<Case> case_;
  std::string text_;
  int depth_ = 0;
  int in_verdict_ = 0;    // the depth of the failure, error or skipped being read
  bool known_root_ = false;
};

}  // namespace

Result<void> add_junit(std::string_view xml, TestReport& report) {
  if (xml.size() > max_junit_file_bytes) return fail(Errc::too_large, "over the limit of " + std::to_string(max_junit_file_bytes) + " bytes");
  TRY_ASSIGN(auto more, JunitParser().parse(xml));
  report.tests += more.tests;
  report.failures += more.failures;
  report.errors += more.errors;
  report.skipped += more.skipped;
  report.time_ms += more.time_ms;
  for (auto& failed : more.failed)
    if (report.failed.size() < max_failed_tests) report.failed.push_back(std::move(failed));
  return {};
}

}  // namespace mayfly
