#include "domain/webhook/json_fields.h"

#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <utility>

namespace mayfly {
namespace {

namespace json = boost::json;
using Ec = boost::json::error_code;

constexpr int nowhere = -1;
constexpr std::size_t longest_key_bytes = 64;

// The wanted paths as a tree of keys; node 0 is the root object.
struct Node {
  std::string_view key;
  std::vector<int> children{};
  int field = nowhere;
  bool seen = false;
};

std::vector<Node> key_tree(std::span<const FieldSpec> wanted) {
  std::vector<Node> nodes(1);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    int at = 0;
    for (auto path = wanted[i].path; !path.empty();) {
      auto dot = std::min(path.find('.'), path.size());
      auto key = path.substr(0, dot);
      path.remove_prefix(std::min(dot + 1, path.size()));
      auto& children = nodes[std::size_t(at)].children;
      auto known = std::ranges::find_if(children, [&](int c) { return nodes[std::size_t(c)].key == key; });
      if (known != children.end()) {
        at = *known;
      } else {
        children.push_back(int(nodes.size()));
        at = int(nodes.size());
        nodes.push_back({.key = key});
      }
    }
    nodes[std::size_t(at)].field = int(i);
  }
  return nodes;
}

// Removes what a cut left of a UTF-8 character at the end.
void trim_to_characters(std::string& text) {
  auto lead = text.size();
  while (lead > 0 && (static_cast<unsigned char>(text[lead - 1]) & 0xc0) == 0x80) --lead;
  if (lead == 0) return text.clear();
  auto first = static_cast<unsigned char>(text[--lead]);
  std::size_t length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (lead + length > text.size()) text.resize(lead);
}

// Parser events in, fields out. `here_` is the node of the value that comes next; open_ holds those of the objects around it.
class Handler {
 public:
  static constexpr std::size_t max_object_size = -1, max_array_size = -1, max_key_size = -1, max_string_size = -1;

  Handler(std::span<const FieldSpec> wanted, std::string_view last)
      : values(wanted.size()), wanted_(wanted), last_(last), nodes_(key_tree(wanted)) {
    open_.reserve(65);
  }

  bool on_document_begin(Ec&) { return true; }
  bool on_document_end(Ec&) { return true; }
  bool on_comment_part(std::string_view, Ec&) { return true; }
  bool on_comment(std::string_view, Ec&) { return true; }

  bool on_object_begin(Ec&) {
    record({.type = FieldValue::Type::object});
    open_.push_back(here_);
    here_ = nowhere;
    return true;
  }
  bool on_object_end(std::size_t, Ec& ec) {
    int ended = open_.back();
    close();
    if (ended > 0 && !last_.empty() && is_last(ended)) {
      stopped = true;
      ec = boost::system::errc::make_error_code(boost::system::errc::operation_canceled);
      return false;
    }
    return true;
  }
  bool on_array_begin(Ec& ec) {
    if (open_.empty()) return not_an_object(ec);
    record({.type = FieldValue::Type::other});
    open_.push_back(nowhere);
    here_ = nowhere;
    return true;
  }
  bool on_array_end(std::size_t, Ec&) {
    close();
    return true;
  }

  bool on_key_part(std::string_view part, std::size_t, Ec&) {
    add_key(part);
    return true;
  }
  bool on_key(std::string_view part, std::size_t, Ec&) {
    add_key(part);
    here_ = open_.back() == nowhere ? nowhere : enter(open_.back());
    key_.clear();
    return true;
  }

  bool on_string_part(std::string_view part, std::size_t, Ec& ec) {
    if (open_.empty()) return not_an_object(ec);
    add_text(part);
    return true;
  }
  bool on_string(std::string_view part, std::size_t, Ec& ec) {
    if (open_.empty()) return not_an_object(ec);
    add_text(part);
    if (field() != nowhere) {
      text_.type = FieldValue::Type::text;
      record(std::move(text_));
      text_ = {};
    }
    here_ = nowhere;
    return true;
  }

  bool on_number_part(std::string_view, Ec&) { return true; }
  bool on_int64(std::int64_t n, std::string_view, Ec& ec) { return scalar({.type = FieldValue::Type::integer, .integer = n}, ec); }
  bool on_uint64(std::uint64_t, std::string_view, Ec& ec) { return scalar({.type = FieldValue::Type::other}, ec); }
  bool on_double(double, std::string_view, Ec& ec) { return scalar({.type = FieldValue::Type::other}, ec); }
  bool on_bool(bool b, Ec& ec) { return scalar({.type = FieldValue::Type::boolean, .integer = b}, ec); }
  bool on_null(Ec& ec) { return scalar({.type = FieldValue::Type::null}, ec); }

  std::vector<FieldValue> values;
  bool stopped = false;

 private:
  static bool not_an_object(Ec& ec) {
    ec = json::error::not_object;
    return false;
  }
  int field() const { return here_ == nowhere ? nowhere : nodes_[std::size_t(here_)].field; }
  bool is_last(int node) const {
    int at = nodes_[std::size_t(node)].field;
    return at != nowhere && wanted_[std::size_t(at)].path == last_;
  }
  void record(FieldValue value) {
    if (int at = field(); at != nowhere) values[std::size_t(at)] = std::move(value);
  }
  bool scalar(FieldValue value, Ec& ec) {
    if (open_.empty()) return not_an_object(ec);
    record(std::move(value));
    here_ = nowhere;
    return true;
  }
  void close() {
    open_.pop_back();
    here_ = nowhere;
  }
  void add_key(std::string_view part) {
    if (open_.back() != nowhere && key_.size() <= longest_key_bytes) key_.append(part.substr(0, longest_key_bytes + 1));
  }
  int enter(int parent) {
    for (int child : nodes_[std::size_t(parent)].children) {
      auto& node = nodes_[std::size_t(child)];
      if (node.key == key_) return std::exchange(node.seen, true) ? nowhere : child;
    }
    return nowhere;
  }
  void add_text(std::string_view part) {
    int at = field();
    if (at == nowhere || text_.cut) return;
    auto room = wanted_[std::size_t(at)].max_bytes - text_.text.size();
    text_.cut = part.size() > room;
    text_.text.append(part.substr(0, room));
    if (text_.cut) trim_to_characters(text_.text);
  }

  std::span<const FieldSpec> wanted_;
  std::string_view last_;
  std::vector<Node> nodes_;
  std::vector<int> open_;
  int here_ = 0;
  std::string key_;
  FieldValue text_;
};

}  // namespace

Result<std::vector<FieldValue>> read_fields_until(std::string_view text, std::span<const FieldSpec> wanted, std::string_view last) {
  json::parse_options options;
  options.max_depth = 64;
  json::basic_parser<Handler> parser(options, wanted, last);
  Ec ec;
  auto used = parser.write_some(false, text.data(), text.size(), ec);
  auto& handler = parser.handler();
  if (handler.stopped) return std::move(handler.values);
  if (ec) return fail(Errc::invalid, "not a JSON object: " + ec.message() + " at byte " + std::to_string(used));
  if (text.substr(used).find_first_not_of(" \t\r\n") != text.npos)
    return fail(Errc::invalid, "not JSON: text after the end at byte " + std::to_string(used));
  return std::move(handler.values);
}

Result<std::vector<FieldValue>> read_fields(std::string_view text, std::span<const FieldSpec> wanted) {
  return read_fields_until(text, wanted, {});
}

}  // namespace mayfly
