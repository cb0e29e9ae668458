#include "domain/pipeline/quoted.h"

#include <algorithm>
#include <charconv>
#include <vector>

namespace mayfly {
namespace {

bool is_white(char c) { return c == ' ' || c == '\t' || c == '\r'; }

/// At a line end within quotes: what white space is around it goes, one break is a space, more are one less.
/// `kept`: the text before it stays, escapes are no white space. Answers where the text goes on.
std::size_t fold(std::string_view source, std::size_t i, std::size_t kept, std::string& out) {
  while (out.size() > kept && is_white(out.back())) out.pop_back();
  std::size_t breaks = 0;
  for (; i < source.size() && (is_white(source[i]) || source[i] == '\n'); ++i) breaks += source[i] == '\n';
  out += breaks == 1 ? std::string(" ") : std::string(breaks - 1, '\n');
  return i;
}

void append_utf8(std::string& out, unsigned code) {
  if (code >= 0x110000 || (code >= 0xd800 && code < 0xe000)) code = 0xfffd;
  if (code < 0x80) {
    out += char(code);
    return;
  }
  int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  constexpr unsigned first[] = {0, 0xc0, 0xe0, 0xf0};
  out += char(first[more] | (code >> (6 * more)));
  for (int k = more - 1; k >= 0; --k) out += char(0x80 | ((code >> (6 * k)) & 0x3f));
}

struct Escape {
  char letter;
  unsigned code;
};
constexpr Escape escapes[] = {{'0', 0},   {'a', 7},  {'b', 8},    {'t', 9},     {'\t', 9},     {'n', 10},     {'v', 11}, {'f', 12},
                              {'r', 13},  {'e', 27}, {'N', 0x85}, {'_', 0xa0},  {'L', 0x2028}, {'P', 0x2029}};

/// `i` is after the backslash; answers where the text goes on.
std::size_t unescape(std::string_view source, std::size_t i, std::string& out) {
  if (i >= source.size()) return i;
  char letter = source[i];
  if (letter == '\n' || letter == '\r') {
    i = source.find('\n', i);
    if (i == source.npos) return source.size();
    for (++i; i < source.size() && (is_white(source[i]) || source[i] == '\n'); ++i)
      if (source[i] == '\n') out += '\n';  // a blank line after it counts
    return i;
  }
  std::size_t digits = letter == 'x' ? 2 : letter == 'u' ? 4 : letter == 'U' ? 8 : 0;
  if (digits > 0) {
    unsigned code = 0;
    auto text = source.substr(i + 1, digits);
    std::from_chars(text.data(), text.data() + text.size(), code, 16);
    append_utf8(out, code);
    return i + 1 + text.size();
  }
  for (auto& escape : escapes)
    if (escape.letter == letter) {
      append_utf8(out, escape.code);
      return i + 1;
    }
  out += letter;
  return i + 1;
}

std::vector<std::string_view> lines_of(std::string_view source) {
  std::vector<std::string_view> lines;
  while (!source.empty()) {
    auto end = std::min(source.find('\n'), source.size());
    auto line = source.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back(line);
    source.remove_prefix(std::min(end + 1, source.size()));
  }
  return lines;
}

std::size_t indentation(const std::vector<std::string_view>& lines) {
  for (auto line : lines)
    if (auto text = line.find_first_not_of(' '); text != line.npos) return text;
  return 0;
}

}  // namespace

std::string single_quoted_text(std::string_view source) {
  std::string out;
  for (std::size_t i = 0; i < source.size();) {
    if (source[i] == '\n') {
      i = fold(source, i, 0, out);
      continue;
    }
    out += source[i];
    i += source.substr(i).starts_with("''") ? 2 : 1;
  }
  return out;
}

std::string double_quoted_text(std::string_view source) {
  std::string out;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < source.size();) {
    if (source[i] == '\n') {
      i = fold(source, i, kept, out);
    } else if (source[i] == '\\') {
      i = unescape(source, i + 1, out);
      kept = out.size();
    } else {
      out += source[i++];
    }
  }
  return out;
}

std::optional<std::string> folded_text(std::string_view header, std::string_view source) {
  auto sign = header.rfind('>', header.find(" #"));
  if (sign == header.npos) return std::nullopt;
  auto indicators = header.substr(sign + 1, header.find_first_not_of("+-0123456789", sign + 1) - sign - 1);
  if (indicators.find_first_of("0123456789") != indicators.npos) return std::nullopt;
  auto lines = lines_of(source);
  auto indent = indentation(lines);
  std::string out;
  std::size_t blank = 0;
  bool any = false, last_indented = false;
  for (auto line : lines) {
    line = line.substr(std::min(indent, line.size()));
    if (line.empty()) {
      ++blank;
      continue;
    }
    bool indented = line[0] == ' ' || line[0] == '\t';
    if (!any) out.append(blank, '\n');
    else if (indented || last_indented) out.append(blank + 1, '\n');
    else out += blank == 0 ? std::string(" ") : std::string(blank, '\n');
    out += line;
    any = true, last_indented = indented, blank = 0;
  }
  if (indicators.contains('+')) out.append(blank + (any ? 1 : 0), '\n');
  else if (any && !indicators.contains('-')) out += '\n';
  return out;
}

}  // namespace mayfly
