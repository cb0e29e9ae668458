#include "adapters/postgres/lane.h"

#include <algorithm>
#include <boost/asio/this_coro.hpp>

namespace mayfly::postgres {
namespace {

/// In one transaction: enough to share an fsync, few enough that the first does not wait long for the last.
constexpr std::size_t max_units_together = 256;
constexpr std::size_t max_bytes_together = 4 << 20;

}  // namespace

Lane::Lane(Loop loop, Connector& connector, SessionSettings settings, WriteQueue& limits, std::chrono::milliseconds patience)
    : limits_(limits),
      patience_(patience),
      slot_(Slot::make(std::move(loop), connector, settings, [this] { look_again(); })),
      group_([this](auto since) { return connected(since); }) {}

Lane::~Lane() { slot_->stop(); }

void Lane::look_again() {
  if (auto changed = std::move(slot_changed_)) changed();
}

std::string_view Lane::key_of(const std::vector<Statement>& statements) {
  for (auto& statement : statements)
    for (auto& param : statement.params)
      if (auto* text = std::get_if<std::string>(&param)) return *text;
  return {};
}

bool Lane::push(Unit& unit) {
  if (limits_.units >= limits_.max_units || limits_.bytes + unit.bytes > limits_.max_bytes) {
    unit.result = fail(Errc::unavailable, "database: too many transactions wait already", "try again in a moment");
    unit.answered = true;
    return false;
  }
  ++limits_.units;
  limits_.bytes += unit.bytes;
  queue_.push_back(&unit);
  return true;
}

Task<void> Lane::commit(Unit& unit) {
  if (led_) {
    co_await completed_by([&](Done done) {
      if (push(unit)) unit.wake = std::move(done);
      else done();
    });
  } else if (push(unit)) {
    led_ = true;
  }
  if (!unit.answered) co_await lead(unit);
}

/// Others depend on it, so a cancellation of the caller has to wait.
Task<void> Lane::lead(Unit& unit) {
  bool throws = co_await boost::asio::this_coro::throw_if_cancelled();
  co_await boost::asio::this_coro::throw_if_cancelled(false);
  while (!unit.answered) co_await group_.run(take());
  if (queue_.empty()) led_ = false;
  else std::exchange(queue_.front()->wake, {})();
  co_await boost::asio::this_coro::throw_if_cancelled(throws);
}

GroupCommit::Units Lane::take() {
  GroupCommit::Units out;
  std::size_t bytes = 0;
  while (!queue_.empty() && out.size() < max_units_together && (out.empty() || bytes + queue_.front()->bytes <= max_bytes_together)) {
    auto* unit = queue_.front();
    queue_.pop_front();
    bytes += unit->bytes;
    --limits_.units;
    limits_.bytes -= unit->bytes;
    out.push_back(unit);
  }
  std::ranges::sort(out, {}, [](auto* unit) { return std::pair(unit->key, unit->since); });
  return out;
}

Task<Result<std::shared_ptr<Link>>> Lane::connected(Slot::Clock::time_point since) {
  for (;;) {
    if (slot_->link()) co_return slot_->link();
    auto now = Slot::Clock::now();
    if (now - since > patience_ || now - slot_->down_since() > patience_) co_return std::unexpected(slot_->why());
    co_await completed_by([&](Done done) { slot_changed_ = std::move(done); });
  }
}

}  // namespace mayfly::postgres
