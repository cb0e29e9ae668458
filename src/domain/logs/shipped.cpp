#include "domain/logs/shipped.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <span>

#include "base/digest.h"
#include "base/json.h"
#include "domain/logs/frame.h"

namespace mayfly {
namespace {

using Names = std::span<const std::string_view>;
constexpr std::array<std::string_view, 3> file_names{"file", "path", "filename"};
constexpr std::array<std::string_view, 3> line_names{"message", "msg", "value"};
constexpr std::array<std::string_view, 2> offset_names{"offset", "off"};
constexpr std::array<std::string_view, 1> attempt_names{"attempt"};
constexpr std::array<std::string_view, 2> inner_objects{"fields", "tags"};
constexpr std::string_view plain_suffix = ".log";
constexpr std::string_view lines_suffix = ".jsonl";

/// The first of the names that is there: at the top, else in an inner object.
const json::value* find_any(const json::object& record, Names names) {
  for (auto name : names)
    if (auto* value = record.if_contains(name)) return value;
  for (auto inner : inner_objects)
    if (auto* value = record.if_contains(inner); value && value->is_object())
      for (auto name : names)
        if (auto* found = value->get_object().if_contains(name)) return found;
  return nullptr;
}

std::optional<std::string_view> text_of(const json::value* value) {
  if (!value || !value->is_string()) return std::nullopt;
  return std::string_view(value->get_string());
}

/// A number, or one written as text.
Result<std::int64_t> offset_of(const json::value& value) {
  std::int64_t offset = -1;
  if (value.is_int64()) offset = value.get_int64();
  if (auto text = text_of(&value); text && !text->empty()) {
    auto [end, ec] = std::from_chars(text->data(), text->data() + text->size(), offset);
    if (ec != std::errc{} || end != text->data() + text->size()) offset = -1;
  }
  if (offset < 0) return fail(Errc::invalid, "offset: not a number of bytes");
  return offset;
}

struct Place {
  AttemptId attempt;
  bool bears_lines_of_ours = false;
};

Result<Place> place_of(const json::object& record) {
  auto path = text_of(find_any(record, file_names)).value_or("");
  Place place{{}, path.ends_with(lines_suffix)};
  if (auto named = text_of(find_any(record, attempt_names))) {
    TRY_ASSIGN(place.attempt, AttemptId::parse(*named));
    return place;
  }
  if (path.empty()) return fail(Errc::invalid, "neither `attempt` nor a `file` or `path` that names one");
  auto name = path.substr(path.rfind('/') + 1);
  if (!place.bears_lines_of_ours && !name.ends_with(plain_suffix)) return fail(Errc::invalid, "the file is named neither .log nor .jsonl");
  name.remove_suffix(place.bears_lines_of_ours ? lines_suffix.size() : plain_suffix.size());
  auto attempt = AttemptId::parse(name);
  if (!attempt) return fail(Errc::invalid, "the file is not named after an attempt: " + attempt.error().message);
  place.attempt = *attempt;
  return place;
}

/// {"offset": N, "text": "…"} or {"offset": N, "data": "<base64>"}; nothing when it is neither.
Result<std::optional<ShippedRecord>> own_record(AttemptId attempt, const json::object& object) {
  auto text = text_of(object.if_contains("text"));
  auto data = text_of(object.if_contains("data"));
  if (!text && !data) return std::nullopt;
  auto* offset = object.if_contains("offset");
  if (!offset) return fail(Errc::invalid, "no offset");
  ShippedRecord record{.attempt = attempt};
  TRY_ASSIGN(record.offset, offset_of(*offset));
  if (text) {
    record.text = *text;
  } else {
    TRY_ASSIGN(record.text, from_base64(*data));
  }
  return record;
}

Result<ShippedRecord> line_of_ours(AttemptId attempt, std::string_view line) {
  auto value = parse_json(line);
  if (!value || !value->is_object()) return fail(Errc::invalid, "a line without an offset that is none of {\"offset\", \"text\"} either");
  TRY_ASSIGN(auto record, own_record(attempt, value->get_object()));
  if (!record) return fail(Errc::invalid, "a line of ours has `text` or `data`");
  return *std::move(record);
}

Result<ShippedRecord> read_record(const json::value& value) {
  if (!value.is_object()) return fail(Errc::invalid, "a record is a JSON object");
  auto& object = value.get_object();
  TRY_ASSIGN(auto place, place_of(object));
  TRY_ASSIGN(auto own, own_record(place.attempt, object));
  if (own) return *std::move(own);
  auto line = text_of(find_any(object, line_names));
  if (!line) return fail(Errc::invalid, "no text: a record has `message`, `msg`, `value`, or `text` and `offset`");
  auto* offset = find_any(object, offset_names);
  if (place.bears_lines_of_ours || !offset) return line_of_ours(place.attempt, *line);
  ShippedRecord record{.attempt = place.attempt, .text = std::string(*line) + '\n'};
  TRY_ASSIGN(record.offset, offset_of(*offset));
  return record;
}

class Reader {
 public:
  Result<void> take(Result<json::value> value) {
    if (!value) return refuse(value.error().message);
    if (auto* array = value->if_array()) return take_all(*array);
    if (auto* metrics = find(*value, "metrics"); metrics && metrics->is_array()) return take_all(metrics->get_array());
    return take_one(*value);
  }

  Shipped shipped;

 private:
  Result<void> take_all(const json::array& values) {
    for (auto& value : values) TRY(take_one(value));
    return {};
  }

  Result<void> take_one(const json::value& value) {
    auto record = read_record(value);
    if (record) record = checked(*std::move(record));
    if (!record) return refuse(record.error().message);
    TRY(count());
    shipped.records.push_back(*std::move(record));
    return {};
  }

  static Result<ShippedRecord> checked(ShippedRecord record) {
    if (record.text.size() > max_shipped_text_bytes)
      return fail(Errc::too_large, "a record of " + std::to_string(record.text.size()) + " bytes; the limit is " + std::to_string(max_shipped_text_bytes));
    if (record.offset > INT64_MAX - std::int64_t(max_shipped_text_bytes)) return fail(Errc::invalid, "offset: no log is that long");
    return record;
  }

  Result<void> refuse(std::string why) {
    TRY(count());
    if (shipped.refused++ == 0) shipped.first_refusal = std::move(why);
    return {};
  }

  Result<void> count() const {
    if (shipped.records.size() + shipped.refused < max_shipped_records) return {};
    return fail(Errc::too_large, "more than " + std::to_string(max_shipped_records) + " log records at once", "Send smaller batches");
  }
};

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n";
  auto from = text.find_first_not_of(blanks);
  if (from == text.npos) return {};
  return text.substr(from, text.find_last_not_of(blanks) + 1 - from);
}

/// Where a piece of at most `most` bytes ends: not inside a UTF-8 character, where it is one.
std::size_t cut(std::string_view bytes, std::size_t most) {
  if (bytes.size() <= most) return bytes.size();
  auto continues = [&](std::size_t at) { return (static_cast<unsigned char>(bytes[at]) & 0xC0) == 0x80; };
  auto at = most;
  while (at > most - 3 && continues(at)) --at;
  return continues(at) ? most : at;
}

void append_line(std::string& out, std::int64_t offset, std::string_view bytes) {
  auto text = json::serialize(json::string(bytes));
  bool is_text = parse_json(text).has_value();
  out += "{\"offset\":" + std::to_string(offset) + (is_text ? ",\"text\":" + text : ",\"data\":\"" + to_base64(bytes) + '"') + "}\n";
}

bool continues(const ShippedRecord& before, const ShippedRecord& after) {
  return after.attempt == before.attempt && after.offset == before.offset + std::int64_t(before.text.size());
}

}  // namespace

bool is_shipped(std::string_view message) {
  auto text = trimmed(message);
  return text.starts_with('{') || text.starts_with('[');
}

Result<Shipped> decode_shipped(std::string_view bytes) {
  if (bytes.size() > max_shipped_bytes)
    return fail(Errc::too_large, "shipped logs of " + std::to_string(bytes.size()) + " bytes; the limit is " + std::to_string(max_shipped_bytes), "Send smaller batches");
  Reader reader;
  auto rest = trimmed(bytes);
  if (rest.starts_with('[')) {
    TRY(reader.take(parse_json(rest)));
    rest = {};
  }
  while (!rest.empty()) {
    auto end = std::min(rest.find('\n'), rest.size());
    if (auto line = trimmed(rest.substr(0, end)); !line.empty()) TRY(reader.take(parse_json(line)));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  if (reader.shipped.records.empty() && reader.shipped.refused > 0) return fail(Errc::invalid, "shipped logs: " + reader.shipped.first_refusal);
  return std::move(reader.shipped);
}

std::map<AttemptId, std::string> shipped_frames(std::vector<ShippedRecord> records) {
  std::ranges::sort(records, {}, [](const ShippedRecord& record) { return std::pair(record.attempt, record.offset); });
  std::map<AttemptId, std::string> frames;
  for (std::size_t i = 0; i < records.size();) {
    ShippedRecord run = std::move(records[i++]);
    while (i < records.size() && continues(run, records[i])) run.text += records[i++].text;
    for (std::size_t at = 0; at < run.text.size(); at += max_frame_text_bytes)
      append_frame(frames[run.attempt], {.offset = run.offset + std::int64_t(at), .text = std::string_view(run.text).substr(at, max_frame_text_bytes)});
  }
  return frames;
}

void append_shipped_lines(std::string& out, std::int64_t offset, std::string_view bytes) {
  while (!bytes.empty()) {
    auto newline = bytes.find('\n');
    auto size = cut(bytes.substr(0, newline == bytes.npos ? bytes.size() : newline + 1), shipped_line_text_bytes);
    append_line(out, offset, bytes.substr(0, size));
    offset += std::int64_t(size);
    bytes.remove_prefix(size);
  }
}

}  // namespace mayfly
