#pragma once
// JSON forms of the values that more than one message holds, and careful reading of fields. For .cpp files only: it brings
// Boost.JSON in.

#include <concepts>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "domain/pipeline/plan.h"
#include "domain/runner/protocol.h"

namespace mayfly::forms {

std::unexpected<Error> wrong(std::string_view field, std::string_view expected);

/// Reads the fields of one object; the first that is wrong is remembered, named by its path, and the rest is left alone.
class Reader final {
 public:
  Reader(const json::value& v, std::string path);

  void required(std::string_view key, std::string& into);
  void required(std::string_view key, std::int64_t& into);
  void required(std::string_view key, bool& into);
  void optional(std::string_view key, std::string& into);
  void optional(std::string_view key, std::int64_t& into);
  void optional(std::string_view key, bool& into);
  void optional(std::string_view key, std::optional<std::int64_t>& into);
  void optional(std::string_view key, std::map<std::string, std::string>& into);
  void optional(std::string_view key, std::vector<std::string>& into);

  /// Reads `key` with `read(const json::value&, path) -> Result<T>`; absent is an error.
  template <class T, class F>
  void required(std::string_view key, T& into, F read) {
    auto* v = get(key, true);
    if (v) take(read(*v, at(key)), into);
  }
  template <class T, class F>
  void optional(std::string_view key, std::optional<T>& into, F read) {
    auto* v = get(key, false);
    if (v) take(read(*v, at(key)), into);
  }
  /// An array read element by element; absent leaves it empty.
  template <class T, class F>
  void each(std::string_view key, std::vector<T>& into, F read) {
    auto* v = get(key, false);
    if (!v) return;
    auto* array = v->if_array();
    if (!array) return set_wrong(key, "an array");
    for (std::size_t i = 0; i < array->size(); ++i) {
      T one{};
      take(read((*array)[i], at(key) + "[" + std::to_string(i) + "]"), one);
      if (error_) return;
      into.push_back(std::move(one));
    }
  }

  void set_wrong(std::string_view key, std::string_view expected);
  template <class T>
  Result<T> done(T value) {
    if (error_) return std::unexpected(*std::move(error_));
    return value;
  }

 private:
  const json::value* get(std::string_view key, bool must);
  std::string at(std::string_view key) const;
  template <class T, class U>
  void take(Result<T> got, U& into) {
    if (got) into = *std::move(got);
    else if (!error_) error_ = std::move(got).error();
  }

  const json::object* object_ = nullptr;
  std::string path_;
  std::optional<Error> error_;
};

json::object strings(const std::map<std::string, std::string>&);
json::array strings(const std::vector<std::string>&);

/// An RFC 3339 text.
Result<Time> instant(const json::value&, std::string path);

json::value form(const StepState&);
Result<StepState> step_state(const json::value&, std::string path);

}  // namespace mayfly::forms
