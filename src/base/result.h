#pragma once
// Every expected failure in Mayfly is a value: what happened, and what to do about it. Exceptions are left for bugs
// and for cancellation (see async/scope.h).

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace mayfly {

enum class Errc {
  invalid,          // the caller's input is wrong
  not_found,
  conflict,         // a compare-and-set lost, or the thing exists already
  fenced,           // the caller acts for an attempt that is no longer current
  unauthenticated,
  forbidden,
  too_large,        // a named limit was passed
  rate_limited,
  unavailable,      // try again later; it is unknown or known that nothing happened
  timeout,          // a deadline passed; it is unknown whether it happened
  canceled,
  corrupt,          // stored bytes are not what was stored
  unsupported,      // understood, and this server cannot do it
  internal,
};

std::string_view to_string(Errc);

struct Error {
  Errc code = Errc::internal;
  std::string message;  // what happened, and where
  std::string hint;     // what to do next; may be empty

  bool operator==(const Error&) const = default;
};

template <class T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(Errc code, std::string message, std::string hint = {}) {
  return std::unexpected(Error{code, std::move(message), std::move(hint)});
}

}  // namespace mayfly

#define MAYFLY_CONCAT_(a, b) a##b
#define MAYFLY_CONCAT(a, b) MAYFLY_CONCAT_(a, b)
#define MAYFLY_TRY_(tmp, expr, ret) \
  if (auto tmp = (expr); !tmp) ret std::unexpected(std::move(tmp).error())
#define MAYFLY_TRY_ASSIGN_(tmp, target, expr, ret)            \
  auto tmp = (expr);                                          \
  if (!tmp) ret std::unexpected(std::move(tmp).error());      \
  target = *std::move(tmp)

// TRY(expr): return the error of expr, if it has one. TRY_ASSIGN(auto x, expr): the value of expr, or return its error.
// The CO_ forms do the same inside a coroutine; there `expr` may hold a co_await.
#define TRY(expr) MAYFLY_TRY_(MAYFLY_CONCAT(try_, __LINE__), expr, return)
#define TRY_ASSIGN(target, expr) MAYFLY_TRY_ASSIGN_(MAYFLY_CONCAT(try_, __LINE__), target, expr, return)
#define CO_TRY(expr) MAYFLY_TRY_(MAYFLY_CONCAT(try_, __LINE__), expr, co_return)
#define CO_TRY_ASSIGN(target, expr) MAYFLY_TRY_ASSIGN_(MAYFLY_CONCAT(try_, __LINE__), target, expr, co_return)
