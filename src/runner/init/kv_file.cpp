#include "runner/init/kv_file.h"

#include "base/text.h"
#include "domain/runner/protocol.h"

namespace mayfly {
namespace {

bool good_key(std::string_view key, bool dashes) {
  for (std::size_t i = 0; i < key.size(); ++i) {
    char c = key[i];
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    bool later = (c >= '0' && c <= '9') || (dashes && (c == '-' || c == '.'));
    if (!letter && !(i > 0 && later)) return false;
  }
  return !key.empty();
}

class Lines final {
 public:
  explicit Lines(std::string_view text) : rest_(text) {}
  bool next(std::string_view& line) {
    if (rest_.empty()) return false;
    auto end = rest_.find('\n');
    line = rest_.substr(0, end);
    rest_.remove_prefix(end == rest_.npos ? rest_.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    ++number_;
    return true;
  }
  std::unexpected<Error> wrong(std::string_view what) const {
    return fail(Errc::invalid, "line " + std::to_string(number_) + ": " + std::string(what),
                "write KEY=value, or KEY<<EOF, the lines of the value, and EOF");
  }

 private:
  std::string_view rest_;
  int number_ = 0;
};

Result<std::string> heredoc(Lines& lines, std::string_view end) {
  std::string value;
  std::string_view line;
  for (bool first = true; lines.next(line); first = false) {
    if (line == end) return value;
    if (!first) value += '\n';
    value += line;
  }
  return lines.wrong("the value has no end line '" + std::string(end) + "'");
}

}  // namespace

Result<std::map<std::string, std::string>> parse_key_values(std::string_view text, bool dashes) {
  if (text.size() > max_step_output_bytes)
    return fail(Errc::too_large, "over the limit of " + std::to_string(max_step_output_bytes) + " bytes");
  std::map<std::string, std::string> values;
  Lines lines(text);
  std::string_view line;
  while (lines.next(line)) {
    if (line.empty()) continue;
    auto equals = line.find('=');
    auto arrows = line.find("<<");
    bool many = arrows < equals;
    auto key = line.substr(0, many ? arrows : equals);
    if (!many && equals == line.npos) return lines.wrong("there is no '='");
    if (!good_key(key, dashes)) return lines.wrong("the key is not a name");
    std::string value;
    if (many) {
      auto end = line.substr(arrows + 2);
      if (end.empty()) return lines.wrong("no word after '<<'");
      TRY_ASSIGN(value, heredoc(lines, end));
    } else {
      value = line.substr(equals + 1);
    }
    if (!is_utf8(value) || value.find('\0') != value.npos) return lines.wrong("the value is not UTF-8 text");
    values.insert_or_assign(std::string(key), std::move(value));
  }
  return values;
}

}  // namespace mayfly
