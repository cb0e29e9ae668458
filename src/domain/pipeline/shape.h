#pragma once
// What a `.ci.yaml` may hold, as data: one table a map, from which files are checked and the published JSON Schema is
// written, so that the two cannot disagree.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "domain/pipeline/problems.h"
#include "domain/pipeline/yaml.h"

namespace mayfly {

/// Text of a certain form. `regex` says the same as `matches`, for the schema.
struct Pattern {
  std::string_view what;   // "a name of letters, digits, _ and -"
  std::string_view regex;
  bool (*matches)(std::string_view);
  bool only_text = false;  // a number or boolean without quotes does not do
};

struct Shape;

struct Field {
  std::string_view key;
  const Shape* shape;
  std::string_view about;  // shown by editors
  bool required = false;
};

/// A word of another system, and what to write here instead.
struct ForeignKey {
  std::string_view key;
  std::string_view hint;
};

struct Shape {
  enum class Kind { nothing, text, word, boolean, integer, duration, size, cpu, condition, list, map, either };

  Kind kind = Kind::text;
  std::string_view what = {};                      // "a duration such as 20m"
  bool expressions = false;                        // of text: `${{ }}` is evaluated here
  bool may_be_empty = false;                       // of text
  const Pattern* pattern = nullptr;                // of text
  std::span<const std::string_view> words = {};    // of word
  std::int64_t least = 0;                          // of integer; of list and map: entries; of duration: seconds; of size: bytes; of cpu: thousandths
  std::int64_t most = 0;                           // 0 of map: no limit
  std::string_view range = {};                     // least and most in words, for messages
  const Shape* items = nullptr;                    // of list; of map: of the keys that are no field (nullptr: there are none)
  std::span<const Field> fields = {};              // of map
  const Pattern* keys = nullptr;                   // of map: of the keys that are no field
  std::string_view key_noun = {};                  // of map: "key", "job", "axis"
  std::span<const std::string_view> exactly_one = {};
  std::span<const ForeignKey> foreign = {};
  std::span<const Shape* const> options = {};      // of either: at most one each for nothing, scalar, list, map
};

/// The whole file.
extern const Shape pipeline_shape;

/// Checks a document against the tables; everything wrong goes to `problems`.
void check_shape(const std::string& file, const YamlNode& root, const Shape&, Problems& problems);

/// docs/ci.schema.json: JSON Schema, draft 2020-12.
std::string pipeline_json_schema();

}  // namespace mayfly
