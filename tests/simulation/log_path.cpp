#include "simulation/log_path.h"

#include <algorithm>
#include <map>

#include "domain/logs/frame.h"
#include "roles/schema.h"
#include "simulation/log_nodes.h"
#include "simulation/memory_blobs.h"
#include "support/run.h"
#include "support/seeded_entropy.h"
#include "support/test_database.h"
#include "support/virtual_clock.h"

namespace mayfly::simulation {
namespace {

using namespace std::chrono_literals;

constexpr int gateways = 2, aggregators = 2;
constexpr Duration session = 2s;          // of a bus' member that is not heard of
constexpr Duration patience = 30min;      // for everything to have ended, once all is calm

constexpr std::string_view all_chunks = "select attempt_id, first_offset, length from log_chunks order by attempt_id, first_offset";

/// A log as its runner knows it.
struct Written {
  AttemptId attempt;
  std::string text;
  bool ended = false;
};

class LogWorld {
 public:
  LogWorld(std::uint64_t seed, const LogFaults& faults)
      : faults_(faults), chance_(seed, faults.world), entropy_(seed + 1), loop_(clock_), truth_(make_test_database(schema())), bus_(clock_, chance_, faults_),
        cache_(clock_, chance_, faults_) {}

  LogReport run(int runners, int viewers) {
    loop_.run(story(runners, viewers));
    return std::move(report_);
  }

 private:
  void violated(std::string what) { report_.violations.push_back(to_rfc3339(clock_.now()) + " " + what); }
  void trace(std::string what) { report_.trace += to_rfc3339(clock_.now()) + " " + what + "\n"; }

  // The nodes, and what becomes of them.

  void start_gateway(std::size_t i) { gateways_[i] = std::make_shared<LogGateway>(*truth_, blobs_, bus_, cache_, clock_, chance_, loop_.loop()); }
  void start_aggregator(std::size_t i) {
    aggregators_[i] = std::make_shared<AggregatorNode>(*truth_, blobs_, bus_, cache_, clock_, chance_, loop_.loop());
  }

  /// What was under way in a dead node may still reach the database: it is kept.
  template <class N>
  Task<void> die(std::shared_ptr<N>& node) {
    auto dead = std::move(node);
    node.reset();
    graveyard_.push_back(dead);
    dead->scope.cancel();
    co_await dead->scope.join();
  }

  Task<void> kill_gateways() {
    for (auto every = faults_.gateway_dies_every; every > Duration{};) {
      co_await sleep_for(clock_, chance_.up_to(2 * every));
      if (calm_) co_return;
      auto i = chance_.below(gateways);
      if (!gateways_[i]) continue;
      ++report_.deaths;
      trace("gateway dies");
      co_await die(gateways_[i]);
      co_await sleep_for(clock_, chance_.up_to(2s));
      start_gateway(i);
    }
  }

  Task<void> kill_aggregators() {
    for (auto every = faults_.aggregator_dies_every; every > Duration{};) {
      co_await sleep_for(clock_, chance_.up_to(2 * every));
      if (calm_) co_return;
      auto i = chance_.below(aggregators);
      if (!aggregators_[i] || aggregators_[i]->process.stopped) continue;
      ++report_.deaths;
      trace("aggregator dies");
      co_await die(aggregators_[i]);
      co_await sleep_for(clock_, chance_.up_to(3s));
      start_aggregator(i);
    }
  }

  Task<void> stop_aggregators() {
    for (auto every = faults_.aggregator_stops_every; every > Duration{};) {
      co_await sleep_for(clock_, chance_.up_to(2 * every));
      if (calm_) co_return;
      auto node = aggregators_[chance_.below(aggregators)];
      if (!node) continue;
      ++report_.stops;
      trace("aggregator stops");
      node->process.stopped = true;
      auto length = chance_.up_to(3 * session);
      if (length > session) {
        co_await sleep_for(clock_, session);
        node->process.expel();
        length -= session;
      }
      co_await sleep_for(clock_, length);
      node->process.stopped = false;
    }
  }

  Task<void> empty_bus() {
    for (auto every = faults_.bus_emptied_every; every > Duration{};) {
      co_await sleep_for(clock_, chance_.up_to(2 * every));
      if (calm_) co_return;
      ++report_.emptied;
      trace("the bus is emptied");
      bus_.empty();
    }
  }

  // Runners, as LogShipper and Attempt are.

  template <class T, class Ask>
  Task<Result<T>> ask(std::size_t& at, Ask question) {
    for (;;) {
      co_await sleep_for(clock_, chance_.up_to(3ms));
      auto node = chance_.happens(chance_.faults().call_lost) ? nullptr : gateways_[at];
      if (node) {
        Result<T> answer = co_await question(*node);
        bool lost = node != gateways_[at] || chance_.happens(chance_.faults().answer_lost);
        bool again = !answer && (answer.error().code == Errc::unavailable || answer.error().code == Errc::timeout);
        if (!lost && !again) co_return answer;
      }
      at = (at + 1) % gateways;
      co_await sleep_for(clock_, chance_.up_to(200ms));
    }
  }

  std::string something_to_say() {
    auto bytes = chance_.below(50) == 0 ? chance_.below(1'500'000) : chance_.below(200);
    std::string out;
    while (out.size() < bytes) out += std::to_string(chance_.below(1'000'000'000)) + (chance_.below(4) ? " " : "\n");
    return out;
  }

  /// Until the server has all of it, as far as it says.
  Task<void> ship(Written& log, std::int64_t& at, std::int64_t& durable, std::size_t& gateway) {
    while (at < std::int64_t(log.text.size())) {
      auto piece = std::string_view(log.text).substr(std::size_t(at), 1 << 20);
      auto frames = frames_of(at, piece, clock_.now());
      report_.sent += std::int64_t(piece.size());
      auto answer = co_await ask<LogsAnswer>(gateway, [&](LogGateway& node) { return node.intake.append(log.attempt, frames); });
      if (!answer) co_return violated("a runner's frames were refused: " + answer.error().message);
      if (answer->durable < durable) trace("a gateway that knows less");
      durable = std::max(durable, answer->durable);
      if (durable > std::int64_t(log.text.size())) violated("more is durable than was written");
      auto end = at + std::int64_t(piece.size());
      if (answer->next < durable) violated("bytes are asked for that were durable");
      if (answer->next < at) ++report_.resent;
      at = std::min(end, answer->next);
    }
  }

  Task<void> runner(Written& log) {
    std::size_t gateway = chance_.below(gateways);
    std::int64_t at = 0, durable = 0;
    co_await sleep_for(clock_, chance_.up_to(5s));
    for (auto lines = 20 + chance_.below(60); lines > 0; --lines) {
      log.text += something_to_say();
      co_await ship(log, at, durable, gateway);
      co_await sleep_for(clock_, chance_.below(10) == 0 ? chance_.up_to(8s) : chance_.up_to(300ms));
    }
    co_await finish(log, at, durable, gateway);
  }

  Task<void> finish(Written& log, std::int64_t& at, std::int64_t& durable, std::size_t& gateway) {
    auto size = std::int64_t(log.text.size());
    for (;;) {
      auto end = co_await ask<LogEnd>(gateway, [&](LogGateway& node) { return node.intake.complete(log.attempt, size); });
      if (end) {
        if (end->bytes != size || !end->statements.empty()) violated("an end that is none");
        break;
      }
      if (end.error().code != Errc::invalid) co_return violated("a report was refused: " + end.error().message);
      auto answer = co_await ask<LogsAnswer>(gateway, [&](LogGateway& node) { return node.intake.append(log.attempt, {}); });
      durable = std::max(durable, answer->durable);
      at = answer->next < at ? answer->next : durable;
      ++report_.resent;
      co_await ship(log, at, durable, gateway);
    }
    trace("ended with " + std::to_string(size));
    log.ended = true;
    if (gateways_[gateway]) gateways_[gateway]->intake.ended(log.attempt);
  }

  // Viewers, as the gateway serves them.

  Task<void> viewer(const Written& log) {
    co_await sleep_for(clock_, chance_.up_to(20s));
    std::string seen;
    std::size_t gateway = chance_.below(gateways);
    while (!over_) {
      auto node = gateways_[gateway];
      if (!node || chance_.below(50) == 0) {
        gateway = (gateway + 1) % gateways;
        co_await sleep_for(clock_, chance_.up_to(500ms));
        continue;
      }
      bool ended = log.ended;
      auto size = co_await node->live.size(log.attempt, ended);
      while (size && std::int64_t(seen.size()) < *size) {
        auto text = co_await node->live.read(log.attempt, std::int64_t(seen.size()), std::min<std::size_t>(256 << 10, std::size_t(*size) - seen.size()));
        if (!text) break;
        if (text->empty()) break;
        if (std::string_view(log.text).substr(seen.size(), text->size()) != *text) co_return violated("a viewer saw what was not written at " + std::to_string(seen.size()));
        seen += *text;
      }
      if (ended && size && std::int64_t(seen.size()) == *size) break;
      (void)co_await node->live.wait_beyond(log.attempt, std::int64_t(seen.size()), clock_.now() + 2s);
      if (chance_.below(10) == 0) co_await sleep_for(clock_, chance_.up_to(3s));   // slow
    }
    if (seen != log.text) violated("a viewer saw " + std::to_string(seen.size()) + " of " + std::to_string(log.text.size()) + " bytes");
    ++viewed_;
  }

  Task<void> judge() {
    LogChunks chunks(*truth_, blobs_, clock_);
    for (auto& log : logs_) {
      if (!log->ended) violated("a log has not ended");
      auto kept = co_await chunks.read(log->attempt, 0, 256 << 20);
      if (!kept || *kept != log->text) violated("the log of attempt " + log->attempt.str() + " is not what was written");
      report_.bytes += std::int64_t(log->text.size());
    }
    auto rows = co_await truth_->query(statement(all_chunks));
    std::map<std::string, std::int64_t> ends;
    for (auto& row : rows->rows) {
      auto& end = ends[text_at(row, 0)];
      if (int_at(row, 1) != end) violated("chunks overlap, or leave a hole, at " + std::to_string(end));
      end = int_at(row, 1) + int_at(row, 2);
      if (int_at(row, 2) > std::int64_t(log_chunk_bytes)) violated("a chunk is too large");
    }
  }

  Task<void> story(int runners, int viewers) {
    for (std::size_t i = 0; i < gateways; ++i) start_gateway(i);
    for (std::size_t i = 0; i < aggregators; ++i) start_aggregator(i);
    Scope malice(loop_.loop()), work(loop_.loop());
    malice.spawn(kill_gateways());
    malice.spawn(kill_aggregators());
    malice.spawn(stop_aggregators());
    malice.spawn(empty_bus());
    for (int i = 0; i < runners; ++i) {
      logs_.push_back(std::make_unique<Written>(Written{.attempt = make_id<AttemptId>(clock_, entropy_), .text = {}}));
      work.spawn(runner(*logs_.back()));
    }
    for (int i = 0; i < viewers; ++i) work.spawn(viewer(*logs_[chance_.below(std::uint64_t(runners))]));
    co_await sleep_for(clock_, 60s);
    trace("calm");
    calm_ = true;
    chance_.calm();
    bus_.calm();
    cache_.calm();
    co_await malice.join();
    auto until = clock_.now() + patience;
    while (clock_.now() < until && (viewed_ < viewers || !std::ranges::all_of(logs_, [](auto& log) { return log->ended; }))) co_await sleep_for(clock_, 1s);
    over_ = true;
    if (clock_.now() >= until) {
      violated("not everything has ended");
      work.cancel();
    }
    co_await work.join();
    co_await judge();
    for (auto& node : gateways_) co_await die(node);
    for (auto& node : aggregators_) co_await die(node);
  }

  const LogFaults faults_;
  VirtualClock clock_;
  Chance chance_;
  SeededEntropy entropy_;
  TestLoop loop_;
  std::unique_ptr<Database> truth_;
  MemoryBlobs blobs_;
  EmptiableBus bus_;
  LossyCache cache_;
  std::vector<std::unique_ptr<Written>> logs_;
  std::vector<std::shared_ptr<void>> graveyard_;
  std::shared_ptr<LogGateway> gateways_[gateways];
  std::shared_ptr<AggregatorNode> aggregators_[aggregators];
  LogReport report_;
  int viewed_ = 0;
  bool calm_ = false, over_ = false;
};

}  // namespace

LogReport simulate_logs(std::uint64_t seed, const LogFaults& faults, int runners, int viewers) { return LogWorld(seed, faults).run(runners, viewers); }

}  // namespace mayfly::simulation
