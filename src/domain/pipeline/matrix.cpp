#include "domain/pipeline/matrix.h"

#include <algorithm>

namespace mayfly {
namespace {

const std::string* value_in(const Combination& combination, const std::string& name) {
  for (auto& [key, value] : combination)
    if (key == name) return &value;
  return nullptr;
}

/// Whether every value the pattern names is this combination's.
bool matches(const Combination& combination, const Combination& pattern) {
  return std::ranges::all_of(pattern, [&](auto& wanted) {
    auto* value = value_in(combination, wanted.first);
    return value && *value == wanted.second;
  });
}

std::vector<Combination> product(const MatrixAxes& matrix) {
  if (matrix.axes.empty()) return {};
  std::vector<Combination> all{{}};
  for (auto& [name, values] : matrix.axes) {
    std::vector<Combination> longer;
    longer.reserve(all.size() * values.size());
    for (auto& combination : all)
      for (auto& value : values) longer.emplace_back(combination).emplace_back(name, value);
    all = std::move(longer);
  }
  return all;
}

void set(Combination& combination, const std::string& name, const std::string& value) {
  for (auto& [key, current] : combination)
    if (key == name) {
      current = value;
      return;
    }
  combination.emplace_back(name, value);
}

}  // namespace

std::size_t combinations_of_axes(const MatrixAxes& matrix, std::size_t limit) {
  std::size_t count = matrix.axes.empty() ? 0 : 1;
  for (auto& [name, values] : matrix.axes) {
    count *= values.size();
    if (count > limit) return limit + 1;
  }
  return count;
}

std::vector<Combination> expand_matrix(const MatrixAxes& matrix) {
  auto all = product(matrix);
  std::erase_if(all, [&](const Combination& c) { return std::ranges::any_of(matrix.exclude, [&](auto& pattern) { return matches(c, pattern); }); });
  auto from_axes = all.size();
  auto is_axis = [&](const std::string& name) { return std::ranges::any_of(matrix.axes, [&](auto& axis) { return axis.first == name; }); };
  for (auto& extra : matrix.include) {
    Combination fixed;
    std::ranges::copy_if(extra, std::back_inserter(fixed), [&](auto& pair) { return is_axis(pair.first); });
    bool added = false;
    for (std::size_t i = 0; i < from_axes; ++i) {
      if (!matches(all[i], fixed)) continue;
      for (auto& [name, value] : extra) set(all[i], name, value);
      added = true;
    }
    if (added) continue;
    auto& alone = all.emplace_back();
    for (auto& [name, values] : matrix.axes)
      if (auto* value = value_in(extra, name)) alone.emplace_back(name, *value);
    for (auto& [name, value] : extra) set(alone, name, value);
  }
  return all;
}

std::string matrix_job_name(const std::string& base, const Combination& combination) {
  std::string name = base + " (";
  for (std::size_t i = 0; i < combination.size(); ++i) {
    if (i > 0) name += ", ";
    name += combination[i].second;
  }
  return name + ")";
}

}  // namespace mayfly
