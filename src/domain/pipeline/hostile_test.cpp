// Files made to take long. Each is within the limits of a file; the time is the processor's, and roomy for builds
// without optimization: a cost that grows with the square of a file's size takes minutes here.
#include <gtest/gtest.h>

#include <ctime>
#include <functional>

#include "domain/pipeline/planner.h"

namespace mayfly {
namespace {

constexpr double most_seconds = 20;

std::string times(std::size_t n, std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < n; ++i) out += text;
  return out;
}

std::string count(int n, const std::function<std::string(std::string)>& text) {
  std::string out;
  for (int i = 0; i < n; ++i) out += text(std::to_string(i));
  return out;
}

void expect_soon(std::string_view what, std::string yaml, TriggerEvent event = {.ref = "refs/heads/main"}, PlanLimits limits = {}) {
  ASSERT_LE(yaml.size(), PlanLimits{}.file_bytes) << what;
  auto start = std::clock();
  (void)plan({{".ci.yaml", std::move(yaml)}}, event, {.limits = limits});
  EXPECT_LT(double(std::clock() - start) / CLOCKS_PER_SEC, most_seconds) << what;
}

TEST(HostileFile, OfYamlTakesNoTime) {
  expect_soon("brackets", times(1'000'000, "["));
  expect_soon("maps in maps", times(200'000, "{a: "));
  expect_soon("unknown keys", "{" + count(50'000, [](auto n) { return "kkkkkkkkk" + n + ": 1, "; }) + "}");
  expect_soon("anchors", count(40'000, [](auto n) { return "- &a" + n + " x\n- *a" + n + "\n"; }));
  expect_soon("escapes", "a: \"" + times(500'000, "\\n") + "\"");
}

TEST(HostileFile, OfJobsTakesNoTime) {
  expect_soon("a long chain", "jobs:\n  j0: {run: x}\n" + count(9'999, [](auto n) { return "  j" + std::to_string(std::stoi(n) + 1) + ": {run: x, needs: j" + n + "}\n"; }));
  expect_soon("many cycles", "jobs:\n" + count(10'000, [](auto n) { return "  j" + n + ": {run: x, needs: [j" + std::to_string(std::stoi(n) ^ 1) + "]}\n"; }));
  expect_soon("unknown needs", "jobs:\n" + count(10'000, [](auto n) { return "  j" + n + ": {run: x, needs: [x" + n + "]}\n"; }));
  PlanLimits small{.plan_bytes = 8 << 20};  // what these cost is the plan they make
  auto axis = "[" + count(1'000, [](auto n) { return n + ", "; }) + "]";
  expect_soon("needs of matrices", "jobs:\n" + count(10, [&](auto n) { return "  j" + n + ": {run: x, matrix: {a: " + axis + "}" + (n < "5" ? "" : ", needs: [j0, j1, j2, j3, j4]") + "}\n"; }), {}, small);
  expect_soon("steps times a matrix", "jobs: {a: {matrix: {a: " + axis + "}, steps: [" + times(1'000, "{run: x}, ") + "]}}", {}, small);
  expect_soon("variables times jobs", "env: {" + count(1'000, [](auto n) { return "A" + n + ": x, "; }) + "}\njobs: {" + count(10'000, [](auto n) { return "j" + n + ": {run: x}, "; }) + "}", {}, small);
}

TEST(HostileFile, OfExpressionsTakesNoTime) {
  expect_soon("wrong ones", "jobs: {a: {run: \"" + times(120'000, "${{foo}}") + "\"}}");
  expect_soon("open ones", "jobs: {a: {run: \"" + times(300'000, "${{") + "\"}}");
  expect_soon("quotes", "jobs: {a: {run: \"" + times(200'000, "${{'") + "\"}}");
  expect_soon("parentheses", "jobs: {a: {if: \"" + times(4'000, "(") + "\", run: x}}");
  expect_soon("right ones", "jobs: {a: {run: \"" + times(70'000, "${{ref}} ") + "\"}}");
}

TEST(HostileFile, OfGlobsTakesNoTime) {
  TriggerEvent event{.ref = "refs/heads/main", .changed_paths = std::vector<std::string>(5'000, "src/" + times(100, "a"))};
  expect_soon("stars", "on: {push: {paths: [" + times(20, "\"" + times(80, "**a") + "b\", ") + "]}}\njobs: {a: {run: x}}", event);
}

}  // namespace
}  // namespace mayfly
