#include "adapters/redis/resp.h"

#include <charconv>

namespace mayfly {
namespace {

using Kind = RespValue::Kind;

constexpr std::string_view line_end = "\r\n";
constexpr std::size_t compact_from = 64 * 1024;

Result<std::int64_t> number(std::string_view text) {
  std::int64_t value = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc{} || end != text.data() + text.size()) return fail(Errc::corrupt, "Redis sent something that is not a number where one belongs");
  return value;
}

void append_bulk(std::string& out, std::string_view text) {
  ((out += '$') += std::to_string(text.size())) += line_end;
  (out += text) += line_end;
}

template <class Words>
std::string command(const Words& words) {
  std::string out = "*" + std::to_string(words.size()) + std::string(line_end);
  for (std::string_view word : words) append_bulk(out, word);
  return out;
}

}  // namespace

void RespReader::feed(std::string_view bytes) {
  if (at_ == buffer_.size() || at_ >= compact_from) {
    buffer_.erase(0, at_);
    at_ = 0;
  }
  buffer_ += bytes;
}

Result<std::optional<RespValue>> RespReader::next() {
  std::optional<RespValue> whole;
  for (;;) {
    TRY_ASSIGN(bool more, bulk_ ? take_bulk(whole) : take_part(whole));
    if (whole) bytes_ = items_ = 0;
    if (whole || !more) return whole;
  }
}

/// The line at hand without its end; nothing while its end has not come.
Result<std::optional<std::string_view>> RespReader::take_line() {
  auto end = buffer_.find(line_end, at_ + searched_);
  auto length = (end == std::string::npos ? buffer_.size() : end) - at_;
  if (end == std::string::npos && buffer_.ends_with('\r') && length > 0) --length;  // half of its end
  if (length > limits_.max_line_bytes) return fail(Errc::too_large, "Redis sent a line of more than " + std::to_string(limits_.max_line_bytes) + " bytes");
  if (end == std::string::npos) {
    searched_ = length;
    return std::nullopt;
  }
  auto line = std::string_view(buffer_).substr(at_, length);
  at_ = end + line_end.size();
  searched_ = 0;
  return line;
}

/// One line: a value, or the head of one. False when more bytes are needed.
Result<bool> RespReader::take_part(std::optional<RespValue>& whole) {
  TRY_ASSIGN(auto found, take_line());
  if (!found) return false;
  if (found->empty()) return fail(Errc::corrupt, "Redis sent an empty line where a value belongs");
  auto rest = found->substr(1);
  TRY(count(0, 1));
  switch (found->front()) {
    case '+':
    case '-':
      TRY(count(rest.size(), 0));
      complete({.kind = found->front() == '+' ? Kind::text : Kind::error, .text = std::string(rest)}, whole);
      return true;
    case ':': {
      TRY_ASSIGN(auto value, number(rest));
      complete({.kind = Kind::integer, .integer = value}, whole);
      return true;
    }
    case '$': {
      TRY_ASSIGN(auto length, number(rest));
      TRY(begin_bulk(length, whole));
      return true;
    }
    case '*': {
      TRY_ASSIGN(auto length, number(rest));
      TRY(begin_array(length, whole));
      return true;
    }
  }
  return fail(Errc::corrupt, "Redis sent a value of an unknown kind");
}

Result<bool> RespReader::take_bulk(std::optional<RespValue>& whole) {
  if (buffer_.size() - at_ < *bulk_ + line_end.size()) return false;
  if (std::string_view(buffer_).substr(at_ + *bulk_, line_end.size()) != line_end) return fail(Errc::corrupt, "Redis sent a text that is longer than it said");
  auto text = buffer_.substr(at_, *bulk_);
  at_ += *bulk_ + line_end.size();
  bulk_.reset();
  complete({.kind = Kind::bulk, .text = std::move(text)}, whole);
  return true;
}

Result<void> RespReader::begin_bulk(std::int64_t length, std::optional<RespValue>& whole) {
  if (length < -1) return fail(Errc::corrupt, "Redis sent a text of negative length");
  if (length == -1) return complete({}, whole), Result<void>{};
  TRY(count(std::size_t(length), 0));
  bulk_ = std::size_t(length);
  return {};
}

Result<void> RespReader::begin_array(std::int64_t length, std::optional<RespValue>& whole) {
  if (length < -1) return fail(Errc::corrupt, "Redis sent a list of negative length");
  if (length == -1) return complete({}, whole), Result<void>{};
  if (std::size_t(length) > limits_.max_items) return fail(Errc::too_large, "Redis sent a list of more than " + std::to_string(limits_.max_items) + " items");
  if (length == 0) return complete({.kind = Kind::array}, whole), Result<void>{};
  if (open_.size() == limits_.max_depth) return fail(Errc::too_large, "Redis sent lists more than " + std::to_string(limits_.max_depth) + " deep");
  open_.push_back({{.kind = Kind::array}, std::size_t(length)});
  return {};
}

Result<void> RespReader::count(std::size_t bytes, std::size_t items) {
  if (bytes > limits_.max_value_bytes - bytes_) return fail(Errc::too_large, "Redis sent a value of more than " + std::to_string(limits_.max_value_bytes) + " bytes");
  bytes_ += bytes;
  items_ += items;
  if (items_ > limits_.max_items + 1) return fail(Errc::too_large, "Redis sent a value of more than " + std::to_string(limits_.max_items) + " items");
  return {};
}

/// A value is the next item of the innermost open list, which may complete that one too.
void RespReader::complete(RespValue value, std::optional<RespValue>& whole) {
  while (!open_.empty()) {
    auto& [array, missing] = open_.back();
    array.items.push_back(std::move(value));
    if (--missing > 0) return;
    value = std::move(array);
    open_.pop_back();
  }
  whole = std::move(value);
}

std::string resp_command(std::initializer_list<std::string_view> words) { return command(words); }
std::string resp_command(const std::vector<std::string>& words) { return command(words); }

std::string to_resp(const RespValue& value) {
  auto line = [](char kind, const std::string& text) { return kind + text + std::string(line_end); };
  switch (value.kind) {
    case Kind::text: return line('+', value.text);
    case Kind::error: return line('-', value.text);
    case Kind::integer: return line(':', std::to_string(value.integer));
    case Kind::null: return "$-1\r\n";
    case Kind::bulk: {
      std::string out;
      append_bulk(out, value.text);
      return out;
    }
    case Kind::array: break;
  }
  auto out = line('*', std::to_string(value.items.size()));
  for (auto& item : value.items) out += to_resp(item);
  return out;
}

}  // namespace mayfly
