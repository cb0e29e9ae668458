#pragma once
// What a bench program of ours says: one JSON line for each thing measured, which bench/run puts beside its goal.

#include <benchmark/benchmark.h>

#include <span>
#include <string>
#include <vector>

namespace mayfly::bench {

/// A counter that a benchmark sets (`state.counters[counter] = value`), and what it is called in the table.
struct Measure {
  std::string counter;
  std::string what;  // as in bars.json
  std::string unit;
};

/// main() of a bench program: runs its benchmarks, and prints for each measure the median over the repetitions.
int run(int argc, char** argv, std::span<const Measure> measures);

/// The q-quantile of samples, 0 <= q <= 1. Reorders them; 0 of none.
double quantile(std::vector<double>& samples, double q);

}  // namespace mayfly::bench
