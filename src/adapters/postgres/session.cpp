#include "adapters/postgres/session.h"

#include <libpq-fe.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "adapters/postgres/values.h"

namespace mayfly::postgres {
namespace {

struct ClearResult {
  void operator()(PGresult* result) const { PQclear(result); }
};
using ResultPtr = std::unique_ptr<PGresult, ClearResult>;

// A vanished server is noticed after seconds, not after the two hours of the kernel's own keepalive.
constexpr std::pair<const char*, const char*> unless_in_url[] = {
    {"keepalives_idle", "10"}, {"keepalives_interval", "5"},         {"keepalives_count", "3"},
    {"tcp_user_timeout", "15000"}, {"target_session_attrs", "primary"}, {"fallback_application_name", "mayfly"},
};

void ignore_notice(void*, const PGresult*) {}

Result<Rows> rows_of(const PGresult* result) {
  Rows out;
  for (int i = 0; i < PQntuples(result); ++i) {
    auto& row = out.rows.emplace_back();
    for (int j = 0; j < PQnfields(result); ++j) {
      TRY_ASSIGN(auto v, column(result, i, j));
      row.push_back(std::move(v));
    }
  }
  return out;
}

}  // namespace

void Finish::operator()(pg_conn* connection) const { PQfinish(connection); }

Interrupt::Interrupt() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
Interrupt::~Interrupt() { ::close(fd_); }
void Interrupt::raise() { (void)!::eventfd_write(fd_, 1); }

Result<Session> Session::connect(const std::string& url, const Interrupt* interrupt, Clock::time_point deadline) {
  char* wrong = nullptr;
  auto* parsed = PQconninfoParse(url.c_str(), &wrong);
  PQfreemem(wrong);  // it may quote the password
  if (!parsed) return fail(Errc::invalid, "the database's URL cannot be read", "write postgresql://USER:PASSWORD@HOST:PORT/DATABASE");
  PQconninfoFree(parsed);

  std::vector<const char*> keys, values;
  auto add = [&](const char* key, const char* value) { keys.push_back(key), values.push_back(value); };
  for (auto [key, value] : unless_in_url) add(key, value);
  add("dbname", url.c_str());
  add("client_encoding", "UTF8");
  add(nullptr, nullptr);
  ConnectionPtr connection(PQconnectStartParams(keys.data(), values.data(), 1));
  if (!connection) return fail(Errc::unavailable, "database: out of memory");
  PQsetNoticeReceiver(connection.get(), ignore_notice, nullptr);
  Session session(std::move(connection), interrupt, deadline);
  TRY(session.finish_connecting());
  return session;
}

Result<void> Session::finish_connecting() {
  auto* connection = connection_.get();
  if (PQstatus(connection) == CONNECTION_BAD) return std::unexpected(lost(connection));
  for (auto next = PGRES_POLLING_WRITING; next != PGRES_POLLING_OK; next = PQconnectPoll(connection)) {
    if (next == PGRES_POLLING_FAILED) return std::unexpected(lost(connection));
    TRY(wait(next == PGRES_POLLING_WRITING));
  }
  return {};
}

Result<void> Session::wait(bool for_write) {
  auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - Clock::now()).count();
  int timeout = deadline_ == Clock::time_point::max() ? -1 : int(std::clamp<std::int64_t>(left, 0, 1 << 30));
  pollfd fds[] = {{PQsocket(connection_.get()), short(for_write ? POLLOUT : POLLIN), 0}, {interrupt_ ? interrupt_->fd() : -1, POLLIN, 0}};
  int ready;
  do ready = ::poll(fds, 2, timeout);
  while (ready < 0 && errno == EINTR);
  if (fds[1].revents) return fail(Errc::canceled, "database: connecting was broken off");
  if (ready == 0) return fail(Errc::timeout, "database: no answer in time");
  return {};
}

Result<Rows> Session::run(const std::string& sql, const std::vector<Value>& params) {
  auto* connection = connection_.get();
  Parameters parameters;
  parameters.set(params);
  // Scripts of many statements go by the simple protocol, which knows neither parameters nor binary results.
  int sent = params.empty() ? PQsendQuery(connection, sql.c_str())
                            : PQsendQueryParams(connection, sql.c_str(), parameters.count(), nullptr, parameters.values(), parameters.lengths(),
                                                parameters.formats(), 1);
  if (!sent) return std::unexpected(lost(connection));
  Result<Rows> out;
  for (;;) {
    for (bool more; (more = PQflush(connection) == 1);) TRY(wait(true));
    while (PQisBusy(connection)) {
      TRY(wait(false));
      if (!PQconsumeInput(connection)) return std::unexpected(lost(connection));
    }
    ResultPtr result(PQgetResult(connection));
    if (!result) return out;
    auto status = PQresultStatus(result.get());
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
      if (out) out = std::unexpected(failure_of(result.get(), sql).error);
    } else if (out && PQbinaryTuples(result.get())) {
      out = rows_of(result.get());
    }
  }
}

Result<ConnectionPtr> connect(const std::string& url, const SessionSettings& settings, const Interrupt* interrupt,
                              std::chrono::milliseconds timeout) {
  TRY_ASSIGN(auto session, Session::connect(url, interrupt, Session::Clock::now() + timeout));
  auto set = [](const char* name, std::chrono::milliseconds value) { return std::string("set ") + name + " = " + std::to_string(value.count()) + ";"; };
  auto script = set("statement_timeout", settings.statement_timeout) + set("lock_timeout", settings.lock_timeout) +
                set("idle_in_transaction_session_timeout", settings.idle_in_transaction_timeout) +
                "set jit = off; set client_min_messages = error;"
                // What is acknowledged is durable, whatever the server's default.
                "select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off';"
                // A webhook's 8 KB cost the server 40 us so, and 126 us the way that is its default.
                "select set_config(name, 'lz4', false) from pg_settings where name = 'default_toast_compression' and 'lz4' = any (enumvals);";
  if (settings.reads_only) script += "set default_transaction_read_only = on;";
  TRY(session.run(script));
  auto connection = session.release();
  if (PQsetnonblocking(connection.get(), 1) != 0 || !PQenterPipelineMode(connection.get())) return std::unexpected(lost(connection.get()));
  return connection;
}

}  // namespace mayfly::postgres
