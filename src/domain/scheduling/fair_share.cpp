#include "domain/scheduling/fair_share.h"

#include <algorithm>

namespace mayfly::scheduling {
namespace {

double sane_weight(double weight) { return weight > 0 ? std::clamp(weight, 0.001, 1000.0) : 0.001; }

/// The last whole step before `t`.
Time step_of(Time t, Duration step) { return Time{step * (t.time_since_epoch() / step)}; }

Shape normal(Shape shape) {
  std::ranges::sort(shape.labels);
  auto repeated = std::ranges::unique(shape.labels);
  shape.labels.erase(repeated.begin(), repeated.end());
  return shape;
}

}  // namespace

// --- tables -------------------------------------------------------------------------------------------------------

double FairShare::grow(Time now) {
  if (growth_.far(now)) {
    double factor = growth_.rebase(now);
    for (Index i = 0; i < t_.organizations.size(); ++i) {
      t_.organizations[i].account.scale(factor);
      t_.organizations[i].projects.floor *= factor;
    }
    for (Index i = 0; i < t_.projects.size(); ++i) t_.projects[i].account.scale(factor);
    contenders_.floor *= factor;
    t_.growth = growth_.at(now);
    order_.reorder_all(t_);
  }
  return growth_.at(now);
}

/// Shares are compared as of the last whole step, so that time passing does not put every rank out of date at once.
void FairShare::advance(Time now) {
  constexpr Duration step = std::chrono::seconds(30);
  t_.growth = std::max(grow(step_of(now, step)), t_.growth);
}

Index FairShare::organization(OrganizationId id) {
  auto [at, added] = organizations_.try_emplace(id, none);
  if (added) {
    Organization row;
    row.id = id, row.name = id.str();
    at->second = t_.organizations.add(std::move(row));
  }
  return at->second;
}

Index FairShare::project(ProjectId id, OrganizationId in) {
  auto [at, added] = projects_.try_emplace(id, none);
  if (added) {
    Project row;
    row.id = id, row.organization = organization(in);
    at->second = t_.projects.add(std::move(row));
  }
  return at->second;
}

Index FairShare::build(BuildId id, Time served) {
  auto [at, added] = builds_.try_emplace(id, none);
  if (added) {
    Build row;
    row.id = id;
    at->second = t_.builds.add(std::move(row));
  }
  auto& build = t_.builds[at->second];
  if (served > build.served) {
    build.served = served;
    order_.reorder_build(at->second, t_);
  }
  return at->second;
}

Index FairShare::shape(const Shape& wanted) {
  auto [at, added] = shapes_.try_emplace(normal(wanted), none);
  if (added) {
    ShapeClass row;
    row.shape = at->first, row.needs = wanted.resources(), row.able = pools_.able(at->first);
    at->second = t_.shapes.add(std::move(row));
  }
  return at->second;
}

Index FairShare::add(const QueuedJob& q, Index organization, Index project) {
  Job job;
  job.id = q.job, job.queued_at = q.queued_at, job.not_before = q.not_before, job.priority = q.priority;
  job.needs = q.shape.resources();
  job.organization = organization, job.project = project, job.build = build(q.build, q.build_served_at);
  ++t_.builds[job.build].jobs;
  if (!q.matrix_group.empty() && q.max_parallel > 0) job.group = groups_.join(job.build, q.matrix_group, q.max_parallel);
  auto index = t_.jobs.add(job);
  jobs_[q.job] = index;
  if (job.group != none) regate(job.group);
  return index;
}

void FairShare::forget(Index index) {
  auto& job = t_.jobs[index];
  if (job.group != none) groups_.quit(job.group);
  if (--t_.builds[job.build].jobs == 0) {
    builds_.erase(t_.builds[job.build].id);
    t_.builds.free(job.build);
  }
  jobs_.erase(job.id);
  t_.jobs.free(index);
}

// --- facts --------------------------------------------------------------------------------------------------------

FairShare::FairShare(const UsageSnapshot& usage) {
  if (usage.records.empty() && usage.floor == 0) return;
  advance(usage.at);
  double growth = grow(usage.at);
  contenders_.floor = usage.floor * growth;
  for (auto& record : usage.records) {
    auto restore = [&](auto& row) {
      row.account.set_used(record.used, growth);
      row.standing.returning = record.contending;
    };
    if (record.project.is_nil()) {
      auto& row = t_.organizations[organization(record.organization)];
      row.projects.floor = record.floor * growth;
      restore(row);
    } else {
      restore(t_.projects[project(record.project, record.organization)]);
    }
  }
}

void FairShare::set_organization(OrganizationId id, std::string name, OrganizationShare share) {
  ++facts_;
  share.weight = sane_weight(share.weight);
  auto index = organization(id);
  auto& row = t_.organizations[index];
  row.name = std::move(name);
  row.share = share;
  row.account.set_weight(share.weight);
  order_.open_lanes(index, t_);
  order_.reorder_organization(index, t_);
}

void FairShare::set_project(ProjectId id, OrganizationId in, double weight) {
  ++facts_;
  auto index = project(id, in);
  t_.projects[index].account.set_weight(sane_weight(weight));
  order_.reorder_project(index, t_);
}

bool FairShare::enqueue(const QueuedJob& q) {
  if (jobs_.contains(q.job)) return true;
  if (jobs_.size() >= max_jobs) return false;
  ++facts_;
  auto owner = project(q.project, q.organization);
  auto index = add(q, t_.projects[owner].organization, owner);
  auto& job = t_.jobs[index];
  job.shape = shape(q.shape);
  ++t_.shapes[job.shape].jobs;
  ++waiting_;
  ++t_.organizations[job.organization].waiting;
  if (job.not_before > job.queued_at)
    delayed_.push(index, {job.not_before, job.id}, t_.jobs);
  else
    arrive(index);
  return true;
}

void FairShare::remove(JobId id, Time now) {
  auto known = jobs_.find(id);
  if (known == jobs_.end() || t_.jobs[known->second].state == JobState::running) return;
  ++facts_;
  advance(now);
  auto index = known->second;
  unshelve(index);
  forget(index);
}

bool FairShare::add_running(const QueuedJob& q, std::string_view pool, Time started_at) {
  auto known = jobs_.find(q.job);
  if (known == jobs_.end() && jobs_.size() >= max_jobs) return false;
  if (known != jobs_.end() && t_.jobs[known->second].state == JobState::running) return true;
  ++facts_;
  advance(started_at);
  auto owner = project(q.project, q.organization);
  auto index = known != jobs_.end() ? known->second : add(q, t_.projects[owner].organization, owner);
  start(index, pools_.at(pool), started_at);
  return true;
}

void FairShare::released(JobId id, Time now) {
  auto known = jobs_.find(id);
  if (known == jobs_.end() || t_.jobs[known->second].state != JobState::running) return;
  ++facts_;
  auto index = known->second;
  auto job = t_.jobs[index];
  advance(now);
  double growth = grow(now);
  auto& organization = t_.organizations[job.organization];
  organization.account.release(job.needs, growth);
  t_.projects[job.project].account.release(job.needs, growth);
  --t_.builds[job.build].running;
  --organization.running, --running_;
  uncontend(index);
  pools_.release(job.pool, job.needs, job.reservation);

  order_.open_lanes(job.organization, t_);
  order_.reorder_organization(job.organization, t_);
  order_.reorder_project(job.project, t_);
  order_.reorder_build(job.build, t_);
  if (job.group != none) {
    groups_.end(job.group);
    regate(job.group);
  }
  forget(index);
  wake(job.pool);
}

// --- waiting ------------------------------------------------------------------------------------------------------

void FairShare::arrive(Index index) {
  if (t_.jobs[index].group == none) return into_line(index);
  groups_.arrive(index, t_);
  regate(t_.jobs[index].group);
}

void FairShare::into_line(Index index) {
  auto& job = t_.jobs[index];
  auto& shape = t_.shapes[job.shape];
  if (shape.able.empty()) {
    job.state = JobState::stuck;
    shape.stuck.push(index, job.key(), t_.jobs);
    return;
  }
  contend(index);
  order_.insert(index, t_);
}

void FairShare::out_of_line(Index index) {
  auto& job = t_.jobs[index];
  if (job.state == JobState::stuck) return t_.shapes[job.shape].stuck.remove(index, t_.jobs);
  uncontend(index);
  order_.erase(index, t_);
  auto& shape = t_.shapes[job.shape];
  if (shape.place != ShapeClass::Place::idle) return;
  shape.passed_since.reset();
  unreserve(job.shape);
}

void FairShare::regate(Index group) {
  for (std::size_t i = 0; i < groups_[group].gates.size(); ++i) {
    auto gate = groups_[group].gates[i];
    for (Index job; (job = groups_.admit(gate)) != none;) into_line(job);
    for (Index job; (job = groups_.retreat(gate)) != none;) {
      out_of_line(job);
      t_.jobs[job].state = JobState::gated;
    }
  }
}

/// Afterwards the job waits nowhere and is not counted as waiting.
void FairShare::unshelve(Index index) {
  auto& job = t_.jobs[index];
  if (job.state == JobState::delayed)
    delayed_.remove(index, t_.jobs);
  else if (job.state != JobState::gated)
    out_of_line(index);
  if (job.gate != none) {
    groups_.leave(index, t_);
    regate(job.group);
  }
  --waiting_;
  --t_.organizations[job.organization].waiting;
  drop_shape(std::exchange(job.shape, none));
}

void FairShare::drop_shape(Index shape) {
  if (--t_.shapes[shape].jobs > 0) return;
  shapes_.erase(t_.shapes[shape].shape);
  t_.shapes.free(shape);
}

void FairShare::release_due(Time now) {
  while (!delayed_.empty() && delayed_.top_key().first <= now) {
    auto job = delayed_.top();
    delayed_.remove(job, t_.jobs);
    arrive(job);
    ++facts_;
  }
}

std::optional<Time> FairShare::wake_at() const {
  return delayed_.empty() ? std::nullopt : std::optional(delayed_.top_key().first);
}

void FairShare::contend(Index index) {
  auto& job = t_.jobs[index];
  contenders_.enter(job.organization, t_.organizations);
  if (t_.organizations[job.organization].projects.enter(job.project, t_.projects)) unsettled_.push_back(job.organization);
}

void FairShare::uncontend(Index index) {
  auto& job = t_.jobs[index];
  contenders_.leave(job.organization, t_.organizations, t_.growth, t_.total);
  t_.organizations[job.organization].projects.leave(job.project, t_.projects, t_.growth, t_.total);
}

void FairShare::settle_newcomers() {
  contenders_.settle(t_.organizations, t_.growth, t_.total);
  for (auto organization : unsettled_)
    t_.organizations[organization].projects.settle(t_.projects, t_.growth, t_.total);
  unsettled_.clear();
}

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
