#pragma once
// Counters, gauges and latencies for /metrics (Prometheus text). Names, kinds and help stand in one table in metrics.cpp;
// a name that is not in it is a bug. prometheus-cpp is behind it.

#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/time.h"

namespace mayfly {

using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

/// One series of a gauge.
struct Sample {
  std::map<std::string, std::string> labels;
  double value = 0;
};

class Metrics final {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  void count(std::string_view name, Labels labels = {}, double n = 1);
  void set(std::string_view name, double value, Labels labels = {});
  /// The whole of a gauge: series that are not among `samples` are gone.
  void replace(std::string_view name, const std::vector<Sample>& samples);
  void observe(std::string_view name, Duration took, Labels labels = {});

  std::string text() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mayfly
