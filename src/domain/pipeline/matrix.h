#pragma once
// From axes to combinations, as GitHub Actions does it: every combination of the axes, less those an `exclude` matches;
// then each `include` adds its values to the combinations it changes no axis of, or else becomes a combination itself.

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mayfly {

/// Names and values, axes first in the order of the file.
using Combination = std::vector<std::pair<std::string, std::string>>;

struct MatrixAxes {
  std::vector<std::pair<std::string, std::vector<std::string>>> axes;
  std::vector<Combination> exclude;
  std::vector<Combination> include;
};

/// How many combinations the axes have before `exclude`; stops counting past `limit`.
std::size_t combinations_of_axes(const MatrixAxes&, std::size_t limit);

std::vector<Combination> expand_matrix(const MatrixAxes&);

/// "test (postgres:15, 1)".
std::string matrix_job_name(const std::string& base, const Combination&);

}  // namespace mayfly
