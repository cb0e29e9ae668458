#include "adapters/sqlite/connection.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

namespace mayfly::sqlite {
namespace {

/// Pages of 4 KiB in the write-ahead log before they are copied back.
constexpr int checkpoint_pages = 2000;

constexpr const char settings[] =
    "PRAGMA journal_mode = WAL;"
    "PRAGMA foreign_keys = ON;"
    "PRAGMA temp_store = MEMORY;"
    "PRAGMA cache_size = -8192;"
    "PRAGMA journal_size_limit = 67108864;";

Errc errc_of(int code) {
  switch (code & 0xff) {
    case SQLITE_CONSTRAINT:
      switch (code) {
        case SQLITE_CONSTRAINT_UNIQUE:
        case SQLITE_CONSTRAINT_PRIMARYKEY:
        case SQLITE_CONSTRAINT_ROWID:
        case SQLITE_CONSTRAINT_FOREIGNKEY: return Errc::conflict;
        default: return Errc::internal;
      }
    case SQLITE_IOERR:
      // The commit may be on the disk or not; whoever opens the file next decides.
      if (code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC) return Errc::timeout;
      return Errc::unavailable;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_NOMEM:
    case SQLITE_READONLY:
    case SQLITE_FULL:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_INTERRUPT: return Errc::unavailable;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return Errc::corrupt;
    case SQLITE_TOOBIG: return Errc::too_large;
    default: return Errc::internal;
  }
}

std::string hint_of(int code) {
  switch (code & 0xff) {
    case SQLITE_FULL: return "the disk is full: make room, the server goes on by itself";
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN: return "check that the folder exists and that this user may write to it";
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return "restore the database from a backup";
    default: return {};
  }
}

// The file holds hashes of tokens and sealed secrets: nobody else reads it. SQLite gives -wal and -shm the same mode.
Result<void> create_private(const std::string& path) {
  int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 && errno != EACCES && errno != EROFS)
    return fail(Errc::unavailable, "database " + path + ": " + std::strerror(errno), hint_of(SQLITE_CANTOPEN));
  if (fd >= 0) ::close(fd);
  return {};
}

std::string shortened(std::string_view sql) {
  constexpr std::size_t shown = 120;
  return sql.size() <= shown ? std::string(sql) : std::string(sql.substr(0, shown)) + "…";
}

void bind(sqlite3_stmt* stmt, int index, const Value& v) {
  // The parameters outlive the statement's run, so SQLite need not copy them.
  if (auto* n = std::get_if<std::int64_t>(&v)) sqlite3_bind_int64(stmt, index, *n);
  else if (auto* text = std::get_if<std::string>(&v))
    sqlite3_bind_text64(stmt, index, text->data(), text->size(), SQLITE_STATIC, SQLITE_UTF8);
  else if (auto* blob = std::get_if<Blob>(&v)) {
    // A null pointer would bind NULL.
    auto* bytes = blob->bytes.empty() ? "" : blob->bytes.data();
    sqlite3_bind_blob64(stmt, index, bytes, blob->bytes.size(), SQLITE_STATIC);
  } else {
    sqlite3_bind_null(stmt, index);
  }
}

Result<Value> column(sqlite3_stmt* stmt, int i) {
  auto bytes = [&](const void* data) { return std::string(static_cast<const char*>(data), std::size_t(sqlite3_column_bytes(stmt, i))); };
  switch (sqlite3_column_type(stmt, i)) {
    case SQLITE_NULL: return Value{};
    case SQLITE_INTEGER: return Value{std::int64_t(sqlite3_column_int64(stmt, i))};
    case SQLITE_TEXT: return Value{bytes(sqlite3_column_text(stmt, i))};
    case SQLITE_BLOB: {
      auto* data = sqlite3_column_blob(stmt, i);
      return Value{Blob{data ? bytes(data) : std::string()}};
    }
    default:
      return fail(Errc::internal, std::string("column ") + sqlite3_column_name(stmt, i) + " is a floating-point number",
                  "cast it to bigint or text in the query");
  }
}

}  // namespace

struct Connection::Prepared {
  sqlite3_stmt* stmt;
  std::vector<std::size_t> number_at;  // SQLite's index - 1 → n of `$n`, from 0
  std::size_t parameters = 0;

  Prepared(sqlite3_stmt* s) : stmt(s) {}
  ~Prepared() { sqlite3_finalize(stmt); }
  Prepared(const Prepared&) = delete;
  Prepared& operator=(const Prepared&) = delete;

  std::string_view text() const { return sqlite3_sql(stmt); }

  /// False unless the parameters are $1 … $n without a gap.
  bool number_parameters() {
    std::size_t count = std::size_t(sqlite3_bind_parameter_count(stmt));
    std::vector<bool> seen(count);
    for (std::size_t i = 1; i <= count; ++i) {
      const char* named = sqlite3_bind_parameter_name(stmt, int(i));
      std::string_view name = named ? named : "";
      std::size_t n = 0;
      if (!name.starts_with('$')) return false;
      auto [end, ec] = std::from_chars(name.data() + 1, name.data() + name.size(), n);
      if (ec != std::errc{} || end != name.data() + name.size() || n < 1 || n > count || seen[n - 1]) return false;
      seen[n - 1] = true;
      number_at.push_back(n - 1);
    }
    parameters = count;
    return true;
  }
};

/// One run of a prepared statement: whatever happens, it is reset and holds no pointers into the caller's values after.
struct Connection::Use {
  sqlite3_stmt* stmt;
  ~Use() {
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
  }
};

Result<std::unique_ptr<Connection>> Connection::open(const std::string& path, Options options) {
  bool in_memory = path == ":memory:";
  if (!in_memory) TRY(create_private(path));
  sqlite3* db = nullptr;
  int rc = sqlite3_open_v2(path.c_str(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nullptr);
  std::unique_ptr<Connection> connection(new Connection(db));
  if (rc != SQLITE_OK)
    return fail(errc_of(rc), "database " + path + ": " + (db ? sqlite3_errmsg(db) : "out of memory"), hint_of(rc));
  sqlite3_busy_timeout(db, int(options.busy_timeout.count()));
  for (const char* script : {settings, options.fsync ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = OFF"})
    if (auto done = connection->exec(script); !done) {
      auto e = std::move(done).error();
      return fail(e.code, "database " + path + ": " + e.message, e.hint);
    }
  // In place of SQLite's own hook, which would make the committing thread pay before it has answered.
  sqlite3_wal_hook(
      db,
      [](void* self, sqlite3*, const char*, int pages) {
        static_cast<Connection*>(self)->log_pages_ = pages;
        return SQLITE_OK;
      },
      connection.get());
  return connection;
}

Connection::Connection(sqlite3* db) : db_(db) {}

Connection::~Connection() {
  by_text_.clear();
  prepared_.clear();
  sqlite3_close(db_);
}

Error Connection::error(int code, std::string_view sql) const {
  return {errc_of(code), std::string("database: ") + sqlite3_errmsg(db_) + " in: " + shortened(sql), hint_of(code)};
}

Result<void> Connection::exec(const char* script) {
  int rc = sqlite3_exec(db_, script, nullptr, nullptr, nullptr);
  if (rc != SQLITE_OK) return std::unexpected(error(rc, script));
  return {};
}

Result<Connection::Prepared*> Connection::prepare(std::string_view sql) {
  if (auto found = by_text_.find(sql); found != by_text_.end()) {
    prepared_.splice(prepared_.begin(), prepared_, found->second);
    return &prepared_.front();
  }
  sqlite3_stmt* stmt = nullptr;
  const char* rest = nullptr;
  int rc = sqlite3_prepare_v3(db_, sql.data(), int(sql.size()), SQLITE_PREPARE_PERSISTENT, &stmt, &rest);
  if (rc != SQLITE_OK) return std::unexpected(error(rc, sql));
  if (!stmt) return fail(Errc::internal, "database: an empty statement");
  auto& made = prepared_.emplace_front(stmt);
  auto drop = [&](std::string why) {
    prepared_.pop_front();
    return fail(Errc::internal, "database: " + why + " in: " + shortened(sql));
  };
  auto tail = sql.substr(std::size_t(rest - sql.data()));
  if (tail.find_first_not_of(" \t\r\n;") != tail.npos) return drop("more than one statement");
  if (!made.number_parameters()) return drop("parameters other than $1, $2, … without a gap");
  by_text_.emplace(made.text(), prepared_.begin());
  if (prepared_.size() > max_prepared) {
    by_text_.erase(prepared_.back().text());
    prepared_.pop_back();
  }
  return &made;
}

Result<Rows> Connection::run(const Statement& statement) {
  TRY_ASSIGN(auto* prepared, prepare(statement.sql));
  return step_all(*prepared, statement);
}

Result<Rows> Connection::read(const Statement& statement) {
  TRY_ASSIGN(auto* prepared, prepare(statement.sql));
  if (!sqlite3_stmt_readonly(prepared->stmt))
    return fail(Errc::internal, "database: query() was given a statement that writes: " + shortened(statement.sql),
                "hand it to transact()");
  return step_all(*prepared, statement);
}

Result<Rows> Connection::step_all(Prepared& prepared, const Statement& statement) {
  auto* stmt = prepared.stmt;
  if (statement.params.size() != prepared.parameters)
    return fail(Errc::internal, "database: " + std::to_string(statement.params.size()) + " parameters for the " +
                                    std::to_string(prepared.parameters) + " in: " + shortened(statement.sql));
  Use use{stmt};
  for (std::size_t i = 0; i < prepared.number_at.size(); ++i)
    bind(stmt, int(i) + 1, statement.params[prepared.number_at[i]]);

  Rows out;
  auto changes_before = sqlite3_total_changes64(db_);
  int columns = sqlite3_column_count(stmt), rc;
  std::size_t bytes = 0;
  while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
    auto& row = out.rows.emplace_back();
    row.reserve(std::size_t(columns));
    for (int i = 0; i < columns; ++i) {
      TRY_ASSIGN(auto v, column(stmt, i));
      bytes += bytes_of(v);
      row.push_back(std::move(v));
    }
    if (bytes > max_result_bytes)
      return fail(Errc::too_large,
                  "database: more than " + std::to_string(max_result_bytes) + " bytes of rows from: " + shortened(statement.sql),
                  "read it in pages");
  }
  if (rc != SQLITE_DONE) return std::unexpected(error(rc, statement.sql));

  bool reads = sqlite3_stmt_readonly(stmt);
  // Statements that define tables leave the last count standing.
  if (!reads && sqlite3_total_changes64(db_) != changes_before) out.affected = sqlite3_changes64(db_);
  auto found = reads ? std::int64_t(out.rows.size()) : out.affected;
  if (statement.expect && found != *statement.expect)
    return fail(Errc::conflict, "database: " + std::to_string(found) + " rows where " + std::to_string(*statement.expect) +
                                    " were expected of: " + shortened(statement.sql));
  return out;
}

bool Connection::in_transaction() const { return !sqlite3_get_autocommit(db_); }

void Connection::checkpoint_if_due() {
  if (log_pages_ < checkpoint_pages) return;
  log_pages_ = 0;
  // A failure leaves the pages in the log, where they are as durable; the next commits try again.
  sqlite3_wal_checkpoint_v2(db_, nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
}

}  // namespace mayfly::sqlite
