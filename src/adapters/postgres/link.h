#pragma once
// One connection in libpq's pipeline mode, its socket on the loop. Statements are prepared once, by their text, and everything
// of an exchange is sent at once; many exchanges may be under way.

#include <chrono>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "adapters/postgres/errors.h"
#include "adapters/postgres/session.h"
#include "adapters/postgres/values.h"
#include "ports/database.h"

namespace mayfly::postgres {

/// Statements kept prepared on a connection; the one unused for longest goes first.
inline constexpr std::size_t max_prepared = 256;

struct Reply {
  Rows rows;
  bool reads = false;       // it came from a SELECT: it is the rows that count
  bool has_columns = false;
};

/// Statements that are sent together. The first that fails takes those behind it along, up to the end of the exchange.
struct Exchange {
  std::vector<const Statement*> statements;  // live until `done`, which comes exactly once
  std::move_only_function<void()> done;

  std::vector<Reply> replies;      // of those that succeeded, in order
  std::optional<Failure> failure;  // of statements[replies.size()]
  std::optional<Error> lost;       // the connection ended; what was not answered by then may have happened or not
};

class Link final : public std::enable_shared_from_this<Link> {
 public:
  using Clock = std::chrono::steady_clock;

  /// `on_lost` comes once, when the connection has ended and every exchange was told.
  static std::shared_ptr<Link> make(Loop loop, ConnectionPtr connection, std::function<void(const Error&)> on_lost);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  bool up() const { return connection_ != nullptr; }
  std::size_t exchanges() const { return exchanges_.size(); }
  /// A link that is down answers at once.
  void send(Exchange& exchange);
  /// Ends the connection; exchanges under way are lost.
  void close(Error why);
  /// Gives a connection up on which nothing has moved for `limit` though something is asked.
  void check(Clock::time_point now, Clock::duration limit);

 private:
  enum class Kind { prepare, execute, forget, sync };
  struct Step {
    Kind kind;
    std::string_view sql{};
    bool begun = false;
    bool answered = false;
  };
  struct Prepared {
    std::string sql, name;
  };
  class Socket;

  Link(Loop loop, ConnectionPtr connection, std::function<void(const Error&)> on_lost);
  bool send_all(const Exchange& exchange);
  const std::string* prepare(std::string_view sql);
  void forget(std::string_view sql);
  void watch();
  void readable();
  void flush();
  void read_replies();
  void take(Step& step, const pg_result* result);
  void take_error(const Step& step, const pg_result* result);
  void take_rows(const pg_result* result);
  void finish_reply(const pg_result* result);
  void finish_exchange();
  bool holds_decrypted_bytes() const;

  ConnectionPtr connection_;  // none when down
  std::unique_ptr<Socket> socket_;
  std::function<void(const Error&)> on_lost_;
  std::deque<Exchange*> exchanges_;
  std::deque<Step> steps_;
  Reply reply_;                 // of the step that is being answered
  std::size_t reply_bytes_ = 0;
  std::optional<Error> ended_;  // what the server said on its way out
  bool writing_ = false;
  Clock::time_point moved_ = Clock::now();
  Parameters parameters_;
  std::list<Prepared> prepared_;  // the last used first
  std::unordered_map<std::string_view, std::list<Prepared>::iterator> by_text_;
  std::size_t names_given_ = 0;
};

/// Sends the exchange and comes back when it is done. Not ended by a cancellation.
Task<void> run(Link& link, Exchange& exchange);

}  // namespace mayfly::postgres
