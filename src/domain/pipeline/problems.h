#pragma once
// Everything wrong with a pipeline, gathered while it is read, so that its author hears all of it at once. Bounded: a
// hostile file cannot make an answer longer than its limit.

#include <cstddef>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "domain/pipeline/plan.h"

namespace mayfly {

/// A place in a pipeline file; both from 1.
struct Mark {
  int line = 1;
  int column = 1;

  auto operator<=>(const Mark&) const = default;
};

class Problems final {
 public:
  explicit Problems(std::size_t limit) : limit_(limit) {}

  /// Adds one, unless it was said before (an alias makes the same mistake once for every use).
  void add(const std::string& file, Mark at, std::string message, std::string hint = {});

  bool empty() const { return count_ == 0; }
  std::size_t count() const { return count_; }
  /// True once more would only be counted: stop looking for costly suggestions.
  bool full() const { return found_.size() >= limit_; }

  /// By file, line and column; the last one says how many were left out.
  std::vector<Diagnostic> take();

 private:
  std::size_t limit_;
  std::size_t count_ = 0;
  std::vector<Diagnostic> found_;
  std::set<std::tuple<std::string, int, int, std::string>> seen_;
};

}  // namespace mayfly
