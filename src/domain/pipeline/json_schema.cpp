// The tables as JSON Schema, and YAML as the JSON it is checked against.
#include "base/json.h"
#include "domain/pipeline/shape.h"

namespace mayfly {
namespace {

using Kind = Shape::Kind;

constexpr std::string_view any_expression = "\\$\\{\\{";
constexpr std::string_view duration_regex = "^([0-9]+|([0-9]+(us|ms|s|m|h|d|w))+)$";
constexpr std::string_view size_regex = "^[0-9]+(\\.[0-9]+)?(Ki|Mi|Gi|Ti|K|M|G|T)?$";
constexpr std::string_view cpu_regex = "^([0-9]+(\\.[0-9]+)?|[0-9]+m)$";

json::value text(std::string_view s) { return json::value(json::string(s)); }

json::array texts(std::span<const std::string_view> words) {
  json::array out;
  for (auto word : words) out.push_back(text(word));
  return out;
}

json::value pattern(std::string_view regex) { return json::object{{"type", "string"}, {"pattern", text(regex)}}; }

json::value schema_of(const Shape& shape);

json::value number_or_text(json::object number, std::string_view regex) {
  return json::object{{"anyOf", json::array{std::move(number), pattern(regex)}}};
}

json::value schema_of_text(const Shape& shape) {
  bool only_text = shape.pattern && shape.pattern->only_text;
  json::array types{"string"};
  if (!only_text) types.insert(types.end(), {"number", "boolean"});
  if (shape.may_be_empty) types.push_back("null");
  json::object out{{"type", types.size() == 1 ? types[0] : json::value(types)}};
  if (!shape.expressions) out["not"] = pattern(any_expression);
  if (!shape.pattern) return out;
  if (!shape.expressions) out["pattern"] = text(shape.pattern->regex);
  else out["anyOf"] = json::array{json::object{{"pattern", text(shape.pattern->regex)}}, json::object{{"pattern", text(any_expression)}}};
  return out;
}

json::value schema_of_map(const Shape& shape) {
  json::object properties;
  json::array required;
  for (auto& field : shape.fields) {
    auto property = schema_of(*field.shape).as_object();
    property["description"] = text(field.about);
    properties[field.key] = std::move(property);
    if (field.required) required.push_back(text(field.key));
  }
  json::object out{{"type", "object"}};
  if (!properties.empty()) out["properties"] = std::move(properties);
  if (!required.empty()) out["required"] = std::move(required);
  out["additionalProperties"] = shape.items ? schema_of(*shape.items) : json::value(false);
  if (shape.keys) {
    json::object names{{"pattern", text(shape.keys->regex)}};
    json::array foreign;
    for (auto& key : shape.foreign) foreign.push_back(text(key.key));
    if (!foreign.empty()) names["not"] = json::object{{"enum", std::move(foreign)}};
    out["propertyNames"] = std::move(names);
  }
  if (shape.least > 0) out["minProperties"] = shape.least;
  if (shape.most > 0) out["maxProperties"] = shape.most;
  if (!shape.exactly_one.empty()) {
    json::array one_of;
    for (auto key : shape.exactly_one) one_of.push_back(json::object{{"required", json::array{text(key)}}});
    out["oneOf"] = std::move(one_of);
  }
  return out;
}

json::value schema_of_either(const Shape& shape) {
  json::array options;
  for (auto* option : shape.options) options.push_back(schema_of(*option));
  return json::object{{"anyOf", std::move(options)}};
}

json::value schema_of(const Shape& shape) {
  switch (shape.kind) {
    case Kind::nothing: return json::object{{"type", "null"}};
    case Kind::text: return schema_of_text(shape);
    case Kind::word: return json::object{{"enum", texts(shape.words)}};
    case Kind::boolean: return json::object{{"type", "boolean"}};
    case Kind::integer: return json::object{{"type", "integer"}, {"minimum", shape.least}, {"maximum", shape.most}};
    case Kind::duration: return number_or_text({{"type", "integer"}, {"minimum", shape.least}, {"maximum", shape.most}}, duration_regex);
    case Kind::size: return number_or_text({{"type", "integer"}, {"minimum", shape.least}, {"maximum", shape.most}}, size_regex);
    case Kind::cpu:
      return number_or_text({{"type", "number"}, {"minimum", double(shape.least) / 1000}, {"maximum", double(shape.most) / 1000}}, cpu_regex);
    case Kind::condition: return json::object{{"type", json::array{"string", "boolean", "number"}}};
    case Kind::list:
      return json::object{{"type", "array"}, {"items", schema_of(*shape.items)}, {"minItems", shape.least}, {"maxItems", shape.most}};
    case Kind::map: return schema_of_map(shape);
    case Kind::either: return schema_of_either(shape);
  }
  return {};
}

/// JSON that people read: short values on one line, the rest indented by two.
void print(const json::value& value, std::size_t indent, std::string& out) {
  constexpr std::size_t width = 100;
  auto line = json::serialize(value);
  bool is_object = value.is_object();
  if ((!is_object && !value.is_array()) || line.size() + indent <= width) {
    out += line;
    return;
  }
  std::string margin(indent + 2, ' ');
  std::string_view separator = "\n";
  out += is_object ? "{" : "[";
  auto element = [&](std::string_view key, const json::value& inner) {
    out += separator;
    out += margin;
    if (is_object) out += json::serialize(text(key)) + ": ";
    print(inner, indent + 2, out);
    separator = ",\n";
  };
  if (is_object)
    for (auto& [key, inner] : value.get_object()) element(key, inner);
  else
    for (auto& inner : value.get_array()) element({}, inner);
  out += "\n" + margin.substr(2) + (is_object ? "}" : "]");
}

json::value json_of(const YamlNode& node) {
  if (node.is_list()) {
    json::array out;
    for (auto* item : node.items) out.push_back(json_of(*item));
    return out;
  }
  if (node.is_map()) {
    json::object out;
    for (auto& entry : node.entries) out[entry.key->text] = json_of(*entry.value);
    return out;
  }
  if (node.is_null()) return nullptr;
  if (auto truth = node.as_bool()) return *truth;
  if (auto integer = node.as_integer()) return *integer;
  if (auto number = node.as_number()) return *number;
  return text(node.text);
}

}  // namespace

std::string pipeline_json_schema() {
  json::object schema{{"$schema", "https://json-schema.org/draft/2020-12/schema"}, {"title", "Mayfly pipeline (.ci.yaml)"}};
  for (auto& [key, value] : schema_of(pipeline_shape).as_object()) schema[key] = value;
  std::string out;
  print(schema, 0, out);
  return out + "\n";
}

std::expected<std::string, std::vector<Diagnostic>> yaml_to_json(std::string_view yaml, const YamlLimits& limits) {
  constexpr std::size_t most_problems = 100;
  Problems problems(most_problems);
  auto document = read_yaml("input", yaml, limits, problems);
  if (!problems.empty()) return std::unexpected(problems.take());
  return json::serialize(json_of(*document.root));
}

}  // namespace mayfly
