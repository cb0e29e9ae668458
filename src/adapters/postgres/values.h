#pragma once
// The port's values as PostgreSQL's wire carries them, and back.

#include <array>
#include <vector>

#include "ports/database.h"

struct pg_result;

namespace mayfly::postgres {

/// A statement's parameters in libpq's form. Numbers go as text, which fits whatever type the server inferred; text and bytes
/// go as they are. Valid until the next set(), as long as the values live.
class Parameters final {
 public:
  void set(const std::vector<Value>& params);
  int count() const { return int(values_.size()); }
  const char* const* values() const { return values_.data(); }
  const int* lengths() const { return lengths_.data(); }
  const int* formats() const { return formats_.data(); }

 private:
  std::vector<const char*> values_;
  std::vector<int> lengths_, formats_;
  std::vector<std::array<char, 24>> numbers_;
};

/// A column of a result in binary format. Errc::internal for a type or a number that the port does not carry.
Result<Value> column(const pg_result* result, int row, int column);

}  // namespace mayfly::postgres
