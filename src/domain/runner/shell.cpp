#include "domain/runner/shell.h"

#include <algorithm>

#include "domain/runner/json_forms.h"

namespace mayfly {
namespace {

using forms::Reader;

constexpr std::size_t max_term_bytes = 64;
constexpr std::size_t max_shell_text_bytes = 128 << 10;
constexpr std::size_t max_detail_bytes = 1000;

json::object form(const ShellSize& s) { return {{"columns", s.columns}, {"rows", s.rows}}; }

void read_side(Reader& read, std::string_view key, int& into) {
  std::int64_t side = into;
  read.optional(key, side);
  if (side < 1 || side > max_terminal_side) read.set_wrong(key, "1 to " + std::to_string(max_terminal_side));
  else into = static_cast<int>(side);
}

Result<ShellWord> open_word(const json::value& v) {
  ShellOpen o;
  Reader read(v, "open");
  read.optional("tty", o.wish.tty);
  read_side(read, "columns", o.wish.size.columns);
  read_side(read, "rows", o.wish.size.rows);
  read.optional("term", o.wish.term);
  read.optional("command", o.wish.command);
  read.optional("who", o.who);
  TRY(read.done(true));
  TRY(check_shell_wish(o.wish));
  return o;
}

Result<ShellWord> size_word(const json::value& v) {
  ShellSize s;
  Reader read(v, "size");
  read_side(read, "columns", s.columns);
  read_side(read, "rows", s.rows);
  return read.done(ShellWord(s));
}

Result<ShellWord> exit_word(const json::value& v) {
  ShellExit e;
  Reader read(v, "exit");
  std::optional<std::int64_t> code;
  read.optional("code", code);
  if (code && (*code < 0 || *code > 255)) read.set_wrong("code", "0 to 255");
  if (code) e.code = static_cast<int>(*code);
  read.optional("detail", e.detail);
  return read.done(ShellWord(std::move(e)));
}

Result<ShellWord> text_word(std::string_view text) {
  if (text.size() > max_shell_text_bytes) return fail(Errc::too_large, "a shell's message is over the limit");
  TRY_ASSIGN(auto v, parse_json(text));
  if (auto* open = find(v, "open")) return open_word(*open);
  if (auto* size = find(v, "size")) return size_word(*size);
  if (auto* exit = find(v, "exit")) return exit_word(*exit);
  if (find_bool(v, "end")) return ShellWord(ShellInputEnd{});
  if (auto taken = find_int(v, "taken"); taken && *taken >= 0) return ShellWord(ShellBytesTaken{*taken});
  return fail(Errc::invalid, "a shell's message of no known kind", "open, size, end, taken or exit");
}

ShellFrame text_frame(json::object what) { return {.text = true, .bytes = json::serialize(what)}; }

struct Frames {
  ShellFrame operator()(const ShellOpen& o) const {
    json::object open{{"tty", o.wish.tty}, {"columns", o.wish.size.columns}, {"rows", o.wish.size.rows}, {"term", o.wish.term},
                      {"command", forms::strings(o.wish.command)}};
    if (!o.who.empty()) open["who"] = o.who;
    return text_frame({{"open", std::move(open)}});
  }
  ShellFrame operator()(const ShellData& d) const { return {.bytes = static_cast<char>(d.stream) + d.bytes}; }
  ShellFrame operator()(const ShellSize& s) const { return text_frame({{"size", form(s)}}); }
  ShellFrame operator()(const ShellInputEnd&) const { return text_frame({{"end", true}}); }
  ShellFrame operator()(const ShellBytesTaken& t) const { return text_frame({{"taken", t.bytes}}); }
  ShellFrame operator()(const ShellExit& e) const {
    return text_frame({{"exit", json::object{{"code", e.code ? json::value(*e.code) : json::value(nullptr)}, {"detail", e.detail}}}});
  }
};

}  // namespace

ShellFrame to_frame(const ShellWord& word) { return std::visit(Frames{}, word); }

Result<ShellWord> shell_word_from(const ShellFrame& frame) {
  if (frame.text) return text_word(frame.bytes);
  if (frame.bytes.empty() || static_cast<unsigned char>(frame.bytes[0]) > 2) return fail(Errc::invalid, "a shell's binary message begins with its stream: 0, 1 or 2");
  if (frame.bytes.size() - 1 > max_shell_piece_bytes)
    return fail(Errc::too_large, "a shell's message has more than " + std::to_string(max_shell_piece_bytes) + " bytes", "Send it in pieces");
  return ShellWord(ShellData{static_cast<ShellStream>(frame.bytes[0]), frame.bytes.substr(1)});
}

Result<void> check_shell_wish(const ShellWish& wish) {
  std::size_t bytes = 0;
  for (auto& word : wish.command) {
    bytes += word.size() + 1;
    if (word.find('\0') != word.npos) return fail(Errc::invalid, "a shell's command holds a NUL");
  }
  if (wish.command.size() > max_shell_command_words || bytes > max_shell_command_bytes)
    return fail(Errc::too_large, "a shell's command has at most " + std::to_string(max_shell_command_words) + " words and " + std::to_string(max_shell_command_bytes) + " bytes");
  if (!wish.command.empty() && wish.command[0].empty()) return fail(Errc::invalid, "a shell's command has no name");
  auto plain = [](unsigned char c) { return c > ' ' && c < 0x7f; };
  if (wish.term.size() > max_term_bytes || !std::ranges::all_of(wish.term, plain))
    return fail(Errc::invalid, "a shell's term is the name of a terminal, at most " + std::to_string(max_term_bytes) + " characters");
  return {};
}

std::string to_json(const ShellReport& r) {
  json::object out{{"detail", r.detail}, {"open_ms", r.open_ms}};
  if (r.exit_code) out["exit_code"] = *r.exit_code;
  return json::serialize(out);
}

Result<ShellReport> shell_report_from_json(std::string_view text) {
  TRY_ASSIGN(auto v, parse_json(text));
  ShellReport r;
  Reader read(v, "");
  std::optional<std::int64_t> code;
  read.optional("exit_code", code);
  if (code && (*code < 0 || *code > 255)) read.set_wrong("exit_code", "0 to 255");
  if (code) r.exit_code = static_cast<int>(*code);
  read.optional("detail", r.detail);
  if (r.detail.size() > max_detail_bytes) read.set_wrong("detail", "at most " + std::to_string(max_detail_bytes) + " bytes");
  read.required("open_ms", r.open_ms);
  if (r.open_ms < 0) read.set_wrong("open_ms", "0 or more");
  return read.done(std::move(r));
}

}  // namespace mayfly
