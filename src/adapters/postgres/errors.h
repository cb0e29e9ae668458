#pragma once
// PostgreSQL's refusals as our errors. Values never come along: the server's details name them, and so do its messages about
// data that does not fit, so of those only the code is kept.

#include <string>
#include <string_view>

#include "base/result.h"

struct pg_conn;
struct pg_result;

namespace mayfly::postgres {

struct Failure {
  Error error;
  bool run_again = false;    // the same may succeed at once: a deadlock's victim, a forgotten preparation
  bool ends_session = false; // the server says good-bye
  bool read_only = false;    // the session is not on a primary, or is one for reading
  bool forgotten = false;    // the prepared statement is gone or outdated
};

/// `result` is an error.
Failure failure_of(const pg_result* result, std::string_view sql);

/// Errc::unavailable with what libpq says of a connection that is lost or was not made, in one line.
Error lost(const pg_conn* connection);

/// A text fit for a message.
std::string shortened(std::string_view sql);

}  // namespace mayfly::postgres
