#include "roles/common/lease.h"

#include "base/log.h"

namespace mayfly {
namespace {

constexpr std::string_view select_lease = "select holder, epoch, beat from leases where name = $1";
constexpr std::string_view insert_lease = "insert into leases (name, holder, epoch, beat) values ($1, '', 0, 0) on conflict (name) do nothing";
constexpr std::string_view take_lease = "update leases set holder = $2, epoch = epoch + 1, beat = 0 where name = $1 and epoch = $3 and beat = $4";
constexpr std::string_view move_beat = "update leases set beat = beat + 1 where name = $1 and epoch = $2";
constexpr std::string_view free_lease = "update leases set holder = '' where name = $1 and epoch = $2";
constexpr std::string_view select_ours = "select 1 from leases where name = $1 and epoch = $2";

}  // namespace

Statement Leadership::still_ours() const { return expect_one(select_ours, name, epoch); }

Lease::Lease(Database& db, Clock& clock, Loop loop, std::string name, std::string holder)
    : db_(db), clock_(clock), loop_(std::move(loop)), name_(std::move(name)), holder_(std::move(holder)) {}

Task<Result<bool>> Lease::try_acquire(Duration patience) {
  CO_TRY_ASSIGN(auto found, co_await db_.query(statement(select_lease, name_)));
  if (found.rows.empty()) {
    CO_TRY(co_await db_.transact({statement(insert_lease, name_)}));
    CO_TRY_ASSIGN(found, co_await db_.query(statement(select_lease, name_)));
  }
  auto& row = found.rows.at(0);
  auto epoch = int_at(row, 1), beat = int_at(row, 2);
  if (epoch != seen_epoch_ || beat != seen_beat_) {
    seen_epoch_ = epoch;
    seen_beat_ = beat;
    seen_since_ = clock_.now();
  }
  bool free = text_at(row, 0).empty() || seen_since_ + patience <= clock_.now();
  if (!free) co_return false;
  auto taken = co_await db_.transact({expect_one(take_lease, name_, holder_, epoch, beat)});
  if (!taken && taken.error().code == Errc::conflict) co_return false;
  if (!taken) co_return std::unexpected(taken.error());
  epoch_ = epoch + 1;
  co_return true;
}

Task<Leadership> Lease::acquire() {
  for (;;) {
    auto taken = co_await try_acquire(lease_stolen_after);
    if (taken && *taken) co_return Leadership{name_, epoch_};
    co_await sleep_for(clock_, lease_beat);
  }
}

Task<Result<Leadership>> Lease::take() {
  for (;;) {
    CO_TRY_ASSIGN(bool ours, co_await try_acquire(Duration{}));
    if (ours) co_return Leadership{name_, epoch_};
  }
}

/// Moves the beat until it cannot be ours any more.
Task<void> Lease::keep() {
  auto kept = clock_.now();
  for (;;) {
    co_await sleep_for(clock_, lease_beat);
    auto asked = clock_.now();
    auto moved = co_await db_.transact({expect_one(move_beat, name_, epoch_)});
    if (moved) kept = asked;
    bool lost = !moved && (moved.error().code == Errc::conflict || kept + lease_given_up_after <= clock_.now());
    if (lost) break;
  }
  log_warn("the lease is lost", {{"lease", name_}, {"epoch", std::to_string(epoch_)}});
  epoch_ = 0;
  working_->cancel();
}

Task<void> Lease::hold(std::function<Task<void>(Leadership)> work) {
  for (;;) {
    auto leadership = co_await acquire();
    log_info("the lease is ours", {{"lease", name_}, {"epoch", std::to_string(leadership.epoch)}});
    Scope scope(loop_);
    working_ = &scope;
    scope.spawn(work(leadership));
    scope.spawn(keep());
    co_await scope.join();
  }
}

Task<void> Lease::release() {
  if (epoch_ == 0) co_return;
  auto freed = co_await db_.transact({statement(free_lease, name_, epoch_)});
  if (!freed) log_warn("the lease could not be given back", {{"lease", name_}, {"error", freed.error().message}});
  epoch_ = 0;
}

}  // namespace mayfly
