#include "runner/control/shell_forms.h"

namespace mayfly::forms {
namespace {

/// Bytes as JSON text: each becomes the character with its number.
std::string as_text(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  for (unsigned char b : bytes) {
    if (b < 0x80) {
      out += static_cast<char>(b);
    } else {
      out += static_cast<char>(0xc0 | b >> 6);
      out += static_cast<char>(0x80 | (b & 0x3f));
    }
  }
  return out;
}

std::optional<std::string> as_bytes(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else if ((c == 0xc2 || c == 0xc3) && i + 1 < text.size()) {
      out += static_cast<char>((c & 3) << 6 | (static_cast<unsigned char>(text[++i]) & 0x3f));
    } else {
      return std::nullopt;
    }
  }
  return out;
}

void read_bytes(Reader& read, std::string& into) {
  std::string text;
  read.optional("bytes", text);
  auto bytes = as_bytes(text);
  if (!bytes) read.set_wrong("bytes", "characters up to U+00FF");
  else if (bytes->size() > max_shell_piece_bytes) read.set_wrong("bytes", "at most " + std::to_string(max_shell_piece_bytes));
  else into = *std::move(bytes);
}

void read_side(Reader& read, std::string_view key, int& into) {
  std::int64_t side = into;
  read.required(key, side);
  if (side < 1 || side > max_terminal_side) read.set_wrong(key, "a terminal's size");
  into = static_cast<int>(side);
}

void read_code(Reader& read, std::optional<int>& into) {
  std::optional<std::int64_t> code;
  read.optional("exit_code", code);
  if (code && (*code < 0 || *code > 255)) read.set_wrong("exit_code", "0 to 255");
  if (code) into = static_cast<int>(*code);
}

Result<Time> instant_us(const json::value& v, std::string path) {
  auto* us = v.if_int64();
  if (!us) return wrong(path, "microseconds");
  return from_micros(*us);
}

json::value named(std::string_view key, json::object body) { return json::object{{key, std::move(body)}}; }

}  // namespace

json::value form(const OpenShell& m) {
  auto& w = m.wish;
  return named("open_shell", {{"shell", m.shell}, {"who", m.who}, {"tty", w.tty}, {"columns", w.size.columns}, {"rows", w.size.rows},
                                 {"term", w.term}, {"command", strings(w.command)}});
}
json::value form(const ShellInput& m) {
  json::object out{{"shell", m.shell}};
  if (!m.bytes.empty()) out["bytes"] = as_text(m.bytes);
  if (m.end) out["end"] = true;
  return named("shell_input", std::move(out));
}
json::value form(const ShellResize& m) { return named("resize_shell", {{"shell", m.shell}, {"columns", m.size.columns}, {"rows", m.size.rows}}); }
json::value form(const CloseShell& m) { return named("close_shell", {{"shell", m.shell}}); }
json::value form(const ShellTaken& m) { return named("shell_taken", {{"shell", m.shell}, {"count", m.bytes}}); }
json::value form(const ReleaseHold&) { return named("release", {}); }
json::value form(const ShellOutput& m) {
  return named("shell_output", {{"shell", m.shell}, {"stream", static_cast<int>(m.stream)}, {"bytes", as_text(m.bytes)}});
}
json::value form(const ShellEnded& m) {
  json::object out{{"shell", m.shell}, {"detail", m.detail}};
  if (m.exit_code) out["exit_code"] = *m.exit_code;
  return named("shell_ended", std::move(out));
}
json::value form(const HoldChange& m) {
  json::object out;
  if (m.until) out["until_us"] = to_micros(*m.until);
  return named("hold", std::move(out));
}

Result<OpenShell> open_shell(const json::value& v) {
  OpenShell m;
  Reader read(v, "open_shell");
  read.required("shell", m.shell);
  read.optional("who", m.who);
  read.required("tty", m.wish.tty);
  read_side(read, "columns", m.wish.size.columns);
  read_side(read, "rows", m.wish.size.rows);
  read.optional("term", m.wish.term);
  read.optional("command", m.wish.command);
  TRY(read.done(true));
  TRY(check_shell_wish(m.wish));
  return m;
}

Result<ShellInput> shell_input(const json::value& v) {
  ShellInput m;
  Reader read(v, "shell_input");
  read.required("shell", m.shell);
  read_bytes(read, m.bytes);
  read.optional("end", m.end);
  return read.done(std::move(m));
}

Result<ShellResize> shell_resize(const json::value& v) {
  ShellResize m;
  Reader read(v, "resize_shell");
  read.required("shell", m.shell);
  read_side(read, "columns", m.size.columns);
  read_side(read, "rows", m.size.rows);
  return read.done(m);
}

Result<CloseShell> close_shell(const json::value& v) {
  CloseShell m;
  Reader read(v, "close_shell");
  read.required("shell", m.shell);
  return read.done(m);
}

Result<ShellTaken> shell_taken(const json::value& v) {
  ShellTaken m;
  Reader read(v, "shell_taken");
  read.required("shell", m.shell);
  read.required("count", m.bytes);
  if (m.bytes < 0) read.set_wrong("count", "0 or more");
  return read.done(m);
}

Result<ReleaseHold> release_hold(const json::value&) { return ReleaseHold{}; }

Result<ShellOutput> shell_output(const json::value& v) {
  ShellOutput m;
  Reader read(v, "shell_output");
  read.required("shell", m.shell);
  std::int64_t stream = 0;
  read.required("stream", stream);
  if (stream != 1 && stream != 2) read.set_wrong("stream", "1 or 2");
  m.stream = static_cast<ShellStream>(stream);
  read_bytes(read, m.bytes);
  return read.done(std::move(m));
}

Result<ShellEnded> shell_ended(const json::value& v) {
  ShellEnded m;
  Reader read(v, "shell_ended");
  read.required("shell", m.shell);
  read_code(read, m.exit_code);
  read.optional("detail", m.detail);
  return read.done(std::move(m));
}

Result<HoldChange> hold_change(const json::value& v) {
  HoldChange m;
  Reader read(v, "hold");
  read.optional("until_us", m.until, instant_us);
  return read.done(m);
}

}  // namespace mayfly::forms
