#include "ports/database.h"

#include <stdexcept>

namespace mayfly {
namespace {

template <class T>
const T& read(const Row& row, std::size_t column, const char* kind) {
  static const T none{};
  auto& v = row.at(column);
  if (std::holds_alternative<std::monostate>(v)) return none;
  if (auto* found = std::get_if<T>(&v)) return *found;
  throw std::logic_error("column " + std::to_string(column) + " of a row is not " + kind);
}

}  // namespace

std::int64_t int_at(const Row& row, std::size_t column) { return read<std::int64_t>(row, column, "a number"); }
const std::string& text_at(const Row& row, std::size_t column) { return read<std::string>(row, column, "text"); }
const std::string& blob_at(const Row& row, std::size_t column) { return read<Blob>(row, column, "bytes").bytes; }
bool null_at(const Row& row, std::size_t column) { return std::holds_alternative<std::monostate>(row.at(column)); }
Time time_at(const Row& row, std::size_t column) { return from_micros(int_at(row, column)); }
std::optional<Time> optional_time_at(const Row& row, std::size_t column) {
  if (null_at(row, column)) return std::nullopt;
  return time_at(row, column);
}

std::size_t bytes_of(const Value& v) {
  if (auto* text = std::get_if<std::string>(&v)) return sizeof(Value) + text->size();
  if (auto* blob = std::get_if<Blob>(&v)) return sizeof(Value) + blob->bytes.size();
  return sizeof(Value);
}

Result<void> check_limits(const std::vector<Statement>& unit) {
  if (unit.size() > max_unit_statements)
    return fail(Errc::too_large, "a unit of " + std::to_string(unit.size()) + " statements; " +
                                     std::to_string(max_unit_statements) + " are the limit");
  std::size_t bytes = 0;
  for (auto& statement : unit)
    for (auto& param : statement.params) bytes += bytes_of(param);
  if (bytes > max_unit_bytes)
    return fail(Errc::too_large, "a unit with " + std::to_string(bytes) + " bytes of parameters; " +
                                     std::to_string(max_unit_bytes) + " are the limit");
  return {};
}

}  // namespace mayfly
