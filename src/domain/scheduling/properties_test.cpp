// Whatever the scheduler is told, in whatever order: it stays within capacity and limits, leaves nothing idle that could
// run, says the truth about what waits, and decides after a restart as it would have without one.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <set>

#include "domain/scheduling/test_world.h"

namespace mayfly::scheduling::test {
namespace {

using namespace std::chrono_literals;
using Kind = WaitReason::Kind;

const std::vector<std::string> labels = {"gpu", "big"};
const std::vector<std::string> pool_names = {"a", "b", "c"};

std::vector<std::string> some_labels() {
  std::vector<std::string> out;
  for (auto& label : labels)
    if (*rc::gen::inRange(0, 4) == 0) out.push_back(label);
  return out;
}

/// The scheduler, and beside it what it has been told, kept in the plainest way.
class Model {
 public:
  FairShare scheduler;
  Time now = noon;
  std::map<std::string, PoolState> pools;
  std::map<JobId, QueuedJob> waiting;
  struct Running {
    QueuedJob job;
    std::string pool;
    Time since;
  };
  std::map<JobId, Running> running;
  std::map<OrganizationId, OrganizationShare> shares;
  std::map<BuildId, Time> served;

  void some_pool() {
    auto state = pool(*rc::gen::elementOf(pool_names), *rc::gen::inRange(1, 9), *rc::gen::inRange(1, 17) * GiB, *rc::gen::inRange(1, 12));
    state.labels = some_labels();
    if (*rc::gen::inRange(0, 4) == 0) state.isolations.push_back(Isolation::gvisor);
    if (*rc::gen::inRange(0, 8) == 0) state.floor = *rc::gen::element(Isolation::gvisor, Isolation::kata);
    if (*rc::gen::inRange(0, 4) == 0) state.fork_floor = Isolation::gvisor;
    state.draining = *rc::gen::inRange(0, 8) == 0;
    state.silent = *rc::gen::inRange(0, 8) == 0;
    pools[state.name] = state;
    scheduler.set_pool(state);
  }

  void lose_pool() {
    auto name = *rc::gen::elementOf(pool_names);
    pools.erase(name);
    scheduler.remove_pool(name);
  }

  void some_share() {
    auto organization = id<OrganizationId>(*rc::gen::inRange<std::uint64_t>(1, 4));
    OrganizationShare share{.weight = double(*rc::gen::inRange(1, 5)),
                            .guaranteed_share = *rc::gen::inRange(0, 3) == 0 ? 0.3 : 0,
                            .max_share = *rc::gen::inRange(0, 3) == 0 ? 0.5 : 1};
    shares[organization] = share;
    scheduler.set_organization(organization, "o" + organization.str(), share);
  }

  void some_job() {
    int organization = *rc::gen::inRange(1, 4), project = organization * 10 + *rc::gen::inRange(0, 2);
    auto q = job({.job = ++jobs_,
                  .organization = organization,
                  .project = project,
                  .build = project * 10 + *rc::gen::inRange(0, 3),
                  .cpu = *rc::gen::element(500, 1000, 2000, 6000),
                  .memory = *rc::gen::element(GiB / 2, GiB, 8 * GiB),
                  .priority = Priority(*rc::gen::inRange(0, 3)),
                  .queued_at = now});
    q.shape.labels = some_labels();
    if (*rc::gen::inRange(0, 8) == 0) q.shape.isolation = *rc::gen::element(Isolation::runc, Isolation::gvisor, Isolation::kata);
    q.shape.fork = *rc::gen::inRange(0, 4) == 0;
    if (*rc::gen::inRange(0, 5) == 0) q.not_before = now + std::chrono::milliseconds(*rc::gen::inRange(0, 3000));
    if (*rc::gen::inRange(0, 3) == 0) q.matrix_group = "test", q.max_parallel = 1 + int(q.build.value.bytes[15]) % 3;
    if (auto last = served.find(q.build); last != served.end()) q.build_served_at = last->second;
    waiting[q.job] = q;
    RC_ASSERT(scheduler.enqueue(q));
  }

  void end_one() {
    if (running.empty()) return;
    auto ended = std::next(running.begin(), *rc::gen::inRange<long>(0, long(running.size())));
    scheduler.released(ended->first, now);
    running.erase(ended);
  }

  void cancel_one() {
    if (waiting.empty()) return;
    auto canceled = std::next(waiting.begin(), *rc::gen::inRange<long>(0, long(waiting.size())));
    scheduler.remove(canceled->first, now);
    waiting.erase(canceled);
  }

  void anything() {
    switch (*rc::gen::weightedElement<int>({{12, 0}, {5, 1}, {2, 2}, {2, 3}, {1, 4}, {1, 5}, {4, 6}})) {
      case 0: return some_job();
      case 1: return end_one();
      case 2: return cancel_one();
      case 3: return some_pool();
      case 4: return lose_pool();
      case 5: return some_share();
      case 6: now += std::chrono::milliseconds(*rc::gen::inRange(0, 400)); return;
    }
  }

  Resources held(std::string_view pool) const {
    Resources out;
    for (auto& [job, run] : running)
      if (run.pool == pool) out += run.job.shape.resources();
    return out;
  }

  int running_in_matrix(const QueuedJob& q) const {
    return int(std::ranges::count_if(running, [&](auto& r) {
      return r.second.job.build == q.build && r.second.job.matrix_group == q.matrix_group;
    }));
  }

  Resources total() const {
    Resources out;
    for (auto& [name, pool] : pools)
      if (pool.takes_jobs()) out += pool.capacity;
    return out;
  }

  bool above_max_share(const QueuedJob& q) const {
    auto share = shares.find(q.organization);
    if (share == shares.end() || share->second.max_share >= 1) return false;
    Resources sum;
    for (auto& [job, run] : running)
      if (run.job.organization == q.organization) sum += run.job.shape.resources();
    if (sum == Resources{}) return false;
    sum += q.shape.resources();
    auto part = sum.each(), whole = total().each();
    for (std::size_t r = 0; r < Resources::kinds; ++r)
      if (double(part[r]) > (share->second.max_share + 1e-9) * double(whole[r])) return true;
    return false;
  }

  /// As the rules say it, one by one.
  static bool isolated(const PoolState& pool, const Shape& shape) {
    return std::ranges::any_of(pool.isolations, [&](Isolation i) {
      return at_least(i, pool.floor) && (!shape.fork || at_least(i, pool.fork_floor)) && (!shape.isolation || at_least(i, *shape.isolation));
    });
  }

  static bool suits(const PoolState& pool, const Shape& shape) {
    return pool.takes_jobs() && offers_labels(pool, shape) && isolated(pool, shape);
  }

  bool could_ever_run(const QueuedJob& q) const {
    return std::ranges::any_of(pools, [&](auto& p) {
      return suits(p.second, q.shape) && q.shape.resources().fits_in(p.second.capacity);
    });
  }

  bool fits_now(const QueuedJob& q) const {
    return std::ranges::any_of(pools, [&](auto& p) {
      return suits(p.second, q.shape) && q.shape.resources().fits_in(p.second.capacity - held(p.first));
    });
  }

  bool matrix_full(const QueuedJob& q) const {
    return !q.matrix_group.empty() && running_in_matrix(q) >= q.max_parallel;
  }

  /// Starts all that can start, each decision checked.
  void decide() {
    while (auto decision = scheduler.next(now)) {
      auto found = waiting.find(decision->job);
      RC_ASSERT(found != waiting.end());
      auto q = found->second;
      RC_ASSERT(pools.contains(decision->pool));
      RC_ASSERT(suits(pools[decision->pool], q.shape));
      RC_ASSERT(q.shape.resources().fits_in(pools[decision->pool].capacity - held(decision->pool)));
      RC_ASSERT(!matrix_full(q));
      RC_ASSERT(!above_max_share(q));
      RC_ASSERT(q.not_before <= now);
      waiting.erase(found);
      running[q.job] = {q, decision->pool, now};
      served[q.build] = now;
    }
  }

 private:
  int jobs_ = 0;
};

int steps() { return *rc::gen::inRange(1, 120); }

RC_GTEST_PROP(SchedulingProperties, StaysWithinLimitsAndLeavesNothingIdle, ()) {
  Model model;
  model.some_pool();
  for (int i = steps(); i > 0; --i) {
    model.anything();
    model.decide();
    for (auto& [job, q] : model.waiting) {
      bool may_start = q.not_before <= model.now && !model.matrix_full(q) && !model.above_max_share(q);
      RC_ASSERT(!(may_start && model.fits_now(q)));
    }
    RC_ASSERT(model.scheduler.waiting() == model.waiting.size());
    RC_ASSERT(model.scheduler.running() == model.running.size());
  }
}

RC_GTEST_PROP(SchedulingProperties, SaysTheTruthAboutWhatWaits, ()) {
  Model model;
  model.some_pool();
  for (int i = steps(); i > 0; --i) model.anything();
  model.decide();
  std::map<OrganizationId, std::set<int>> places;
  std::map<OrganizationId, int> lines;
  for (auto& [job, q] : model.waiting) {
    auto why = model.scheduler.why(job, model.now);
    RC_ASSERT(!why.sentence.empty());
    if (!model.could_ever_run(q))
      RC_ASSERT(why.kind == Kind::no_pool || why.kind == Kind::too_large);
    else if (q.not_before > model.now)
      RC_ASSERT(why.kind == Kind::not_before);
    else if (model.matrix_full(q))
      RC_ASSERT(why.kind == Kind::max_parallel);
    else if (model.above_max_share(q))
      RC_ASSERT(why.kind == Kind::max_share);
    else
      RC_ASSERT(why.kind == Kind::capacity);
    if (why.kind == Kind::too_large)
      RC_ASSERT(std::ranges::any_of(model.pools, [&](auto& p) { return model.suits(p.second, q.shape); }));
    if (why.place == 0) continue;
    RC_ASSERT(places[q.organization].insert(why.place).second);
    lines[q.organization] = why.line;
  }
  for (auto& [organization, line] : lines) {
    RC_ASSERT(int(places[organization].size()) == line);
    RC_ASSERT(*places[organization].rbegin() == line);
  }
}

RC_GTEST_PROP(SchedulingProperties, PlacesInLineAreTheOrderOfStarting, ()) {
  FairShare scheduler;
  int jobs = *rc::gen::inRange(1, 40);
  for (int i = 1; i <= jobs; ++i) {
    int project = 10 + *rc::gen::inRange(0, 3);
    scheduler.enqueue(job({.job = i,
                           .project = project,
                           .build = project * 10 + *rc::gen::inRange(0, 3),
                           .cpu = *rc::gen::element(500, 1000, 4000),
                           .priority = Priority(*rc::gen::inRange(0, 3)),
                           .queued_at = noon - std::chrono::seconds(*rc::gen::inRange(0, 3000))}));
  }
  scheduler.set_pool(pool("here", 1000));
  std::map<int, int> foretold;
  for (int i = 1; i <= jobs; ++i) foretold[scheduler.why(id<JobId>(std::uint64_t(i)), noon).place] = i;
  int place = 0;
  for (int started : start_all(scheduler, noon)) RC_ASSERT(foretold[++place] == started);
}

/// What a new scheduler decides that is told everything in an arbitrary order.
FairShare rebuilt(const Model& model, FairShare& old) {
  FairShare fresh(old.usage(model.now));
  std::vector<std::function<void()>> facts;
  for (auto& [name, state] : model.pools) facts.push_back([&] { fresh.set_pool(state); });
  for (auto& [organization, share] : model.shares)
    facts.push_back([&] { fresh.set_organization(organization, "o" + organization.str(), share); });
  for (auto& [job, run] : model.running)
    facts.push_back([&, q = run.job] { fresh.add_running(q, run.pool, run.since); });
  for (auto& [job, waiting] : model.waiting)
    facts.push_back([&, q = waiting]() mutable {
      auto served = model.served.find(q.build);
      if (served != model.served.end()) q.build_served_at = served->second;
      fresh.enqueue(q);
    });
  for (std::size_t i = facts.size(); i > 1; --i) std::swap(facts[i - 1], facts[*rc::gen::inRange<std::size_t>(0, i)]);
  for (auto& fact : facts) fact();
  return fresh;
}

RC_GTEST_PROP(SchedulingProperties, ARestartChangesNoDecision, ()) {
  Model model;
  model.some_pool();
  for (int i = steps(); i > 0; --i) {
    model.anything();
    model.decide();
  }
  auto fresh = rebuilt(model, model.scheduler);
  RC_ASSERT(fresh.waiting() == model.scheduler.waiting());
  for (int i = 0; i < 20 && !model.running.empty(); ++i) {
    model.now += 200ms;
    auto ended = model.running.begin()->first;
    model.running.erase(ended);
    model.scheduler.released(ended, model.now);
    fresh.released(ended, model.now);
    for (;;) {
      auto expected = model.scheduler.next(model.now), got = fresh.next(model.now);
      RC_ASSERT(expected == got);
      if (!expected) break;
      model.running[expected->job] = {model.waiting[expected->job], expected->pool, model.now};
      model.waiting.erase(expected->job);
    }
  }
}

}  // namespace
}  // namespace mayfly::scheduling::test
