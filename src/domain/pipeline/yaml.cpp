// The only file that sees libfyaml.
#include "domain/pipeline/yaml.h"

#include <libfyaml.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>

#include "base/text.h"
#include "domain/pipeline/quoted.h"

namespace mayfly {
namespace {

constexpr std::size_t node_overhead_bytes = 16;

/// The byte that begins the first malformed sequence or forbidden control character, or npos.
std::size_t first_bad_byte(std::string_view s) {
  for (std::size_t i = 0; i < s.size();) {
    auto c = static_cast<unsigned char>(s[i]);
    if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f) return i;
    auto n = character_bytes(s.substr(i));
    if (n == 0) return i;
    i += n;
  }
  return s.npos;
}

Mark mark_at(std::string_view text, std::size_t offset) {
  auto before = text.substr(0, offset);
  auto line = std::ranges::count(before, '\n');
  auto newline = before.rfind('\n');
  auto column = newline == before.npos ? before.size() : before.size() - newline - 1;
  return {int(line) + 1, int(column) + 1};
}

struct Free {
  void operator()(fy_parser* p) const { fy_parser_destroy(p); }
  void operator()(fy_diag* d) const { fy_diag_destroy(d); }
};

class Reader {
 public:
  Reader(const std::string& file, std::string_view text, const YamlLimits& limits, Problems& problems)
      : file_(file), text_(text), limits_(limits), problems_(problems) {
    fy_diag_cfg quiet;
    fy_diag_cfg_default(&quiet);
    quiet.fp = nullptr;
    diag_.reset(fy_diag_create(&quiet));
    fy_diag_set_collect_errors(diag_.get(), true);
    fy_parse_cfg config{};
    config.flags = fy_parse_cfg_flags(int(FYPCF_QUIET) | FYPCF_COLLECT_DIAG | FYPCF_DEFAULT_VERSION_1_2 | FYPCF_JSON_NONE |
                                      FYPCF_ALLOW_DUPLICATE_KEYS);
    config.diag = diag_.get();
    parser_.reset(fy_parser_create(&config));
    fy_parser_set_string(parser_.get(), text.data(), text.size());
  }

  Document read() {
    document_.root = make({1, 1});
    int documents = 0;
    while (!stopped_) {
      auto* event = fy_parser_parse(parser_.get());
      if (!event) break;
      if (event->type == FYET_DOCUMENT_START && ++documents == 2) {
        problem(where(event), "a second document begins here", "a pipeline is one document: remove the `---`");
        stopped_ = true;
      } else {
        take(event);
      }
      fy_parser_event_free(parser_.get(), event);
    }
    if (!stopped_) report_syntax_error();
    document_.complete = !stopped_ && !fy_parser_get_stream_error(parser_.get());
    return std::move(document_);
  }

 private:
  struct Open {
    YamlNode* node;
    const YamlNode* key = nullptr;  // of a map: read, its value not yet
    bool merge = false;
    std::vector<std::pair<const YamlNode*, Mark>> merges;
    std::unordered_map<std::string_view, Mark> keys;
    std::string anchor;
  };

  void problem(Mark at, std::string message, std::string hint = {}) { problems_.add(file_, at, std::move(message), std::move(hint)); }

  Mark where(fy_event* event) const {
    auto* mark = fy_event_start_mark(event);
    if (!mark) return last_;
    return {mark->line + 1, mark->column + 1};
  }

  YamlNode* make(Mark at) {
    auto& node = document_.nodes.emplace_back();
    node.at = at;
    node.plain = true;
    node.expanded_bytes = node_overhead_bytes;
    return &node;
  }

  void take(fy_event* event) {
    switch (event->type) {
      case FYET_SCALAR: return scalar(event);
      case FYET_ALIAS: return alias(event);
      case FYET_MAPPING_START: return open(event, YamlNode::Kind::map);
      case FYET_SEQUENCE_START: return open(event, YamlNode::Kind::list);
      case FYET_MAPPING_END:
      case FYET_SEQUENCE_END: return close();
      default: return;
    }
  }

  static std::string text_of(fy_token* token) {
    std::size_t size = 0;
    auto* text = token ? fy_token_get_text(token, &size) : nullptr;
    return text ? std::string(text, size) : std::string();
  }

  std::string scalar_text(fy_token* token, fy_scalar_style style, std::string_view source) const {
    if (style == FYSS_SINGLE_QUOTED) return single_quoted_text(source);
    if (style == FYSS_DOUBLE_QUOTED) return double_quoted_text(source);
    if (style == FYSS_FOLDED)
      if (auto text = folded_text(line_before(source), source)) return *std::move(text);
    return text_of(token);
  }

  /// The last line that ends before a part of the file begins.
  std::string_view line_before(std::string_view part) const {
    auto before = text_.substr(0, std::size_t(part.data() - text_.data()));
    before = before.substr(0, before.find_last_of('\n'));
    auto newline = before.find_last_of('\n');
    return newline == before.npos ? before : before.substr(newline + 1);
  }

  void scalar(fy_event* event) {
    auto* token = event->scalar.value;
    last_ = where(event);
    auto* node = make(last_);
    auto style = token ? fy_token_scalar_style(token) : FYSS_PLAIN;
    auto source = source_of(event);
    node->text = scalar_text(token, style, source);
    if (node->text.contains('\0')) problem(last_, "a NUL byte is no text", "remove the \\0");
    node->plain = style == FYSS_PLAIN;
    node->expanded_bytes += node->text.size();
    tag(event, node);
    locate_expressions(source, node);
    add(node, text_of(event->scalar.anchor));
  }

  void tag(fy_event* event, YamlNode* node) {
    auto* token = fy_event_get_tag_token(event);
    if (!token) return;
    auto text = text_of(token);
    if (text == "!" || text == "!!str" || text == "tag:yaml.org,2002:str") node->plain = false;
    if (text == "!" || text.starts_with("!!") || text.starts_with("tag:yaml.org,2002:")) return;
    node->plain = false;
    problem(where(event), "the tag '" + text + "' has no meaning in a pipeline", "put text that begins with '!' in quotes");
  }

  /// A scalar as it stands in the file, without its quotes.
  std::string_view source_of(fy_event* event) const {
    auto* begin = fy_event_start_mark(event);
    auto* end = fy_event_end_mark(event);
    if (!begin || !end || end->input_pos > text_.size() || begin->input_pos > end->input_pos) return {};
    return text_.substr(begin->input_pos, end->input_pos - begin->input_pos);
  }

  static void locate_expressions(std::string_view source, YamlNode* node) {
    node->verbatim = source == node->text;
    if (!node->text.contains("${{")) return;
    Mark at = node->at;
    for (std::size_t i = 0; i < source.size(); ++i) {
      if (source.substr(i).starts_with("${{")) node->expressions.push_back(at);
      if (source[i] == '\n') at = {at.line + 1, 1};
      else if ((source[i] & 0xc0) != 0x80) ++at.column;
    }
  }

  void alias(fy_event* event) {
    auto name = text_of(event->alias.anchor);
    last_ = where(event);
    --last_.column;  // the parser tells the place of the name, not of its '*'
    auto found = anchors_.find(name);
    if (found == anchors_.end()) {
      problem(last_, "there is no anchor '&" + name + "' before this alias", "write '&" + name + "' on the value it stands for");
      auto* nothing = make(last_);
      unknown_aliases_.insert(nothing);
      return add(nothing, {});
    }
    if (open_.size() + found->second->height > limits_.depth) return too_deep();
    if (!charge(found->second->expanded_bytes, last_)) return;
    add(found->second, {});
  }

  bool charge(std::size_t bytes, Mark at) {
    expanded_ += bytes;
    if (text_.size() + expanded_ <= limits_.expansion_bytes) return true;
    problem(at, "aliases expand this file beyond " + std::to_string(limits_.expansion_bytes) + " bytes (limit: expansion)",
            "use fewer aliases of aliases");
    stopped_ = true;
    return false;
  }

  void open(fy_event* event, YamlNode::Kind kind) {
    last_ = where(event);
    if (open_.size() >= limits_.depth) return too_deep();
    auto* node = make(last_);
    node->kind = kind;
    node->plain = false;
    node->height = 1;
    tag(event, node);
    auto& opened = open_.emplace_back();
    opened.node = node;
    auto* anchor = fy_event_get_anchor_token(event);
    if (anchor) opened.anchor = text_of(anchor);
  }

  void too_deep() {
    problem(last_, "nested deeper than " + std::to_string(limits_.depth) + " levels (limit: depth)");
    stopped_ = true;
  }

  void close() {
    auto done = std::move(open_.back());
    open_.pop_back();
    for (auto& [source, at] : done.merges) merge(done, source, at);
    add(done.node, done.anchor);
  }

  /// Puts a finished value where it belongs: into the list or map around it, or at the top.
  void add(const YamlNode* node, const std::string& anchor) {
    if (!anchor.empty()) anchors_[anchor] = node;
    if (open_.empty()) {
      document_.root = node;
      return;
    }
    auto& parent = open_.back();
    parent.node->expanded_bytes += node->expanded_bytes;
    parent.node->height = std::max(parent.node->height, node->height + 1);
    if (parent.node->is_list()) {
      parent.node->items.push_back(node);
    } else if (!parent.key) {
      key(parent, node);
    } else {
      if (parent.merge) parent.merges.emplace_back(node, parent.key->at);
      else parent.node->entries.push_back({parent.key, node});
      parent.key = nullptr;
    }
  }

  void key(Open& map, const YamlNode* node) {
    if (!node->is_scalar()) {
      problem(node->at, "a key must be text, this is " + std::string(node->describe()));
      node = make(node->at);
    }
    map.key = node;
    map.merge = node->plain && node->text == "<<";
    if (map.merge) return;
    auto [first, is_new] = map.keys.emplace(node->text, node->at);
    if (!is_new)
      problem(node->at, "the key '" + node->text + "' is here twice; the first is on line " + std::to_string(first->second.line),
              "remove or rename one of them");
  }

  void merge(Open& into, const YamlNode* source, Mark at) {
    if (unknown_aliases_.contains(source)) return;
    std::vector<const YamlNode*> maps;
    if (source->is_map()) maps.push_back(source);
    else if (source->is_list()) maps = source->items;
    if (maps.empty() || !std::ranges::all_of(maps, &YamlNode::is_map))
      return problem(at, "'<<' merges maps, this is " + std::string(source->describe()), "write `<<: *anchor` or `<<: [*one, *other]`");
    for (auto* map : maps)
      for (auto& entry : map->entries)
        if (into.keys.emplace(entry.key->text, entry.key->at).second) into.node->entries.push_back(entry);
  }

  void report_syntax_error() {
    if (!fy_parser_get_stream_error(parser_.get())) return;
    void* position = nullptr;
    if (auto* error = fy_diag_errors_iterate(diag_.get(), &position)) {
      std::string message = error->msg ? error->msg : "?", hint;
      if (message.contains("flow") && !open_.empty()) hint = "what is open here began on line " + std::to_string(open_.back().node->at.line);
      return problem({std::max(error->line, 1), std::max(error->column, 1)}, "not YAML: " + message, std::move(hint));
    }
    problem(last_, "not YAML from here on");
  }

  const std::string& file_;
  std::string_view text_;
  const YamlLimits& limits_;
  Problems& problems_;
  std::unique_ptr<fy_diag, Free> diag_;
  std::unique_ptr<fy_parser, Free> parser_;
  Document document_;
  std::vector<Open> open_;
  std::map<std::string, const YamlNode*> anchors_;
  std::set<const YamlNode*> unknown_aliases_;
  std::size_t expanded_ = 0;
  Mark last_;
  bool stopped_ = false;
};

}  // namespace

Document read_yaml(const std::string& file, std::string_view text, const YamlLimits& limits, Problems& problems) {
  Document empty;
  empty.nodes.emplace_back().plain = true;
  empty.root = &empty.nodes.back();
  if (text.size() > limits.file_bytes) {
    problems.add(file, {}, "the file has " + std::to_string(text.size()) + " bytes, more than " + std::to_string(limits.file_bytes) +
                               " (limit: file)");
    return empty;
  }
  if (auto bad = first_bad_byte(text); bad != text.npos) {
    problems.add(file, mark_at(text, bad), "a byte that is not UTF-8 text", "save the file as UTF-8");
    return empty;
  }
  return Reader(file, text, limits, problems).read();
}

}  // namespace mayfly
