#include "adapters/postgres/errors.h"

#include <libpq-fe.h>

#include <algorithm>
#include <array>

namespace mayfly::postgres {
namespace {

// The SQLSTATEs that mean something of their own to us (PostgreSQL's manual, appendix A).
constexpr std::string_view unique_violation = "23505", foreign_key_violation = "23503", exclusion_violation = "23P01";
constexpr std::string_view read_only_transaction = "25006", query_canceled = "57014";
constexpr std::array<std::string_view, 3> contention{"40001", "40P01", "55P03"};  // serialization, deadlock, lock timeout
constexpr std::array<std::string_view, 2> forgotten{"26000", "0A000"};            // no such preparation, its plan is outdated

bool is_one_of(std::string_view state, auto& list) { return std::ranges::find(list, state) != list.end(); }

Errc errc_of(std::string_view state) {
  if (state == unique_violation || state == foreign_key_violation || state == exclusion_violation) return Errc::conflict;
  if (is_one_of(state, contention) || state == query_canceled) return Errc::unavailable;
  auto kind = state.substr(0, 2);
  if (kind == "XX") return state == "XX000" ? Errc::internal : Errc::corrupt;
  if (kind == "54") return Errc::too_large;
  for (auto passing : {"08", "28", "3D", "53", "57", "58"})
    if (kind == passing && state != "08P01") return Errc::unavailable;
  return Errc::internal;
}

std::string hint_of(std::string_view state) {
  if (state == query_canceled) return "it took longer than a statement may: see statement_timeout";
  if (state == "53100") return "the server's disk is full: make room, mayfly goes on by itself";
  if (state == "53300") return "raise max_connections, or lower the readers and writers of each process";
  if (state == read_only_transaction) return "hand what writes to transact(); and let the URL name the primary";
  return {};
}

std::string_view first_line(const char* text) {
  std::string_view line = text ? text : "";
  return line.substr(0, line.find('\n'));
}

}  // namespace

std::string shortened(std::string_view sql) {
  constexpr std::size_t shown = 120;
  std::string out;
  for (char c : sql.substr(0, shown))
    if (c != '\n' || !out.empty()) out += c == '\n' ? ' ' : c;
  return sql.size() <= shown ? out : out + "…";
}

Failure failure_of(const pg_result* result, std::string_view sql) {
  auto field = [&](int code) { return first_line(PQresultErrorField(result, code)); };
  auto state = field(PG_DIAG_SQLSTATE), severity = field(PG_DIAG_SEVERITY_NONLOCALIZED), message = field(PG_DIAG_MESSAGE_PRIMARY);
  bool about_values = state.starts_with("22");
  std::string what = about_values ? "a parameter does not fit" : std::string(message.empty() ? first_line(PQresultErrorMessage(result)) : message);
  Failure out{{errc_of(state), "database: " + what + (state.empty() ? "" : " (" + std::string(state) + ")") + " in: " + shortened(sql), hint_of(state)}};
  out.ends_session = severity == "FATAL" || severity == "PANIC" || state.empty();
  out.read_only = state == read_only_transaction;
  out.forgotten = is_one_of(state, forgotten) && (state == "26000" || message.starts_with("cached plan"));
  out.run_again = out.forgotten || is_one_of(state, contention);
  return out;
}

Error lost(const pg_conn* connection) {
  auto why = first_line(PQerrorMessage(connection));
  return {Errc::unavailable, "database: " + (why.empty() ? "the connection was lost" : std::string(why)), "mayfly connects again by itself"};
}

}  // namespace mayfly::postgres
