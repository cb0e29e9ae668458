#include "support/postgres.h"

#include <libpq-fe.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <stdexcept>

namespace mayfly {
namespace {

std::string with(const std::string& url, const std::string& parameter) { return url + (url.find('?') == url.npos ? "?" : "&") + parameter; }

}  // namespace

std::string test_postgres() {
  auto* url = std::getenv("MAYFLY_TEST_POSTGRES");
  return url ? url : "";
}

PostgresSession::PostgresSession(const std::string& url) : connection_(PQconnectdb(url.c_str())) {
  if (PQstatus(connection_) != CONNECTION_OK) {
    std::string why = PQerrorMessage(connection_);
    PQfinish(connection_);
    throw std::runtime_error(why);
  }
  PQsetNoticeReceiver(connection_, [](void*, const PGresult*) {}, nullptr);
}

PostgresSession::~PostgresSession() { PQfinish(connection_); }

std::string PostgresSession::run(const std::string& script) {
  std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(connection_, script.c_str()), PQclear);
  auto status = PQresultStatus(result.get());
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) throw std::runtime_error(script + ": " + PQerrorMessage(connection_));
  std::string out;
  for (int i = 0; i < PQntuples(result.get()); ++i) {
    if (i > 0) out += '\n';
    for (int j = 0; j < PQnfields(result.get()); ++j) (j > 0 ? out += '|' : out) += PQgetvalue(result.get(), i, j);
  }
  return out;
}

PostgresSchema::PostgresSchema(const std::string& server) : server_(server) {
  static int made = 0;
  name_ = "mayfly_test_" + std::to_string(::getpid()) + "_" + std::to_string(++made);
  PostgresSession(server_).run("create schema " + name_);
}

PostgresSchema::~PostgresSchema() {
  try {
    PostgresSession(server_).run("drop schema " + name_ + " cascade");
  } catch (const std::runtime_error&) {  // its server is gone: so is the schema
  }
}

std::string PostgresSchema::url(const std::string& application) const {
  return with(with(server_, "options=-csearch_path%3D" + name_), "application_name=" + application);
}

PostgresServer::PostgresServer() {
  run("up postgres");
  std::ifstream file(folder_.file("servers/env"));
  for (std::string line; std::getline(file, line);)
    if (auto is = line.find('='); line.substr(0, is) == "MAYFLY_TEST_POSTGRES") url_ = line.substr(is + 1);
  if (url_.empty()) throw std::runtime_error("scripts/servers started no PostgreSQL");
}

PostgresServer::~PostgresServer() {
  try {
    run("down");
  } catch (const std::runtime_error&) {
  }
}

void PostgresServer::run(const std::string& what) {
  auto command = std::string(MAYFLY_SOURCE_DIR "/scripts/servers --dir ") + folder_.file("servers") + " " + what + " >/dev/null 2>&1";
  if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);
}

}  // namespace mayfly
