#include "bench/report.h"

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <map>

namespace mayfly::bench {
namespace {

/// Keeps every run's counters; google-benchmark's own table goes to stderr.
class Keeper final : public benchmark::ConsoleReporter {
 public:
  Keeper() : ConsoleReporter(OO_None) {
    SetOutputStream(&std::cerr);
    SetErrorStream(&std::cerr);
  }

  void ReportRuns(const std::vector<Run>& runs) override {
    ConsoleReporter::ReportRuns(runs);
    for (auto& run : runs) {
      if (run.run_type != Run::RT_Iteration) continue;
      failed = failed || run.error_occurred;
      for (auto& [name, counter] : run.counters) samples[name].push_back(counter.value);
    }
  }

  std::map<std::string, std::vector<double>> samples;
  bool failed = false;
};

}  // namespace

double quantile(std::vector<double>& samples, double q) {
  if (samples.empty()) return 0;
  auto at = samples.begin() + std::ptrdiff_t(q * double(samples.size() - 1));
  std::ranges::nth_element(samples, at);
  return *at;
}

int run(int argc, char** argv, std::span<const Measure> measures) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  Keeper keeper;
  benchmark::RunSpecifiedBenchmarks(&keeper);
  for (auto& measure : measures) {
    auto found = keeper.samples.find(measure.counter);
    if (found == keeper.samples.end()) continue;
    std::printf("{\"what\": \"%s\", \"value\": %.6g, \"unit\": \"%s\"}\n", measure.what.c_str(),
                quantile(found->second, 0.5), measure.unit.c_str());
  }
  return keeper.failed ? 1 : 0;
}

double thread_cpu_ms() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return double(t.tv_sec) * 1e3 + double(t.tv_nsec) / 1e6;
}

}  // namespace mayfly::bench
