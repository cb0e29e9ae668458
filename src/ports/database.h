#pragma once
// The truth. One SQL text for every database: `$1` parameters, text ids, bigint microseconds for instants, no vendor
// types. A unit of work is a list of statements handed over whole, so that an adapter may pipeline it, and may carry many
// units in one physical transaction with one fsync (group commit), while each unit stays atomic by itself.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "async/task.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/text.h"
#include "base/time.h"

namespace mayfly {

struct Blob {
  std::string bytes;
  bool operator==(const Blob&) const = default;
};

/// null, bigint, text, bytea.
using Value = std::variant<std::monostate, std::int64_t, std::string, Blob>;

template <std::integral T>  // bool too
Value value(T n) {
  return std::int64_t(n);
}
inline Value value(std::nullptr_t) { return {}; }
inline Value value(Value v) { return v; }
/// Text is stored as clean_text() makes it, on every database: bytes that have to stay as they are go as a Blob.
inline Value value(std::string s) { return clean_text(std::move(s)); }
inline Value value(std::string_view s) { return clean_text(std::string(s)); }
inline Value value(const char* s) { return clean_text(s); }
inline Value value(Time t) { return to_micros(t); }
inline Value value(Fence f) { return f.value; }
inline Value value(Blob b) { return b; }
template <class Tag>
Value value(const Id<Tag>& id) {
  return id.str();
}
template <class T>
Value value(const std::optional<T>& v) {
  return v ? value(*v) : Value{};
}

using Row = std::vector<Value>;

struct Rows {
  std::vector<Row> rows;
  std::int64_t affected = 0;  // rows inserted, updated or deleted
};

// Typed reads of a column; null reads as empty/0. A wrong type is a bug in a query.
std::int64_t int_at(const Row&, std::size_t column);
const std::string& text_at(const Row&, std::size_t column);
const std::string& blob_at(const Row&, std::size_t column);
bool null_at(const Row&, std::size_t column);
Time time_at(const Row&, std::size_t column);
std::optional<Time> optional_time_at(const Row&, std::size_t column);
template <class T>
T id_at(const Row& row, std::size_t column) {
  return T::parse(text_at(row, column)).value_or(T{});
}

struct Statement {
  std::string_view sql;  // a named constant; lives as long as the program
  std::vector<Value> params;
  /// The unit is rolled back with Errc::conflict unless exactly this many rows were affected by an INSERT, UPDATE or
  /// DELETE, or returned by a SELECT.
  std::optional<std::int64_t> expect{};
};

template <class... P>
Statement statement(std::string_view sql, P&&... params) {
  return Statement{sql, {value(std::forward<P>(params))...}};
}

/// Like statement(), and the unit stands or falls with exactly one row being affected: the compare-and-set form.
template <class... P>
Statement expect_one(std::string_view sql, P&&... params) {
  return Statement{sql, {value(std::forward<P>(params))...}, 1};
}

inline constexpr std::size_t max_unit_statements = 10'000;
inline constexpr std::size_t max_unit_bytes = 64 << 20;    // of parameters; past either: Errc::too_large
inline constexpr std::size_t max_result_bytes = 64 << 20;  // of one statement's rows; past it: Errc::too_large

/// Errc::too_large when the unit passes a limit: what every adapter asks before it takes one.
Result<void> check_limits(const std::vector<Statement>& unit);

/// The bytes a value holds, as the limits count them.
std::size_t bytes_of(const Value&);

class Database {
 public:
  virtual ~Database() = default;

  /// One read. Sees every transaction that was acknowledged before it was called. Errc::conflict: an expectation failed.
  virtual Task<Result<Rows>> query(Statement) = 0;

  /// All statements or none, durable when it returns; the rows of each. Errc::conflict: an expectation, or a unique or
  /// foreign key, failed and nothing happened. Errc::unavailable: nothing happened, try again. Errc::timeout: it is not
  /// known whether it happened. Errc::internal: a statement is wrong (its text, its parameters, a check or not-null
  /// constraint) and nothing happened.
  virtual Task<Result<std::vector<Rows>>> transact(std::vector<Statement> unit) = 0;
};

/// A numbered step of the schema; applied once, in order, never changed after it has been released. An adapter is opened
/// with the whole list: it applies what is missing under a lock, each in a transaction of its own, and checks what was
/// applied before by checksum.
struct Migration {
  std::int64_t number;  // 1, 2, 3, …
  std::string_view name;
  std::string_view sql;  // statements separated by ';'
};

}  // namespace mayfly
