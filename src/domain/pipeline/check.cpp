#include <algorithm>
#include <vector>

#include "domain/pipeline/forms.h"
#include "domain/pipeline/shape.h"
#include "domain/pipeline/suggest.h"

namespace mayfly {
namespace {

using Kind = Shape::Kind;

std::string quoted(std::string_view text) {
  constexpr std::size_t shown = 64;
  return text.size() <= shown ? "'" + std::string(text) + "'" : "'" + std::string(text.substr(0, shown)) + "…'";
}

class Checker {
 public:
  Checker(const std::string& file, Problems& problems) : file_(file), problems_(problems) {}

  /// `name` is the key the value stands under.
  void check(const YamlNode& node, const Shape& shape, std::string_view name) {
    switch (shape.kind) {
      case Kind::nothing: return;
      case Kind::either: return either(node, shape, name);
      case Kind::list: return list(node, shape, name);
      case Kind::map: return map(node, shape, name);
      default: break;
    }
    if (!node.is_scalar() || (node.is_null() && !shape.may_be_empty)) return wrong_kind(node, shape, name);
    scalar(node, shape, name);
  }

 private:
  void problem(Mark at, std::string message, std::string hint = {}) { problems_.add(file_, at, std::move(message), std::move(hint)); }

  void wrong_kind(const YamlNode& node, const Shape& shape, std::string_view name) {
    problem(node.at, quoted(name) + " must be " + std::string(shape.what) + ", this is " + std::string(node.describe()), example(shape, name));
  }

  static std::string example(const Shape& shape, std::string_view name) {
    if (shape.kind == Kind::list) return "write " + std::string(name) + ": […]";
    if (shape.kind == Kind::word) return "write " + one_of(shape.words);
    if (&shape == &pipeline_shape) return "write jobs: {hello: {run: echo hello}}";
    return {};
  }

  void either(const YamlNode& node, const Shape& shape, std::string_view name) {
    for (auto* option : shape.options) {
      bool fits = option->kind == Kind::nothing ? node.is_null()
                  : option->kind == Kind::map   ? node.is_map()
                  : option->kind == Kind::list  ? node.is_list()
                                                : node.is_scalar() && !node.is_null();
      if (fits) return check(node, *option, name);
    }
    wrong_kind(node, shape, name);
  }

  void list(const YamlNode& node, const Shape& shape, std::string_view name) {
    if (!node.is_list()) return wrong_kind(node, shape, name);
    if (auto count = std::int64_t(node.items.size()); count < shape.least)
      problem(node.at, quoted(name) + " is an empty list", "add to it or remove it");
    else if (count > shape.most)
      return problem(node.at, quoted(name) + " has " + std::to_string(count) + " items, more than " + std::to_string(shape.most));
    for (auto* item : node.items) check(*item, *shape.items, name);
  }

  void map(const YamlNode& node, const Shape& shape, std::string_view name) {
    if (!node.is_map()) return wrong_kind(node, shape, name);
    if (std::int64_t(node.entries.size()) < shape.least) problem(node.at, quoted(name) + " is empty", "add to it");
    if (shape.most > 0 && std::int64_t(node.entries.size()) > shape.most)
      return problem(node.at, quoted(name) + " has " + std::to_string(node.entries.size()) + " entries, more than " + std::to_string(shape.most));
    for (auto& entry : node.entries) {
      auto field = std::ranges::find(shape.fields, entry.key->text, &Field::key);
      if (field != shape.fields.end()) check(*entry.value, *field->shape, field->key);
      else if (!shape.items || is_foreign(shape, *entry.key)) unknown_key(shape, *entry.key, name);
      else free_key(entry, shape);
    }
    for (auto& field : shape.fields)
      if (field.required && !node.find(field.key)) problem(node.at, quoted(field.key) + " is missing in " + quoted(name), "add " + std::string(field.key) + ": …");
    exactly_one(node, shape, name);
  }

  static bool is_foreign(const Shape& shape, const YamlNode& key) {
    return std::ranges::find(shape.foreign, key.text, &ForeignKey::key) != shape.foreign.end();
  }

  void unknown_key(const Shape& shape, const YamlNode& key, std::string_view name) {
    auto noun = shape.key_noun.empty() || shape.items ? "key" : shape.key_noun;
    auto message = "unknown " + std::string(noun) + " " + quoted(key.text);
    if (name != "pipeline") message += " in " + quoted(name);
    problem(key.at, std::move(message), key_hint(shape, key.text));
  }

  std::string key_hint(const Shape& shape, std::string_view key) {
    for (auto& foreign : shape.foreign)
      if (foreign.key == key) return std::string(foreign.hint);
    if (problems_.full()) return {};
    std::vector<std::string_view> known;
    for (auto& field : shape.fields) known.push_back(field.key);
    return suggestion(key, known);
  }

  void free_key(const YamlNode::Entry& entry, const Shape& shape) {
    if (shape.keys && !shape.keys->matches(entry.key->text))
      problem(entry.key->at, "the " + std::string(shape.key_noun) + " " + quoted(entry.key->text) + " is not " + std::string(shape.keys->what));
    check(*entry.value, *shape.items, entry.key->text);
  }

  void exactly_one(const YamlNode& node, const Shape& shape, std::string_view name) {
    if (shape.exactly_one.empty()) return;
    const YamlNode* found = nullptr;
    for (auto& entry : node.entries) {
      if (std::ranges::find(shape.exactly_one, entry.key->text) == shape.exactly_one.end()) continue;
      if (found && found->text != entry.key->text) return problem(entry.key->at, quoted(name) + " has both " + quoted(found->text) + " and " + quoted(entry.key->text), "keep one of them");
      found = entry.key;
    }
    if (!found) problem(node.at, quoted(name) + " has neither " + quoted(shape.exactly_one[0]) + " nor " + quoted(shape.exactly_one[1]), "write run: COMMAND or steps: [{run: COMMAND}]");
  }

  void scalar(const YamlNode& node, const Shape& shape, std::string_view name) {
    switch (shape.kind) {
      case Kind::text: return text(node, shape, name);
      case Kind::word:
        if (std::ranges::find(shape.words, node.text) == shape.words.end())
          problem(node.at, quoted(node.text) + " is not " + std::string(shape.what), word_hint(node.text, shape.words));
        return;
      case Kind::boolean:
        if (!node.as_bool()) problem(node.at, quoted(name) + " must be true or false, not " + quoted(node.text), boolean_hint(node));
        return;
      case Kind::integer: return within(node, shape, name, read_integer(node), shape.least, shape.most);
      case Kind::duration: {
        auto duration = read_duration(node);
        return within(node, shape, name, duration ? std::optional(duration->count()) : std::nullopt, shape.least * 1'000'000, shape.most * 1'000'000);
      }
      case Kind::size: return within(node, shape, name, read_size(node), shape.least, shape.most);
      case Kind::cpu: return within(node, shape, name, read_cpu(node), shape.least, shape.most);
      default: return;
    }
  }

  static std::string boolean_hint(const YamlNode& node) {
    if (node.text == "true" || node.text == "false") return "remove the quotes";
    if (node.text == "yes" || node.text == "on") return "write true";
    if (node.text == "no" || node.text == "off") return "write false";
    return {};
  }

  static std::string word_hint(std::string_view word, std::span<const std::string_view> words) {
    auto near = nearest(word, words);
    return near.empty() ? "write " + one_of(words) : "did you mean '" + std::string(near) + "'?";
  }

  void within(const YamlNode& node, const Shape& shape, std::string_view name, std::optional<std::int64_t> value, std::int64_t least, std::int64_t most) {
    if (!value) problem(node.at, quoted(name) + " must be " + std::string(shape.what) + ", not " + quoted(node.text));
    else if (*value < least) problem(node.at, quoted(name) + " is too small: " + quoted(node.text), "write " + std::string(shape.range));
    else if (*value > most) problem(node.at, quoted(name) + " is too large: " + quoted(node.text), "write " + std::string(shape.range));
  }

  void text(const YamlNode& node, const Shape& shape, std::string_view name) {
    if (node.text.contains("${{")) {
      if (!shape.expressions) problem(node.at, "expressions are not evaluated in " + quoted(name), "write the value itself");
      return;
    }
    if (!shape.pattern) return;
    if (shape.pattern->only_text && (node.as_bool() || node.as_number()))
      problem(node.at, quoted(node.text) + " under " + quoted(name) + " is " + std::string(node.describe()), "put it in quotes");
    else if (!shape.pattern->matches(node.text))
      problem(node.at, quoted(node.text) + " under " + quoted(name) + " is not " + std::string(shape.pattern->what));
  }

  const std::string& file_;
  Problems& problems_;
};

}  // namespace

void check_shape(const std::string& file, const YamlNode& root, const Shape& shape, Problems& problems) {
  Checker(file, problems).check(root, shape, "pipeline");
}

}  // namespace mayfly
