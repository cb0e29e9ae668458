// FairShare's decisions: what starts next and where, and which pools are kept free.

#include <algorithm>

#include "domain/scheduling/fair_share.h"

namespace mayfly::scheduling {

// --- deciding -----------------------------------------------------------------------------------------------------

std::optional<Decision> FairShare::next(Time now) {
  advance(now);
  release_due(now);
  settle_newcomers();
  for (Index shape; (shape = order_.likely_first_open()) != none;) {
    auto pool = pool_for(shape);
    if (pool == none) {
      order_.move(shape, ShapeClass::Place::parked, t_);
      continue;
    }
    if (order_.first_open(t_) != shape) continue;
    auto index = order_.job(shape, t_);
    if (above_max_share(t_.organizations[t_.jobs[index].organization], t_.jobs[index].needs)) {
      close_lane(shape);
      continue;
    }
    if (reserve_for_passed(shape, now)) continue;
    ++facts_;
    t_.shapes[shape].passed_since.reset();
    unreserve(shape);
    start(index, pool, now);
    return Decision{t_.jobs[index].id, pools_[pool].state.name};
  }
  return std::nullopt;
}

void FairShare::start(Index index, Index pool, Time at) {
  bool waits = t_.jobs[index].shape != none;
  contend(index);
  if (waits) unshelve(index);
  auto& job = t_.jobs[index];
  double growth = grow(at);
  auto& organization = t_.organizations[job.organization];
  auto& build = t_.builds[job.build];
  organization.account.hold(job.needs, growth);
  t_.projects[job.project].account.hold(job.needs, growth);
  ++build.running;
  build.served = std::max(build.served, at);
  ++organization.running, ++running_;
  job.state = JobState::running;
  job.pool = pool;
  job.reservation = pools_.hold(pool, job.needs);
  // Open shapes would notice the charge by themselves; parked ones are told now, lest they have much to notice at once.
  if (!order_.parked().empty()) order_.reorder_organization(job.organization, t_);
  if (job.group == none) return;
  groups_.run(job.group);
  regate(job.group);
}

bool FairShare::above_max_share(const Organization& organization, const Resources& needs) const {
  if (organization.share.max_share >= 1 || organization.running == 0) return false;
  constexpr double rounding = 1e-9;
  auto held = (organization.account.held() + needs).each();
  auto total = t_.total.each();
  for (std::size_t r = 0; r < Resources::kinds; ++r)
    if (double(held[r]) > (organization.share.max_share + rounding) * double(total[r])) return true;
  return false;
}

void FairShare::close_lane(Index shape) {
  order_.close_lane(order_.lane(shape, t_), t_);
  if (t_.shapes[shape].place == ShapeClass::Place::idle) unreserve(shape);
}

// --- room ---------------------------------------------------------------------------------------------------------

Index FairShare::pool_for(Index shape) const {
  auto& row = t_.shapes[shape];
  return pools_.choose(row.able, shape, row.needs);
}

/// Keeps a pool free for every parked shape that fair order has wanted before `chosen` for reserve_after. True: it did.
bool FairShare::reserve_for_passed(Index chosen, Time now) {
  if (order_.parked().empty()) return false;
  auto step = step_of(now, reserve_check);
  if (step == std::exchange(reserve_checked_, step)) return false;
  bool reserved = false;
  for (Index shape; (shape = order_.first_parked(t_)) != none && order_.rank(shape, t_) < order_.rank(chosen, t_);) {
    auto& job = t_.jobs[order_.job(shape, t_)];
    if (above_max_share(t_.organizations[job.organization], job.needs)) {
      close_lane(shape);
      continue;
    }
    auto& row = t_.shapes[shape];
    if (!row.passed_since) row.passed_since = now;
    if (now - *row.passed_since < reserve_after) break;
    row.reserved_pool = pools_.reserve(row.able, shape, row.needs);
    if (row.reserved_pool == none) break;
    reserved_.push_back(shape);
    order_.move(shape, ShapeClass::Place::reserved, t_);
    reserved = true;
  }
  return reserved;
}

void FairShare::unreserve(Index shape) {
  auto& row = t_.shapes[shape];
  auto pool = std::exchange(row.reserved_pool, none);
  if (pool == none) return;
  std::erase(reserved_, shape);
  pools_.unreserve(pool);
  if (row.place == ShapeClass::Place::reserved) order_.move(shape, ShapeClass::Place::parked, t_);
  wake(pool);
}

/// Opens what may fit in a pool that has more room than before.
void FairShare::wake(Index pool) {
  auto fits = [&](Index shape) {
    auto& row = t_.shapes[shape];
    return row.needs.fits_in(pools_.room(pool, shape)) && holds(row.able, pool);
  };
  std::vector<Index> woken;
  auto& parked = order_.parked();
  for (std::size_t i = 0; i < parked.size(); ++i)
    if (fits(parked.item(i))) woken.push_back(parked.item(i));
  for (auto shape : reserved_)
    if (fits(shape)) woken.push_back(shape);
  for (auto shape : woken) order_.move(shape, ShapeClass::Place::open, t_);
}

void FairShare::set_pool(PoolState state) {
  auto pool = pools_.at(state.name);
  if (pools_[pool].present && pools_[pool].state == state) return;
  pools_.set(std::move(state));
  pools_changed();
}

void FairShare::remove_pool(std::string_view name) {
  pools_.remove(name);
  pools_changed();
}

void FairShare::pools_changed() {
  ++facts_;
  bool total_changed = t_.total != pools_.total();
  t_.total = pools_.total();
  for (auto& [shape, index] : shapes_) able_changed(index);
  if (!total_changed) return;
  for (Index i = 0; i < t_.projects.size(); ++i) t_.projects[i].account.capacity_changed();
  for (Index i = 0; i < t_.organizations.size(); ++i) {
    t_.organizations[i].account.capacity_changed();
    order_.open_lanes(i, t_);
  }
  order_.reorder_all(t_);
}

void FairShare::able_changed(Index index) {
  auto& row = t_.shapes[index];
  bool was_able = !row.able.empty();
  row.able = pools_.able(row.shape);
  if (row.reserved_pool != none && !holds(row.able, row.reserved_pool)) unreserve(index);
  if (row.place == ShapeClass::Place::parked || row.place == ShapeClass::Place::reserved)
    order_.move(index, ShapeClass::Place::open, t_);
  if (was_able == !row.able.empty()) return;
  if (was_able) {
    for (auto job : order_.jobs_of_shape(index, t_)) {
      uncontend(job);
      order_.erase(job, t_);
      into_line(job);
    }
  } else {
    while (!row.stuck.empty()) {
      auto job = row.stuck.top();
      row.stuck.remove(job, t_.jobs);
      into_line(job);
    }
  }
}

}  // namespace mayfly::scheduling
