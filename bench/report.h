#pragma once
// What a bench program of ours says: one JSON line for each thing measured, which bench/run puts beside its goal.

#include <benchmark/benchmark.h>

#include <span>
#include <string>
#include <vector>

namespace mayfly::bench {

/// A counter that a benchmark sets (`state.counters[counter] = value`), and the row of the table it is.
struct Measure {
  std::string counter;  // unique in the program
  std::string what;     // as in bars.json, if it has a bar
  std::string unit;
};

/// main() of a bench program: runs its benchmarks, and prints for each measure the median over the repetitions.
int run(int argc, char** argv, std::span<const Measure> measures);

/// The q-quantile of samples, 0 <= q <= 1. Reorders them; 0 of none.
double quantile(std::vector<double>& samples, double q);

/// Milliseconds of cpu this thread has used so far: what other programs do to the machine does not count.
double thread_cpu_ms();

}  // namespace mayfly::bench
