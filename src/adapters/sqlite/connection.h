#pragma once
// One connection to a SQLite file, for one thread at a time: prepared statements kept by their text, `$n` parameters,
// SQLite's result codes as our errors.

#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ports/database.h"

struct sqlite3;
struct sqlite3_stmt;

namespace mayfly::sqlite {

/// Statements kept prepared on a connection; the one unused for longest goes first.
inline constexpr std::size_t max_prepared = 256;

class Connection final {
 public:
  struct Options {
    bool fsync = true;
    std::chrono::milliseconds busy_timeout{5000};  // for other processes on the same file
  };
  static Result<std::unique_ptr<Connection>> open(const std::string& path, Options options);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Runs one statement with its parameters and checks its expectation.
  Result<Rows> run(const Statement& statement);
  /// Like run(), and refuses a statement that would write.
  Result<Rows> read(const Statement& statement);
  /// Runs a script of ours: no parameters, no rows.
  Result<void> exec(const char* script);

  /// False outside BEGIN … COMMIT, also when SQLite itself rolled back after a grave error.
  bool in_transaction() const;
  /// Copies committed pages from the log back into the file once there are many of them.
  void checkpoint_if_due();

 private:
  struct Prepared;
  struct Use;

  explicit Connection(sqlite3* db);
  Result<Prepared*> prepare(std::string_view sql);
  Result<Rows> step_all(Prepared& prepared, const Statement& statement);
  Error error(int code, std::string_view sql) const;

  sqlite3* db_;
  int log_pages_ = 0;
  std::list<Prepared> prepared_;  // the last used first
  std::unordered_map<std::string_view, std::list<Prepared>::iterator> by_text_;
};

}  // namespace mayfly::sqlite
