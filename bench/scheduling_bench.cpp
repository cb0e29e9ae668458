// A scheduler's decisions with 50,000 jobs waiting in 1,000 organizations: four projects an organization, builds of five
// jobs. There are eight shapes; a project's jobs are of two of them.

#include <chrono>
#include <map>
#include <random>

#include "bench/report.h"
#include "domain/scheduling/fair_share.h"

namespace {

using namespace mayfly;
using namespace mayfly::scheduling;
using namespace std::chrono_literals;

constexpr int queue = 50'000, organizations = 1'000, projects = 4, jobs_in_build = 5, already_running = 5'000;
constexpr std::int64_t GiB = std::int64_t(1) << 30;
constexpr int repetitions = 9;
const Time start = from_micros(1'770'000'000'000'000);

template <class IdType>
IdType id(std::uint64_t n) {
  IdType out;
  for (int i = 0; i < 8; ++i) out.value.bytes[std::size_t(15 - i)] = std::uint8_t(n >> (8 * i));
  return out;
}

QueuedJob job(int n, std::mt19937& random) {
  int build = n / jobs_in_build;
  int organization = build % organizations;
  int project = organization * projects + build / organizations % projects;
  int kind = (project * 5 + int(random() % 2) * 3) % 8;
  int size = 1 << kind / 2;
  return {.job = id<JobId>(std::uint64_t(n + 1)),
          .build = id<BuildId>(std::uint64_t(build + 1)),
          .project = id<ProjectId>(std::uint64_t(project + 1)),
          .organization = id<OrganizationId>(std::uint64_t(organization + 1)),
          .shape = {.cpu_milli = size * 500, .memory_bytes = size * (kind % 2 ? GiB : GiB / 2), .labels = {}, .isolation = Isolation::sandbox},
          .priority = Priority(random() % 3),
          .queued_at = start - std::chrono::milliseconds(random() % 600'000),
          .not_before = {},
          .matrix_group = {},
          .max_parallel = 0,
          .build_served_at = {}};
}

std::vector<QueuedJob> jobs(int from, int count) {
  std::mt19937 random(unsigned(from) + 1);
  std::vector<QueuedJob> out;
  for (int i = 0; i < count; ++i) out.push_back(job(from + i, random));
  return out;
}

PoolState pool(std::string name, std::int64_t cpus, std::int64_t slots) {
  return {.name = std::move(name), .capacity = {cpus * 1000, 4 * cpus * GiB, slots}, .labels = {}, .isolations = {Isolation::sandbox}, .draining = false};
}

FairShare rebuilt(const std::vector<QueuedJob>& waiting, const std::vector<QueuedJob>& running, std::int64_t cpus, std::int64_t slots) {
  FairShare scheduler;
  for (int i = 0; i < organizations; ++i)
    scheduler.set_organization(id<OrganizationId>(std::uint64_t(i + 1)), "organization", {.weight = double(1 + i % 3)});
  scheduler.set_pool(pool("a", cpus, slots));
  scheduler.set_pool(pool("b", cpus, slots));
  for (auto& q : running) scheduler.add_running(q, q.job.value.bytes[15] % 2 ? "a" : "b", q.queued_at);
  for (auto& q : waiting) scheduler.enqueue(q);
  return scheduler;
}

double seconds(std::chrono::steady_clock::duration d) { return std::chrono::duration<double>(d).count(); }

/// Everything waits, everything fits: decide all 50,000.
void drain(benchmark::State& state) {
  auto full = rebuilt(jobs(0, queue), {}, 1'000'000, 1'000'000);
  for (auto _ : state) {
    auto scheduler = full;
    auto begin = bench::thread_cpu_ms();
    int decided = 0;
    while (scheduler.next(start)) ++decided;
    state.counters["drain_ms"] = bench::thread_cpu_ms() - begin;
    if (decided != queue) return state.SkipWithError("not everything was drained");
  }
}
BENCHMARK(drain)->Iterations(1)->Repetitions(repetitions)->Unit(benchmark::kMillisecond);

/// A full cluster: a runner ends, the next job is decided, and one that was not there before comes in line.
void decide(benchmark::State& state) {
  auto scheduler = rebuilt(jobs(0, queue), {}, 2'500, 2'500);
  auto more = jobs(queue, queue);
  std::vector<JobId> running;
  while (auto decision = scheduler.next(start)) running.push_back(decision->job);
  std::mt19937 random(7);
  std::vector<double> next_us, release_us, enqueue_us;
  auto now = start;
  for (auto _ : state) {
    for (auto& q : more) {
      now += 10ms;
      auto at = random() % running.size();
      auto begin = std::chrono::steady_clock::now();
      scheduler.released(running[at], now);
      auto released = std::chrono::steady_clock::now();
      release_us.push_back(seconds(released - begin) * 1e6);
      running[at] = running.back();
      running.pop_back();
      for (;;) {
        begin = std::chrono::steady_clock::now();
        auto decision = scheduler.next(now);
        next_us.push_back(seconds(std::chrono::steady_clock::now() - begin) * 1e6);
        if (!decision) break;
        running.push_back(decision->job);
      }
      q.queued_at = now;
      begin = std::chrono::steady_clock::now();
      scheduler.enqueue(q);
      enqueue_us.push_back(seconds(std::chrono::steady_clock::now() - begin) * 1e6);
    }
  }
  state.counters["decision_p50_us"] = bench::quantile(next_us, 0.5);
  state.counters["decision_p99_us"] = bench::quantile(next_us, 0.99);
  state.counters["release_p99_us"] = bench::quantile(release_us, 0.99);
  state.counters["enqueue_p99_us"] = bench::quantile(enqueue_us, 0.99);
}
BENCHMARK(decide)->Iterations(1)->Repetitions(repetitions)->Unit(benchmark::kMillisecond);

/// A new scheduler is fed everything the database knows.
void rebuild(benchmark::State& state) {
  auto waiting = jobs(0, queue), running = jobs(queue, already_running);
  for (auto _ : state) {
    auto begin = bench::thread_cpu_ms();
    auto scheduler = rebuilt(waiting, running, 2'500, 5'000);
    benchmark::DoNotOptimize(scheduler.next(start));
    state.counters["rebuild_ms"] = bench::thread_cpu_ms() - begin;
  }
}
BENCHMARK(rebuild)->Iterations(1)->Repetitions(repetitions)->Unit(benchmark::kMillisecond);

/// The sentence for one job in the longest line there can be.
void why(benchmark::State& state) {
  auto waiting = jobs(0, queue);
  for (auto& q : waiting) q.organization = id<OrganizationId>(1), q.project = id<ProjectId>(q.project.value.bytes[15] % 4 + 1);
  auto scheduler = rebuilt(waiting, {}, 4, 4);
  for (auto _ : state) {
    auto begin = bench::thread_cpu_ms();
    benchmark::DoNotOptimize(scheduler.why(waiting.back().job, start));
    state.counters["why_ms"] = bench::thread_cpu_ms() - begin;
  }
}
BENCHMARK(why)->Iterations(1)->Repetitions(repetitions)->Unit(benchmark::kMillisecond);

/// 3,000 jobs of one organization take a cluster of 200 runners; five seconds later 19 others have 200 jobs each. Jain's
/// index of the runner-seconds all 20 had in the ten seconds that end a minute after the others came.
void burst(benchmark::State& state) {
  constexpr int tenants = 20, runners = 200, burst_jobs = 3'000, others_jobs = 200, run_s = 20;
  constexpr auto others_come = 5s, measured_from = 55s, measured_until = 65s;
  FairShare scheduler;
  scheduler.set_pool(pool("a", runners, runners));
  std::mt19937 random(1);
  std::vector<JobId> made;
  auto submit = [&](int tenant, Time at) {
    auto n = std::uint64_t(made.size());
    made.push_back(id<JobId>(n + 1));
    auto of = std::uint64_t(tenant + 1);
    scheduler.enqueue({.job = made.back(), .build = id<BuildId>(of), .project = id<ProjectId>(of), .organization = id<OrganizationId>(of),
                       .shape = {}, .priority = Priority::normal, .queued_at = at, .not_before = {}, .matrix_group = {}, .max_parallel = 0, .build_served_at = {}});
  };
  for (auto _ : state) {
    std::multimap<Time, JobId> ends;
    double sum = 0, squares = 0;
    std::vector<double> had(tenants);
    for (int i = 0; i < burst_jobs; ++i) submit(0, start);
    for (auto now = start; now < start + measured_until; now += 1s) {
      if (now == start + others_come)
        for (int tenant = 1; tenant < tenants; ++tenant)
          for (int i = 0; i < others_jobs; ++i) submit(tenant, now);
      for (; !ends.empty() && ends.begin()->first <= now; ends.erase(ends.begin())) scheduler.released(ends.begin()->second, now);
      while (auto decision = scheduler.next(now)) ends.emplace(now + std::chrono::seconds(1 + random() % (2 * run_s)), decision->job);
      if (now < start + measured_from) continue;
      auto statistics = scheduler.statistics(now);
      for (int tenant = 0; tenant < tenants; ++tenant) had[std::size_t(tenant)] += double(statistics[std::size_t(tenant)].running);
    }
    for (double x : had) sum += x, squares += x * x;
    state.counters["jain"] = sum * sum / (tenants * squares);
  }
}
BENCHMARK(burst)->Iterations(1)->Unit(benchmark::kMillisecond);

}  // namespace

int main(int argc, char** argv) {
  const bench::Measure measures[] = {
      {"decision_p50_us", "scheduling decision, 50,000 queued of 1,000 organizations p50", "us"},
      {"decision_p99_us", "scheduling decision, 50,000 queued of 1,000 organizations p99", "us"},
      {"release_p99_us", "scheduling: a runner ends p99", "us"},
      {"enqueue_p99_us", "scheduling: a job comes in line p99", "us"},
      {"drain_ms", "scheduling: 50,000 queued, all drained", "ms"},
      {"rebuild_ms", "scheduling: rebuilt with 50,000 queued", "ms"},
      {"jain", "fairness within 60 s of a 3,000-job burst", "Jain"},
      {"why_ms", "scheduling: why the last of 50,000 in one line waits", "ms"},
  };
  return bench::run(argc, argv, measures);
}
