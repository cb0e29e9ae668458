// What FairShare says of itself: why a job waits, and who has how much.

#include <algorithm>
#include <queue>

#include "domain/scheduling/explain.h"
#include "domain/scheduling/fair_share.h"

namespace mayfly::scheduling {
namespace {

using Kind = WaitReason::Kind;

WaitReason because(Kind kind, std::string sentence) {
  return {.kind = kind, .place = 0, .line = 0, .sentence = std::move(sentence)};
}

std::string clock_text(Time t, Time now) {
  auto text = to_rfc3339(std::chrono::ceil<std::chrono::seconds>(t));
  auto date = text.substr(0, 10), time = text.substr(11, 8);
  return to_rfc3339(now).starts_with(date) ? time + " UTC" : date + " " + time + " UTC";
}

std::string labels_text(const std::vector<std::string>& labels) {
  return (labels.size() == 1 ? "label " : "labels ") + list_of(labels);
}

std::string isolations_text(const std::vector<Isolation>& isolations) {
  std::vector<std::string> out;
  for (auto isolation : isolations) out.emplace_back(to_string(isolation));
  return out.empty() ? "nothing" : list_of(out);
}

/// Why none of the pools that take jobs could isolate one of `shape` as it must be.
std::string isolation_missing(const std::vector<const PoolState*>& open, const Shape& shape) {
  std::vector<Isolation> offered;
  for (auto* pool : open)
    for (auto isolation : pool->isolations)
      if (!holds(offered, isolation)) offered.push_back(isolation);
  if (shape.isolation && !weakest(offered, shape.isolation, Isolation::sandbox))
    return "no pool " + (shape.labels.empty() ? "" : "with " + labels_text(shape.labels) + " ") + "offers " + std::string(to_string(*shape.isolation)) + ": there is " + isolations_text(offered);
  auto& pool = *open.front();
  bool of_forks = shape.fork && weakest(pool.isolations, shape.isolation, pool.floor);
  auto floor = of_forks ? pool.fork_floor : pool.floor;
  return "pool " + pool.name + " wants at least " + std::string(to_string(floor)) + (of_forks ? " for builds of forks" : "") + " and offers " +
         isolations_text(pool.isolations);
}

std::string needs_text(const Resources& needs, bool cpu, bool memory) {
  std::vector<std::string> out;
  if (cpu) out.push_back(format_cpu(needs.cpu_milli));
  if (memory) out.push_back(format_memory(needs.memory_bytes));
  return list_of(out);
}

/// "pool x is draining", "pools x and y are draining and pool z has not been heard of"; empty when none is closed.
std::string closed_text(const std::vector<const PoolState*>& pools) {
  auto named = [&](auto chosen, std::string_view one, std::string_view many) {
    std::vector<std::string> names;
    for (auto* pool : pools)
      if (chosen(*pool)) names.push_back(pool->name);
    if (names.empty()) return std::string();
    return (names.size() == 1 ? "pool " : "pools ") + list_of(names) + std::string(names.size() == 1 ? one : many);
  };
  std::vector<std::string> parts{named([](auto& pool) { return pool.draining; }, " is draining", " are draining"),
                                 named([](auto& pool) { return pool.silent && !pool.draining; }, " has not been heard of", " have not been heard of")};
  std::erase(parts, "");
  return list_of(parts);
}

/// Foretells the order of an organization's jobs in line, were each to start right away: what Order would do, on copies.
class Foretelling {
 public:
  Foretelling(const std::vector<Index>& jobs, const Tables& t, Time now) : t_(t), now_(now) {
    std::map<std::tuple<Index, Index, Index>, std::vector<Index>> lines;
    for (auto job : jobs) lines[{t.jobs[job].project, t.jobs[job].build, t.jobs[job].shape}].push_back(job);
    std::map<Index, std::size_t> project_at;
    for (auto& [where, line] : lines) {
      auto [project, build, shape] = where;
      std::ranges::sort(line, std::greater{}, [&](Index job) { return t.jobs[job].key(); });
      builds_.try_emplace(build, t.builds[build].served, t.builds[build].running);
      auto [at, added] = project_at.try_emplace(project, projects_.size());
      if (added) projects_.push_back({t.projects[project].account, {}});
      push(projects_[at->second], {build, std::move(line)});
    }
    for (std::size_t i = 0; i < projects_.size(); ++i) queue_.push({rank(projects_[i]), i});
  }

  std::optional<JobId> next() {
    if (queue_.empty()) return std::nullopt;
    auto i = queue_.top().second;
    queue_.pop();
    auto& project = projects_[i];
    auto line = pop(project);
    auto& job = t_.jobs[line.jobs.back()];
    line.jobs.pop_back();
    project.account.hold(job.needs, t_.growth);
    auto& [served, running] = builds_.at(line.build);
    served = std::max(served, now_), ++running;
    if (!line.jobs.empty()) push(project, std::move(line));
    if (!project.lines.empty()) queue_.push({rank(project), i});
    return job.id;
  }

 private:
  struct Line {
    Index build;
    std::vector<Index> jobs;  // the first is last
  };
  using Entry = std::pair<Rank, Line>;
  struct Project {
    Account account;
    std::vector<Entry> lines;  // a heap; ranks may be lower than they are by now, but for the first
  };
  static bool later(const Entry& a, const Entry& b) { return b.first < a.first; }

  Rank rank(const Line& line) const {
    auto& job = t_.jobs[line.jobs.back()];
    auto& [served, running] = builds_.at(line.build);
    return {.organization = 0,
            .project = 0,
            .turn = Order::turn(job.key(), job.priority, served),
            .running = running,
            .priority = job.priority,
            .tie = job.key().tie,
            .project_at = job.project,
            .build_at = line.build};
  }

  void push(Project& project, Line line) {
    auto rank = this->rank(line);
    project.lines.emplace_back(rank, std::move(line));
    std::ranges::push_heap(project.lines, later);
  }

  Line pop(Project& project) {
    std::ranges::pop_heap(project.lines, later);
    auto line = std::move(project.lines.back().second);
    project.lines.pop_back();
    return line;
  }

  Rank rank(Project& project) {
    for (;;) {
      auto rank = this->rank(project.lines.front().second);
      if (rank == project.lines.front().first) {
        rank.project = project.account.share(t_.growth, t_.total);
        return rank;
      }
      push(project, pop(project));
    }
  }

  const Tables& t_;
  Time now_;
  std::map<Index, std::pair<Time, int>> builds_;  // served, running
  std::vector<Project> projects_;
  using Turn = std::pair<Rank, std::size_t>;
  static constexpr auto after = [](const Turn& a, const Turn& b) { return b.first < a.first; };
  std::priority_queue<Turn, std::vector<Turn>, decltype(after)> queue_;
};

}  // namespace

const FairShare::Places& FairShare::places(Index organization, Time now) {
  constexpr auto stale_after = std::chrono::seconds(1);
  auto& known = places_[organization];
  bool same = known.facts == facts_ && known.at == now;
  bool good_enough = known.place.size() > std::size_t(places_exact_up_to) && now - known.at < stale_after;
  if (same || good_enough) return known;
  known = {.at = now, .facts = facts_, .place = {}};
  Foretelling order(order_.jobs_of_organization(organization, t_), t_, now);
  for (std::optional<JobId> job; (job = order.next());) known.place.emplace(*job, int(known.place.size()) + 1);
  return known;
}

WaitReason FairShare::why(JobId id, Time now) {
  auto known = jobs_.find(id);
  if (known == jobs_.end()) return because(Kind::unknown, "not waiting for a runner");
  advance(now);
  release_due(now);
  settle_newcomers();
  auto& job = t_.jobs[known->second];
  auto out = reason(job, now);
  if (job.state != JobState::ready) return out;
  auto& organization = t_.organizations[job.organization];
  auto& line = places(job.organization, now);
  auto place = line.place.find(id);
  if (place == line.place.end()) return out;
  out.place = place->second;
  out.line = int(line.place.size());
  out.sentence = ordinal(out.place) + " of " + std::to_string(out.line) + " in " + organization.name + "; " + out.sentence;
  return out;
}

WaitReason FairShare::reason(const Job& job, Time now) const {
  if (job.state == JobState::running) return because(Kind::running, "running in " + pools_[job.pool].state.name);
  if (t_.shapes[job.shape].able.empty()) return impossible(t_.shapes[job.shape]);
  if (job.state == JobState::delayed)
    return because(Kind::not_before, "not before " + clock_text(job.not_before, now) + " (retry backoff)");
  if (job.state == JobState::gated && groups_.full(job.group)) {
    auto& group = groups_[job.group];
    return because(Kind::max_parallel, "max_parallel " + std::to_string(group.max_parallel) + " of " + group.name + ": " +
                                           std::to_string(group.running) + " running");
  }
  auto& organization = t_.organizations[job.organization];
  if (above_max_share(organization, job.needs)) {
    char percent[16];
    std::snprintf(percent, sizeof percent, "%.3g %%", organization.share.max_share * 100);
    return because(Kind::max_share, organization.name + " holds as much as it may, " + percent + " of all runners");
  }
  return room_for(job);
}

WaitReason FairShare::room_for(const Job& job) const {
  auto& shape = t_.shapes[job.shape];
  if (pool_for(job.shape) != none) return because(Kind::turn, "a runner is free; those before it go first");
  for (auto pool : shape.able)
    if (job.needs.fits_in(pools_[pool].free()))
      return because(Kind::capacity, pools_[pool].state.name + " is kept free for a job that needs " +
                                         needs_text(pools_[pool].reserved, true, true));
  auto labels = shape.shape.labels.empty() ? std::string() : " with " + labels_text(shape.shape.labels);
  bool cpu = true, memory = true;
  for (auto pool : shape.able) {
    auto free = pools_[pool].free();
    cpu = cpu && job.needs.cpu_milli > free.cpu_milli;
    memory = memory && job.needs.memory_bytes > free.memory_bytes;
  }
  auto needs = needs_text(job.needs, cpu || !memory, memory || !cpu);
  bool slots_only = std::ranges::all_of(shape.able, [&](Index pool) {
    auto free = pools_[pool].free();
    return job.needs.cpu_milli <= free.cpu_milli && job.needs.memory_bytes <= free.memory_bytes;
  });
  if (slots_only) return because(Kind::capacity, "a free slot in a pool" + labels);
  return because(Kind::capacity, "a runner with " + (labels.empty() ? needs : labels.substr(6) + " and " + needs));
}

WaitReason FairShare::impossible(const ShapeClass& row) const {
  auto& shape = row.shape;
  std::vector<const PoolState*> open, suitable, closed;
  for (Index i = 0; i < pools_.size(); ++i) {
    auto& pool = pools_[i];
    bool suits = pool.present && offers_labels(pool.state, shape) && isolation_in(pool.state, shape);
    if (suits && !pool.open()) closed.push_back(&pool.state);
    if (pool.open()) open.push_back(&pool.state);
    if (pool.open() && suits) suitable.push_back(&pool.state);
  }
  if (suitable.empty()) {
    if (!closed.empty()) return because(Kind::no_pool, closed_text(closed));
    if (open.empty()) return because(Kind::no_pool, "no pool is connected");
    std::vector<std::string> missing;
    for (auto& label : shape.labels)
      if (std::ranges::none_of(open, [&](auto* pool) { return holds(pool->labels, label); }))
        missing.push_back(label);
    if (!missing.empty()) return because(Kind::no_pool, "no pool has " + labels_text(missing));
    std::erase_if(open, [&](auto* pool) { return !offers_labels(*pool, shape); });
    if (!open.empty()) return because(Kind::no_pool, isolation_missing(open, shape));
    return because(Kind::no_pool, "no single pool has " + labels_text(shape.labels));
  }
  Resources largest;
  for (auto* pool : suitable) {
    largest.cpu_milli = std::max(largest.cpu_milli, pool->capacity.cpu_milli);
    largest.memory_bytes = std::max(largest.memory_bytes, pool->capacity.memory_bytes);
    largest.slots = std::max(largest.slots, pool->capacity.slots);
  }
  bool cpu = row.needs.cpu_milli > largest.cpu_milli, memory = row.needs.memory_bytes > largest.memory_bytes;
  if (largest.slots < 1) return because(Kind::too_large, "no pool that could run it has a slot");
  if (cpu || memory)
    return because(Kind::too_large,
                   "needs " + needs_text(row.needs, cpu, memory) + "; the largest pool has " + needs_text(largest, cpu, memory));
  return because(Kind::too_large, "needs " + needs_text(row.needs, true, true) + "; no single pool has both");
}

std::vector<OrganizationStatistics> FairShare::statistics(Time now) {
  advance(now);
  std::vector<OrganizationStatistics> out;
  for (auto& [id, index] : organizations_) {
    auto& row = t_.organizations[index];
    out.push_back({.organization = id,
                   .name = row.name,
                   .waiting = row.waiting,
                   .running = row.running,
                   .held_share = row.account.held_share(t_.total),
                   .usage_share = row.account.past_share(t_.growth, t_.total)});
  }
  std::ranges::sort(out, {}, &OrganizationStatistics::organization);
  return out;
}

std::vector<PoolStatistics> FairShare::pool_statistics() const {
  std::vector<PoolStatistics> out;
  for (Index i = 0; i < pools_.size(); ++i)
    if (pools_[i].present) out.push_back({.pool = pools_[i].state.name, .capacity = pools_[i].state.capacity, .held = pools_[i].held});
  std::ranges::sort(out, {}, &PoolStatistics::pool);
  return out;
}

std::vector<ShapeStatistics> FairShare::queue_statistics(Time now) const {
  std::map<Index, ShapeStatistics> found;
  for (auto& [id, index] : jobs_) {
    auto& job = t_.jobs[index];
    if (job.state == JobState::running || job.state == JobState::delayed) continue;
    auto& shape = found[job.shape];
    ++shape.waiting;
    shape.longest = std::max(shape.longest, now - std::max(job.queued_at, job.not_before));
  }
  std::vector<ShapeStatistics> out;
  for (auto& [index, shape] : found) {
    shape.shape = t_.shapes[index].shape;
    for (auto pool : t_.shapes[index].able) shape.pools.push_back(pools_[pool].state.name);
    out.push_back(std::move(shape));
  }
  std::ranges::sort(out, {}, &ShapeStatistics::shape);
  return out;
}

UsageSnapshot FairShare::usage(Time now) {
  advance(now);
  settle_newcomers();
  double growth = grow(now);
  UsageSnapshot out{.at = now, .floor = contenders_.floor / growth, .records = {}};
  auto record = [&](const Organization& organization, ProjectId project, const auto& row, double floor) {
    out.records.push_back({.organization = organization.id,
                           .project = project,
                           .used = row.account.used(growth),
                           .floor = floor / growth,
                           .contending = row.standing.contending > 0});
  };
  for (auto& [id, index] : organizations_) {
    auto& row = t_.organizations[index];
    record(row, {}, row, row.projects.floor);
  }
  for (auto& [id, index] : projects_) {
    auto& row = t_.projects[index];
    record(t_.organizations[row.organization], id, row, 0);
  }
  std::ranges::sort(out.records, {}, [](auto& r) { return std::pair(r.organization, r.project); });
  return out;
}

}  // namespace mayfly::scheduling
