#pragma once
// Enums and the words they have in the API and the database, as a table.

#include <optional>
#include <string_view>

namespace mayfly {

template <class E>
struct Name {
  E value;
  std::string_view text;
};

template <class E, std::size_t N>
constexpr std::string_view name_of(const Name<E> (&table)[N], E value) {
  for (auto& row : table)
    if (row.value == value) return row.text;
  return {};
}

template <class E, std::size_t N>
constexpr std::optional<E> value_of(const Name<E> (&table)[N], std::string_view text) {
  for (auto& row : table)
    if (row.text == text) return row.value;
  return std::nullopt;
}

}  // namespace mayfly
