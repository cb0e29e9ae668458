#include "adapters/postgres/link.h"

#include <libpq-fe.h>
#include <openssl/ssl.h>

#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <charconv>
#include <cstring>

#include "async/completion.h"

namespace mayfly::postgres {

namespace asio = boost::asio;
using Descriptor = asio::posix::basic_stream_descriptor<Loop>;

class Link::Socket final : public Descriptor {
 public:
  using Descriptor::Descriptor;
  ~Socket() {
    if (is_open()) release();  // libpq closes it
  }
};

namespace {

struct ClearResult {
  void operator()(PGresult* result) const { PQclear(result); }
};

std::unexpected<Error> too_many_bytes(std::string_view sql) {
  return fail(Errc::too_large, "database: more than " + std::to_string(max_result_bytes) + " bytes of rows from: " + shortened(sql), "read it in pages");
}

std::int64_t affected_by(std::string_view tag, const char* count) {
  for (auto verb : {"INSERT", "UPDATE", "DELETE", "MERGE"})
    if (tag.starts_with(verb)) {
      std::int64_t out = 0;
      std::from_chars(count, count + std::strlen(count), out);
      return out;
    }
  return 0;
}

}  // namespace

std::shared_ptr<Link> Link::make(Loop loop, ConnectionPtr connection, std::function<void(const Error&)> on_lost) {
  std::shared_ptr<Link> link(new Link(std::move(loop), std::move(connection), std::move(on_lost)));
  link->watch();
  return link;
}

Link::Link(Loop loop, ConnectionPtr connection, std::function<void(const Error&)> on_lost)
    : connection_(std::move(connection)),
      socket_(std::make_unique<Socket>(std::move(loop), PQsocket(connection_.get()))),
      on_lost_(std::move(on_lost)) {}

Link::~Link() { socket_.reset(); }

void Link::send(Exchange& exchange) {
  if (!up()) {
    exchange.lost = Error{Errc::unavailable, "database: the connection was lost", {}};
    return exchange.done();
  }
  if (exchanges_.empty()) moved_ = Clock::now();
  exchanges_.push_back(&exchange);
  if (!send_all(exchange)) return close(lost(connection_.get()));
  flush();
}

bool Link::send_all(const Exchange& exchange) {
  auto* connection = connection_.get();
  for (auto* statement : exchange.statements) {
    auto* name = prepare(statement->sql);
    if (!name) return false;
    parameters_.set(statement->params);
    if (!PQsendQueryPrepared(connection, name->c_str(), parameters_.count(), parameters_.values(), parameters_.lengths(), parameters_.formats(), 1))
      return false;
    steps_.push_back({Kind::execute, statement->sql});
  }
  steps_.push_back({Kind::sync});
  return PQpipelineSync(connection);
}

/// The name of the prepared statement, which may be on its way only; none when the connection fails.
const std::string* Link::prepare(std::string_view sql) {
  if (auto found = by_text_.find(sql); found != by_text_.end()) {
    prepared_.splice(prepared_.begin(), prepared_, found->second);
    return &prepared_.front().name;
  }
  auto& made = prepared_.emplace_front(std::string(sql), "m" + std::to_string(++names_given_));
  by_text_.emplace(made.sql, prepared_.begin());
  if (!PQsendPrepare(connection_.get(), made.name.c_str(), made.sql.c_str(), 0, nullptr)) return nullptr;
  steps_.push_back({Kind::prepare, sql});
  if (prepared_.size() > max_prepared) {
    auto drop = "deallocate " + prepared_.back().name;
    if (!PQsendQueryParams(connection_.get(), drop.c_str(), 0, nullptr, nullptr, nullptr, nullptr, 0)) return nullptr;
    steps_.push_back({Kind::forget});
    forget(prepared_.back().sql);
  }
  return &made.name;
}

void Link::forget(std::string_view sql) {
  auto found = by_text_.find(sql);
  if (found == by_text_.end()) return;
  auto prepared = found->second;
  by_text_.erase(found);
  prepared_.erase(prepared);
}

void Link::watch() {
  socket_->async_wait(Descriptor::wait_read, [weak = weak_from_this()](auto ec) {
    if (auto self = weak.lock(); self && !ec && self->up()) self->readable();
  });
}

void Link::readable() {
  bool alive;
  do {
    alive = PQconsumeInput(connection_.get());
    moved_ = Clock::now();
    read_replies();
    if (!up()) return;
  } while (alive && holds_decrypted_bytes());
  if (!alive) return close(ended_.value_or(lost(connection_.get())));
  flush();
  if (up()) watch();
}

/// TLS may have read more from the socket than libpq took: nothing would wake us for it.
bool Link::holds_decrypted_bytes() const {
  auto* tls = static_cast<SSL*>(PQsslStruct(connection_.get(), "OpenSSL"));
  return tls && SSL_pending(tls) > 0;
}

void Link::flush() {
  int left = PQflush(connection_.get());
  if (left < 0) return close(ended_.value_or(lost(connection_.get())));
  if (left == 0 || writing_) return;
  writing_ = true;
  socket_->async_wait(Descriptor::wait_write, [weak = weak_from_this()](auto ec) {
    auto self = weak.lock();
    if (!self || ec || !self->up()) return;
    self->writing_ = false;
    self->moved_ = Clock::now();
    self->flush();
  });
}

void Link::read_replies() {
  while (up() && !steps_.empty()) {
    auto& step = steps_.front();
    if (!std::exchange(step.begun, true) && step.kind == Kind::execute) PQsetSingleRowMode(connection_.get());
    if (PQisBusy(connection_.get())) return;
    std::unique_ptr<PGresult, ClearResult> result(PQgetResult(connection_.get()));
    if (result) take(step, result.get());
    else if (step.answered) steps_.pop_front();
    else return;
  }
}

void Link::take(Step& step, const pg_result* result) {
  step.answered = true;
  switch (PQresultStatus(result)) {
    case PGRES_PIPELINE_SYNC:
      steps_.pop_front();
      return finish_exchange();
    case PGRES_PIPELINE_ABORTED:
      if (step.kind == Kind::prepare) forget(step.sql);
      return;
    case PGRES_SINGLE_TUPLE: return take_rows(result);
    case PGRES_TUPLES_OK:
      take_rows(result);
      return finish_reply(result);
    case PGRES_COMMAND_OK:
      if (step.kind == Kind::execute) finish_reply(result);
      return;
    case PGRES_FATAL_ERROR:
    case PGRES_EMPTY_QUERY: return take_error(step, result);
    default: {  // COPY: there is no way on from here
      Error why{Errc::internal, "database: neither rows nor a count come of: " + shortened(step.sql), {}};
      if (!exchanges_.empty() && !exchanges_.front()->failure) exchanges_.front()->failure = Failure{why};
      return close({Errc::unavailable, why.message, {}});
    }
  }
}

void Link::take_error(const Step& step, const pg_result* result) {
  if (exchanges_.empty()) return;
  auto failure = PQresultStatus(result) == PGRES_EMPTY_QUERY ? Failure{{Errc::internal, "database: an empty statement", {}}} : failure_of(result, step.sql);
  if (failure.ends_session) {
    ended_ = failure.error;
    return;
  }
  if (step.kind == Kind::prepare || failure.forgotten) forget(step.sql);
  auto& exchange = *exchanges_.front();
  if (!exchange.failure) exchange.failure = std::move(failure);
  reply_ = {};
  reply_bytes_ = 0;
}

void Link::take_rows(const pg_result* result) {
  auto& exchange = *exchanges_.front();
  reply_.has_columns = true;
  int columns = PQnfields(result);
  for (int i = 0; i < PQntuples(result) && !exchange.failure; ++i) {
    auto& row = reply_.rows.rows.emplace_back();
    row.reserve(std::size_t(columns));
    for (int j = 0; j < columns; ++j) {
      auto v = column(result, i, j);
      if (v && (reply_bytes_ += bytes_of(*v)) > max_result_bytes) v = too_many_bytes(exchange.statements[exchange.replies.size()]->sql);
      if (!v) {
        exchange.failure = Failure{std::move(v).error()};
        break;
      }
      row.push_back(*std::move(v));
    }
  }
  if (exchange.failure) reply_ = {};  // the rest comes and goes unseen
}

void Link::finish_reply(const pg_result* result) {
  auto& exchange = *exchanges_.front();
  auto* command = const_cast<PGresult*>(result);  // libpq reads only
  std::string_view tag = PQcmdStatus(command);
  reply_.rows.affected = affected_by(tag, PQcmdTuples(command));
  reply_.reads = tag.starts_with("SELECT");
  if (!exchange.failure) exchange.replies.push_back(std::move(reply_));
  reply_ = {};
  reply_bytes_ = 0;
}

void Link::finish_exchange() {
  auto* exchange = exchanges_.front();
  exchanges_.pop_front();
  exchange->done();
}

void Link::close(Error why) {
  if (!up()) return;
  auto self = shared_from_this();
  socket_.reset();
  connection_.reset();
  steps_.clear();
  for (auto* exchange : std::exchange(exchanges_, {})) {
    exchange->lost = why;
    exchange->done();
  }
  if (on_lost_) on_lost_(why);
}

void Link::check(Clock::time_point now, Clock::duration limit) {
  if (!exchanges_.empty() && now - moved_ > limit)
    close({Errc::unavailable, "database: the server has not answered for " + format_duration(std::chrono::duration_cast<Duration>(now - moved_)), {}});
}

Task<void> run(Link& link, Exchange& exchange) {
  co_await completed_by([&](Done done) {
    exchange.done = std::move(done);
    link.send(exchange);
  });
}

}  // namespace mayfly::postgres
