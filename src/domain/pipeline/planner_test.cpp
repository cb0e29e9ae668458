#include "domain/pipeline/planner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mayfly {
namespace {

using testing::ElementsAre;
using namespace std::chrono_literals;

TriggerEvent push_to(std::string branch) {
  return {.event = "push", .ref = "refs/heads/" + branch, .sha = std::string(40, 'a')};
}

std::string text_of(const std::vector<Diagnostic>& problems) {
  std::string out;
  for (auto& problem : problems) out += to_string(problem) + "\n";
  return out;
}

PlanResult planned(std::string yaml, TriggerEvent event = push_to("main"), PlanOptions options = {}) {
  auto result = plan({{".ci.yaml", std::move(yaml)}}, event, options);
  if (result) return *std::move(result);
  ADD_FAILURE() << text_of(result.error());
  return {.plan = Plan{}, .no_build = {}, .event = {}};
}

std::string problems_of(std::string yaml, TriggerEvent event = push_to("main"), PlanOptions options = {}) {
  auto result = plan({{".ci.yaml", std::move(yaml)}}, event, options);
  return result ? "planned" : text_of(result.error());
}

std::vector<std::string> names(const Plan& plan) {
  std::vector<std::string> out;
  for (auto& job : plan.jobs) out.push_back(job.name);
  return out;
}

const JobSpec& job(const PlanResult& result, std::string_view name) {
  static const JobSpec none;
  for (auto& job : result.plan->jobs)
    if (job.name == name) return job;
  ADD_FAILURE() << "no job " << name;
  return none;
}

TEST(Plan, MakesTheSmallestPipelineOneJob) {
  auto result = planned("jobs: {hello: {run: echo hello}}");
  ASSERT_THAT(names(*result.plan), ElementsAre("hello"));
  EXPECT_EQ(job(result, "hello").steps[0].run, "echo hello");
  EXPECT_EQ(job(result, "hello").steps[0].name, "echo hello");
  EXPECT_EQ(job(result, "hello").image, "host");
}

TEST(Plan, PutsNeedsFirst) {
  auto result = planned(R"(
jobs:
  deploy: {needs: [lint, test], run: ./deploy}
  test: {needs: build, run: make test}
  lint: {run: make lint}
  build: {run: make}
)");
  EXPECT_THAT(names(*result.plan), ElementsAre("lint", "build", "test", "deploy"));
  EXPECT_THAT(job(result, "deploy").needs, ElementsAre("lint", "test"));
}

TEST(Plan, ExpandsAMatrixAndItsNeeds) {
  auto result = planned(R"(
jobs:
  test:
    matrix: {db: ["postgres:15", "postgres:16"], shard: [1, 2, 3], exclude: [{db: "postgres:15", shard: 3}], include: [{db: "postgres:17", shard: 1}], max_parallel: 4, fail_fast: false}
    run: ./test --shard ${{ matrix.shard }}
  done: {needs: [test], run: "true"}
)");
  EXPECT_THAT(names(*result.plan), ElementsAre("test (postgres:15, 1)", "test (postgres:15, 2)", "test (postgres:16, 1)", "test (postgres:16, 2)",
                                               "test (postgres:16, 3)", "test (postgres:17, 1)", "done"));
  EXPECT_EQ(job(result, "done").needs.size(), 6u);
  EXPECT_EQ(job(result, "test (postgres:16, 3)").steps[0].run, "./test --shard 3");
  EXPECT_EQ(job(result, "test (postgres:16, 3)").max_parallel, 4);
  EXPECT_FALSE(job(result, "test (postgres:16, 3)").fail_fast);
}

TEST(Plan, NeverPastesABranchNameIntoAShell) {
  auto result = planned(R"(jobs: {a: {run: "echo ${{ branch }} 'x ${{ ref }}' \"y ${{ branch }}\""}})", push_to("$(rm -rf /)"));
  auto& step = job(result, "a").steps[0];
  EXPECT_EQ(step.run, R"(echo "${CI_EXPR_1}" 'x '"${CI_EXPR_2}"'' "y ${CI_EXPR_1}")");
  EXPECT_EQ(step.env, (Env{{"CI_EXPR_1", "$(rm -rf /)"}, {"CI_EXPR_2", "refs/heads/$(rm -rf /)"}}));
}

TEST(Plan, SkipsWhatItsConditionLeavesOut) {
  auto result = planned(R"(
jobs:
  a: {if: branch == 'main', run: x}
  b: {if: branch == 'other', run: x}
  c: {if: "branch == 'main' && needs.a.outputs.go == 'yes'", needs: [a], run: x}
)");
  EXPECT_FALSE(job(result, "a").skipped);
  EXPECT_EQ(job(result, "a").condition, "");
  EXPECT_TRUE(job(result, "b").skipped);
  EXPECT_EQ(job(result, "b").skip_reason, "its `if` is false: branch == 'other'");
  EXPECT_EQ(job(result, "c").condition, "branch == 'main' && needs.a.outputs.go == 'yes'");
  EXPECT_EQ(decide_job(job(result, "c"), result.event, {{"a", {"succeeded", {{"go", "yes"}}}}}, Standing::success), true);
  EXPECT_EQ(decide_job(job(result, "c"), result.event, {{"a", {"succeeded", {}}}}, Standing::success), false);
}

TEST(Plan, TellsEverythingThatIsWrongAtOnce) {
  EXPECT_EQ(problems_of(R"(
jobs:
  build:
    stpes: [{run: make}]
    timeout: 5 minutes
    needs: [biuld]
  test:
    needs: [tset, build]
    run: x
    steps: [{run: x}]
)"),
            R"(.ci.yaml:4:5: 'build' has neither 'run' nor 'steps': write run: COMMAND or steps: [{run: COMMAND}]
.ci.yaml:4:5: unknown key 'stpes' in 'build': did you mean 'steps'?
.ci.yaml:5:14: 'timeout' must be a duration such as 20m, not '5 minutes'
.ci.yaml:6:13: 'build' needs an unknown job 'biuld': did you mean 'build'?
.ci.yaml:8:13: 'test' needs an unknown job 'tset': did you mean 'test'?
.ci.yaml:10:5: 'test' has both 'run' and 'steps': keep one of them
)");
}

TEST(Plan, PrintsACycle) {
  EXPECT_EQ(problems_of("jobs:\n  a: {needs: b, run: x}\n  b: {needs: c, run: x}\n  c: {needs: a, run: x}\n  d: {needs: a, run: x}\n"),
            ".ci.yaml:2:3: jobs need each other: a -> b -> c -> a: remove one of these needs\n");
}

}  // namespace
}  // namespace mayfly
