#include "roles/common/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <cassert>
#include <map>
#include <set>

namespace mayfly {
namespace {

enum class Kind { counter, gauge, histogram };

struct Metric {
  std::string_view name;
  Kind kind;
  std::string_view help;
};

constexpr Metric table[] = {
    {"mayfly_http_requests_total", Kind::counter, "Requests by route, method and status"},
    {"mayfly_http_request_seconds", Kind::histogram, "Time to answer, by route"},
    {"mayfly_webhooks_total", Kind::counter, "Webhooks by provider and what became of them"},
    {"mayfly_builds_total", Kind::counter, "Builds that ended, by status"},
    {"mayfly_attempts_total", Kind::counter, "Attempts that ended, by outcome and reason"},
    {"mayfly_start_latency_seconds", Kind::histogram,
     "From a webhook to the first byte, by hop: webhook, plan, queue, assign, start, first_byte"},
    {"mayfly_waiting_jobs", Kind::gauge, "Jobs that wait for a runner, each once"},
    {"mayfly_queue_depth", Kind::gauge, "Jobs that wait, by each pool that could run them and by what they ask for; of those no pool can run, pool is empty"},
    {"mayfly_queue_wait_seconds", Kind::gauge, "How long the one of them has waited that waits longest"},
    {"mayfly_running_jobs", Kind::gauge, "Jobs that hold a runner, by pool"},
    {"mayfly_pool_capacity", Kind::gauge, "What a pool has, by resource"},
    {"mayfly_pool_used", Kind::gauge, "What jobs hold of it"},
    {"mayfly_pool_open", Kind::gauge, "1 while the pool takes jobs; 0 when it is drained or nobody keeps it"},
    {"mayfly_log_bytes_total", Kind::counter, "Log bytes taken in"},
    {"mayfly_shipped_refused_total", Kind::counter, "Log records of other shippers that were not taken"},
    {"mayfly_artifact_bytes_total", Kind::counter, "Artifact bytes taken in"},
};

const prometheus::Histogram::BucketBoundaries buckets = {0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.12, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300};

const Metric& metric(std::string_view name) {
  for (auto& m : table)
    if (m.name == name) return m;
  assert(false && "a metric that is not in the table");
  return table[0];
}

prometheus::Labels to_labels(Labels labels) {
  prometheus::Labels out;
  for (auto& [key, value] : labels) out.emplace(key, value);
  return out;
}

}  // namespace

struct Metrics::Impl {
  prometheus::Registry registry;
  std::map<std::string_view, prometheus::Family<prometheus::Counter>*> counters;
  std::map<std::string_view, prometheus::Family<prometheus::Gauge>*> gauges;
  std::map<std::string_view, prometheus::Family<prometheus::Histogram>*> histograms;
  std::map<std::string_view, std::set<prometheus::Gauge*>> replaced;   // of the gauges that are replaced as a whole

  Impl() {
    for (auto& m : table) {
      auto described = [&](auto builder) { return &builder.Name(std::string(m.name)).Help(std::string(m.help)).Register(registry); };
      switch (m.kind) {
        case Kind::counter: counters[m.name] = described(prometheus::BuildCounter()); break;
        case Kind::gauge: gauges[m.name] = described(prometheus::BuildGauge()); break;
        case Kind::histogram: histograms[m.name] = described(prometheus::BuildHistogram()); break;
      }
    }
  }
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {}
Metrics::~Metrics() = default;

void Metrics::count(std::string_view name, Labels labels, double n) {
  impl_->counters.at(metric(name).name)->Add(to_labels(labels)).Increment(n);
}
void Metrics::set(std::string_view name, double value, Labels labels) {
  impl_->gauges.at(metric(name).name)->Add(to_labels(labels)).Set(value);
}
void Metrics::replace(std::string_view name, const std::vector<Sample>& samples) {
  auto& family = *impl_->gauges.at(metric(name).name);
  auto gone = std::exchange(impl_->replaced[metric(name).name], {});
  auto& now = impl_->replaced[metric(name).name];
  for (auto& sample : samples) {
    auto& gauge = family.Add(sample.labels);
    gauge.Set(sample.value);
    now.insert(&gauge);
    gone.erase(&gauge);
  }
  for (auto* gauge : gone) family.Remove(gauge);
}
void Metrics::observe(std::string_view name, Duration took, Labels labels) {
  impl_->histograms.at(metric(name).name)->Add(to_labels(labels), buckets).Observe(std::chrono::duration<double>(took).count());
}

std::string Metrics::text() const { return prometheus::TextSerializer().Serialize(impl_->registry.Collect()); }

}  // namespace mayfly
