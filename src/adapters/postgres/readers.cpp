#include "adapters/postgres/readers.h"

#include <algorithm>

namespace mayfly::postgres {
namespace {

/// Of one connection at a time: more would only make a quick question wait for slow ones.
constexpr std::size_t max_pipelined = 8;
/// When its connection ends, or a preparation is outdated. The sessions of a whole pool may end at once, and be found out one
/// by one.
constexpr std::size_t max_tries_beside_connections = 2;

}  // namespace

Readers::Readers(Loop loop, Connector& connector, SessionSettings settings, unsigned connections, std::size_t max_waiting, std::chrono::milliseconds patience)
    : max_waiting_(max_waiting), patience_(patience) {
  settings.reads_only = true;
  for (unsigned i = 0; i < connections; ++i) slots_.push_back(Slot::make(loop, connector, settings, [this] { pump(); }));
}

Readers::~Readers() {
  for (auto& slot : slots_) slot->stop();
}

bool Readers::ask(Read& read) {
  if (waiting_.size() >= max_waiting_) return false;
  waiting_.push_back(&read);
  pump();
  return true;
}

void Readers::pump() {
  while (!waiting_.empty()) {
    auto* link = least_busy();
    if (!link) return refuse_the_impatient();
    auto* read = waiting_.front();
    waiting_.pop_front();
    send(*link, *read);
  }
}

Link* Readers::least_busy() const {
  Link* best = nullptr;
  for (auto& slot : slots_)
    if (auto* link = slot->link().get(); link && link->up() && link->exchanges() < (best ? best->exchanges() : max_pipelined)) best = link;
  return best;
}

void Readers::send(Link& link, Read& read) {
  ++read.tries;
  read.exchange = {};
  read.exchange.statements.push_back(&read.statement);
  read.exchange.done = [this, &read] { answered(read); };
  link.send(read.exchange);
}

void Readers::answered(Read& read) {
  auto& exchange = read.exchange;
  bool again = exchange.lost ? !exchange.failure : exchange.failure && exchange.failure->run_again;
  if (again && read.tries < slots_.size() + max_tries_beside_connections) {
    waiting_.push_front(&read);
    return pump();
  }
  if (exchange.failure) answer(read, std::unexpected(exchange.failure->error));
  else if (exchange.lost) answer(read, std::unexpected(*exchange.lost));
  else {
    auto& reply = exchange.replies.front();
    auto found = reply.reads ? std::int64_t(reply.rows.rows.size()) : reply.rows.affected;
    if (read.statement.expect && found != *read.statement.expect)
      answer(read, fail(Errc::conflict, "database: " + std::to_string(found) + " rows where " + std::to_string(*read.statement.expect) +
                                            " were expected of: " + shortened(read.statement.sql)));
    else answer(read, std::move(reply.rows));
  }
  pump();
}

void Readers::answer(Read& read, Result<Rows> result) {
  read.result = std::move(result);
  auto done = std::move(read.done);
  done();
}

void Readers::refuse_the_impatient() {
  auto connected = [](auto& slot) { return slot->link() != nullptr; };
  if (std::ranges::any_of(slots_, connected)) return;
  auto now = Slot::Clock::now();
  auto& last = *std::ranges::max_element(slots_, {}, [](auto& slot) { return slot->down_since(); });
  while (!waiting_.empty() && (now - waiting_.front()->since > patience_ || now - last->down_since() > patience_)) {
    auto* read = waiting_.front();
    waiting_.pop_front();
    answer(*read, std::unexpected(last->why()));
  }
}

}  // namespace mayfly::postgres
