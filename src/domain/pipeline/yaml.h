#pragma once
// Pipeline files as trees of nodes that know where they stand. YAML 1.2 core schema: `on` is a word, 3.10 keeps its
// text. Written for hostile files: sizes, depth and alias expansion are capped, nothing is guessed.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "domain/pipeline/problems.h"

namespace mayfly {

struct YamlLimits {
  std::size_t file_bytes = 1 << 20;
  std::size_t expansion_bytes = 10 << 20;  // of all nodes once aliases and merge keys are followed
  std::size_t depth = 64;
};

/// A value in a file. Owned by its Document; an alias and its anchor are the same node.
struct YamlNode {
  enum class Kind { scalar, list, map };
  struct Entry {
    const YamlNode* key;    // a scalar
    const YamlNode* value;
  };

  Kind kind = Kind::scalar;
  bool plain = false;              // a scalar without quotes or block: may be null, a bool or a number
  bool verbatim = false;           // one line whose text is as in the file: an offset in it is a column
  Mark at;
  std::string text;                // of a scalar, as written
  std::vector<Mark> expressions;   // where each "${{" of the text stands
  std::vector<const YamlNode*> items;
  std::vector<Entry> entries;      // merge keys already followed
  std::size_t expanded_bytes = 0;
  std::size_t height = 0;          // levels of lists and maps, aliases followed

  bool is_scalar() const { return kind == Kind::scalar; }
  bool is_list() const { return kind == Kind::list; }
  bool is_map() const { return kind == Kind::map; }
  bool is_null() const;
  std::optional<bool> as_bool() const;
  std::optional<std::int64_t> as_integer() const;
  std::optional<double> as_number() const;
  /// The value under a key of a map, or nullptr.
  const YamlNode* find(std::string_view key) const;
  /// "text", "a number", "a list" …: for messages.
  std::string_view describe() const;
};

struct Document {
  std::deque<YamlNode> nodes;
  const YamlNode* root = nullptr;  // never null; a null scalar if there is nothing
  bool complete = false;       // false: reading stopped somewhere, and `problems` says why
};

/// Reads one document. What is wrong with it goes to `problems`; the document holds what could be read, so that more
/// can be said about it.
Document read_yaml(const std::string& file, std::string_view text, const YamlLimits&, Problems& problems);

/// The document as JSON text, for tools that speak JSON Schema; diagnostics if it is not YAML.
std::expected<std::string, std::vector<Diagnostic>> yaml_to_json(std::string_view text, const YamlLimits& = {});

}  // namespace mayfly
