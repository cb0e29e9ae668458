#pragma once
// A schema of a real PostgreSQL for one test, gone with it; and a server of the test's own, for what cannot be done to one that
// others use.

#include <cstdint>
#include <memory>
#include <string>

#include "support/temp_dir.h"

struct pg_conn;

namespace mayfly {

/// The server that scripts/servers started, or empty: then a test skips with `how_to_have_postgres`.
std::string test_postgres();
inline constexpr const char* how_to_have_postgres =
    "MAYFLY_TEST_POSTGRES is not set: scripts/servers up postgres && eval \"$(scripts/servers env)\"";

/// A session beside the ones under test, which waits. Throws std::runtime_error on any failure.
class PostgresSession final {
 public:
  explicit PostgresSession(const std::string& url);
  ~PostgresSession();
  PostgresSession(const PostgresSession&) = delete;
  PostgresSession& operator=(const PostgresSession&) = delete;

  /// The script's last result: its lines, columns separated by '|'.
  std::string run(const std::string& script);

 private:
  pg_conn* connection_;
};

class PostgresSchema final {
 public:
  /// In the server of this URL.
  explicit PostgresSchema(const std::string& server = test_postgres());
  ~PostgresSchema();
  PostgresSchema(const PostgresSchema&) = delete;
  PostgresSchema& operator=(const PostgresSchema&) = delete;

  /// Whoever connects with it lives in the schema; `application` names its sessions for pg_stat_activity.
  std::string url(const std::string& application = "mayfly") const;
  const std::string& name() const { return name_; }

 private:
  std::string server_, name_;
};

/// By scripts/servers, in a folder of its own. Needs Debian's package postgresql.
class PostgresServer final {
 public:
  PostgresServer();
  ~PostgresServer();
  PostgresServer(const PostgresServer&) = delete;
  PostgresServer& operator=(const PostgresServer&) = delete;

  const std::string& url() const { return url_; }
  void kill() { run("kill postgres"); }
  void stop() { run("stop postgres"); }
  void start() { run("start postgres"); }

 private:
  void run(const std::string& what);

  TempDir folder_;
  std::string url_;
};

}  // namespace mayfly
