#include "domain/scheduling/fair_share.h"

#include <algorithm>

namespace mayfly::scheduling {
namespace {

double sane_weight(double weight) { return weight > 0 ? std::clamp(weight, 0.001, 1000.0) : 0.001; }

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

}  // namespace mayfly::scheduling
