// MB/s of log text through the masker with 64 secrets; DESIGN.md's floor for the log pipeline counts on it.
#include <benchmark/benchmark.h>

#include <random>

#include "domain/logs/masker.h"

namespace {

std::mt19937_64 chance(1);

std::string random_text(std::size_t size, std::string_view alphabet) {
  std::string text;
  for (std::size_t i = 0; i < size; ++i) text += alphabet[chance() % alphabet.size()];
  return text;
}

constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+/";

std::vector<std::string> secrets() {
  std::vector<std::string> all;
  for (int i = 0; i < 64; ++i) all.push_back(random_text(20 + i % 24, letters));
  return all;
}

std::string compiler_output() {
  std::string text;
  while (text.size() < (8u << 20))
    text += "[" + std::to_string(chance() % 1000) + "/1000] c++ -O2 -Wall -Iinclude -c src/" + random_text(12, letters) + ".cpp -o build/" +
            random_text(12, letters) + ".o\n";
  return text;
}

void run(benchmark::State& state, const std::string& text) {
  auto patterns = mayfly::MaskPatterns::make(secrets());
  mayfly::Masker masker(patterns);
  std::string out;
  for (auto _ : state) {
    for (std::size_t at = 0; at < text.size(); at += 64 << 10) {
      out.clear();
      masker.feed(std::string_view(text).substr(at, 64 << 10), out);
      benchmark::DoNotOptimize(out.data());
    }
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * text.size()));
}

void mask_compiler_output(benchmark::State& state) { run(state, compiler_output()); }
void mask_random_base64(benchmark::State& state) { run(state, random_text(8 << 20, letters)); }
void build_64_secrets(benchmark::State& state) {
  auto all = secrets();
  for (auto _ : state) benchmark::DoNotOptimize(mayfly::MaskPatterns::make(all));
}

BENCHMARK(mask_compiler_output);
BENCHMARK(mask_random_base64);
BENCHMARK(build_64_secrets);

}  // namespace

BENCHMARK_MAIN();
