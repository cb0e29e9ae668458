#include "domain/pipeline/planner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

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

TEST(Plan, ListensToPushesPullRequestsAndPeopleWithoutOn) {
  std::string yaml = "jobs: {a: {run: x}}";
  EXPECT_TRUE(planned(yaml).plan);
  EXPECT_TRUE(planned(yaml, {.event = "pull_request", .ref = "refs/pull/7/head", .base_ref = "main"}).plan);
  EXPECT_TRUE(planned(yaml, {.event = "manual", .ref = "refs/heads/main"}).plan);
  EXPECT_EQ(planned(yaml, {.ref = "refs/tags/v1"}).no_build, ".ci.yaml does not listen to the tag 'v1': it has no `on`, and tags are built only when it says so");
}

TEST(Plan, SaysWhyThereIsNoBuild) {
  std::string yaml = "on: {push: {branches: [main, 'release/**', '!release/old/**'], tags: ['v*']}, pull_request: {branches: [main]}}\njobs: {a: {run: x}}";
  EXPECT_TRUE(planned(yaml, push_to("release/1/2")).plan);
  EXPECT_TRUE(planned(yaml, {.ref = "refs/tags/v1"}).plan);
  EXPECT_TRUE(planned(yaml, {.event = "pull_request", .base_ref = "main"}).plan);
  EXPECT_EQ(planned(yaml, push_to("release/old/1")).no_build, ".ci.yaml does not listen to the branch 'release/old/1': on.push.branches does not match it");
  EXPECT_EQ(planned(yaml, {.ref = "refs/tags/x"}).no_build, ".ci.yaml does not listen to the tag 'x': on.push.tags does not match it");
  EXPECT_EQ(planned(yaml, {.event = "pull_request", .base_ref = "dev"}).no_build,
            ".ci.yaml does not listen to pull requests into 'dev': on.pull_request.branches does not match it");
  EXPECT_EQ(planned(yaml, {.event = "manual"}).no_build, ".ci.yaml is not started by hand: `manual` is not under its `on`");
  EXPECT_EQ(planned(yaml, {.event = "schedule"}).no_build, ".ci.yaml does not listen to the event 'schedule'");
  EXPECT_EQ(planned("on: {push: {tags: [v1]}}\njobs: {a: {run: x}}").no_build, ".ci.yaml does not listen to the branch 'main': `on.push` has no branches");
  EXPECT_EQ(plan({}, push_to("main"))->no_build, "there is no .ci.yaml and no .ci/*.yaml at this commit");
  EXPECT_FALSE(plan({}, push_to("main"))->plan);
}

TEST(Plan, SkipsEveryJobWhenNoChangedPathMatches) {
  std::string yaml = "on: {push: {paths: ['src/**', '!src/docs/**']}}\njobs: {a: {run: x}, b: {needs: a, run: y}}";
  auto event = push_to("main");
  event.changed_paths = {{"src/docs/a.md", "README.md"}};
  auto result = planned(yaml, event);
  EXPECT_TRUE(job(result, "a").skipped);
  EXPECT_TRUE(job(result, "b").skipped);
  EXPECT_EQ(job(result, "a").skip_reason, "none of the 2 changed files matches on.push.paths of .ci.yaml");
  event.changed_paths->push_back("src/a.c");
  EXPECT_FALSE(job(planned(yaml, event), "a").skipped);
  event.changed_paths = std::nullopt;
  EXPECT_FALSE(job(planned(yaml, event), "a").skipped) << "unknown changes match";
  event.changed_paths.emplace(10'000, "docs/x");
  EXPECT_TRUE(job(planned(yaml, event), "a").skipped);
  event.changed_paths->push_back("docs/x");
  EXPECT_FALSE(job(planned(yaml, event), "a").skipped) << "too many changes match";
}

TEST(Plan, BuildsForksOnlyWhenTheyAreTrusted) {
  TriggerEvent fork{.event = "pull_request", .ref = "refs/pull/7/head", .base_ref = "main", .fork = true};
  EXPECT_THAT(planned("on: pull_request\njobs: {a: {run: x}}", fork).no_build, testing::HasSubstr("builds forks after approval only"));
  EXPECT_THAT(planned("on: {pull_request: {forks: never}}\njobs: {a: {run: x}}", fork).no_build, testing::HasSubstr("never builds forks"));
  EXPECT_TRUE(planned("on: {pull_request: {forks: trusted}}\njobs: {a: {run: x}}", fork).plan);
}

TEST(Plan, MergesDefaultsAndEnv) {
  auto result = planned(R"(
name: web
env: {A: top, B: top, C: "${{ branch }}"}
priority: high
defaults: {image: "oci:images/base", timeout: 20m, retry: {max: 1, on: [infrastructure, timeout]}, shell: bash, resources: {cpu: 2, memory: 4Gi}, network: none, runs_on: [linux], checkout: {depth: 0}}
jobs:
  plain: {run: x}
  own:
    image: /srv/root
    timeout: 90
    retry: 3
    shell: sh
    network: outbound
    resources: {cpu: 500m}
    runs_on: gpu
    checkout: false
    priority: low
    env: {B: "job ${{ env.A }}", D: "${{ matrix.v }}"}
    matrix: {v: [1]}
    secrets: [TOKEN]
    outputs: [out/]
    artifacts: {paths: ["*.tgz"], expire: 14d, when: always}
    reports: {junit: out.xml}
    allow_failure: true
    steps:
      - {run: y, env: {E: "${{ env.B }}!"}, timeout: 2m, name: "go ${{ matrix.v }}", shell: bash}
    finally: [{run: z}, {run: "z2", if: branch == 'main'}, {run: z3, if: failure()}]
)");
  EXPECT_EQ(result.plan->name, "web");
  auto& plain = job(result, "plain");
  EXPECT_EQ(plain.image, "oci:images/base");
  EXPECT_EQ(plain.timeout, Duration(20min));
  EXPECT_EQ(plain.retry, (RetrySpec{.max = 1, .on_failure = false, .on_timeout = true, .on_oom = false}));
  EXPECT_EQ(plain.steps[0].shell, "bash");
  EXPECT_EQ(plain.cpu_milli, 2000);
  EXPECT_EQ(plain.memory_bytes, std::int64_t(4) << 30);
  EXPECT_FALSE(plain.network);
  EXPECT_EQ(plain.checkout.depth, 0);
  EXPECT_EQ(plain.priority, Priority::high);
  EXPECT_EQ(plain.env, (Env{{"A", "top"}, {"B", "top"}, {"C", "main"}}));
  auto& own = job(result, "own (1)");
  EXPECT_EQ(own.base_name, "own");
  EXPECT_EQ(own.image, "/srv/root");
  EXPECT_EQ(own.timeout, Duration(90s));
  EXPECT_EQ(own.retry, (RetrySpec{.max = 3, .on_failure = true, .on_timeout = true, .on_oom = true}));
  EXPECT_TRUE(own.network);
  EXPECT_EQ(own.cpu_milli, 500);
  EXPECT_EQ(own.memory_bytes, std::int64_t(4) << 30);
  EXPECT_THAT(own.runs_on, ElementsAre("gpu"));
  EXPECT_FALSE(own.checkout.enabled);
  EXPECT_EQ(own.priority, Priority::low);
  EXPECT_EQ(own.env, (Env{{"A", "top"}, {"B", "job top"}, {"C", "main"}, {"D", "1"}}));
  EXPECT_THAT(own.secrets, ElementsAre("TOKEN"));
  EXPECT_EQ(own.artifacts, (ArtifactsSpec{.paths = {"*.tgz"}, .expire = Duration(14 * 24h), .when = ArtifactsWhen::always}));
  EXPECT_TRUE(own.allow_failure);
  ASSERT_EQ(own.steps.size(), 4u);
  EXPECT_EQ(own.steps[0], (StepSpec{.name = "go 1", .run = "y", .shell = "bash", .env = {{"E", "job top!"}}, .condition = "", .timeout = Duration(2min)}));
  EXPECT_TRUE(own.steps[1].finally);
  EXPECT_EQ(own.steps[1].condition, "always()");
  EXPECT_EQ(own.steps[2].condition, "always() && (branch == 'main')");
  EXPECT_EQ(own.steps[3].condition, "failure()");
}

TEST(Plan, HandsOnWhatOnlyNeedsWillKnow) {
  auto result = planned(R"(
jobs:
  build: {run: "true"}
  deploy:
    needs: build
    env: {VERSION: "${{ branch }}-${{ needs.build.outputs.version }}", PLAIN: "$${{ sha }}", BRANCH: "${{ branch }}"}
    steps:
      - {run: "echo ${{ needs.build.outputs.version }}", env: {NAME: "v${{ env.VERSION }}"}}
)",
                        push_to("${{ sha }}"));
  auto& deploy = job(result, "deploy");
  auto ready = resolve_env(deploy, result.event, {{"build", {"succeeded", {{"version", "$(rm) ${{ sha }}"}}}}});
  ASSERT_TRUE(ready);
  EXPECT_EQ(ready->env, (Env{{"VERSION", "${{ sha }}-$(rm) ${{ sha }}"}, {"PLAIN", "$" + std::string(40, 'a')}, {"BRANCH", "${{ sha }}"}}));
  EXPECT_EQ(ready->steps[0].run, "echo \"${CI_EXPR_1}\"");
  EXPECT_EQ(ready->steps[0].env, (Env{{"CI_EXPR_1", "$(rm) ${{ sha }}"}, {"NAME", "v${{ sha }}-$(rm) ${{ sha }}"}}));
  EXPECT_FALSE(resolve_env(deploy, result.event, {}));
}

TEST(Plan, StepsAskForWhatHappenedBeforeThem) {
  auto result = planned(R"(
jobs:
  a:
    steps:
      - {run: x}
      - {run: y, if: env.GO == 'yes'}
      - {run: z, if: failure() && env.GO == 'yes'}
)");
  auto& a = job(result, "a");
  auto decided = [&](int step, Env env, Standing standing) { return decide_step(a.steps[std::size_t(step)], a, result.event, {}, env, standing); };
  EXPECT_EQ(decided(0, {}, Standing::success), true);
  EXPECT_EQ(decided(0, {}, Standing::failure), false);
  EXPECT_EQ(decided(1, {{"GO", "yes"}}, Standing::success), true);
  EXPECT_EQ(decided(1, {{"GO", "no"}}, Standing::success), false);
  EXPECT_EQ(decided(1, {{"GO", "yes"}}, Standing::failure), false);
  EXPECT_EQ(decided(2, {{"GO", "yes"}}, Standing::failure), true);
}

TEST(Plan, AConditionIsDecidedWhenItCanBe) {
  auto result = planned(R"(
jobs:
  a: {run: x}
  on_failure: {run: x, if: failure()}
  on_success: {run: x, if: success()}
  always: {run: x, needs: a, if: always()}
  after: {run: x, needs: a, if: "failure() || branch == 'main'"}
  needs_failed: {run: x, needs: a, if: failure()}
)");
  EXPECT_TRUE(job(result, "on_failure").skipped);
  EXPECT_FALSE(job(result, "on_success").skipped);
  EXPECT_EQ(job(result, "on_success").condition, "success()") << "a canceled build does not start it";
  EXPECT_EQ(job(result, "always").condition, "always()");
  EXPECT_EQ(job(result, "after").condition, "always()");
  EXPECT_EQ(decide_job(job(result, "needs_failed"), result.event, {{"a", {"failed", {}}}}, Standing::failure), true);
  EXPECT_EQ(decide_job(job(result, "a"), result.event, {}, Standing::canceled), false);
}

TEST(Plan, ChecksTheInputsItIsGiven) {
  std::string yaml = R"(
on:
  push:
  manual:
    inputs:
      target: {type: choice, options: [staging, production], required: true}
      dry: {type: boolean, default: true}
      level: {type: number}
jobs: {a: {run: x, if: "inputs.target == 'production' || inputs.dry", env: {L: "${{ inputs.level }}"}}}
)";
  TriggerEvent event{.event = "manual", .ref = "refs/heads/main", .inputs = {{"target", "staging"}}};
  auto result = planned(yaml, event);
  EXPECT_EQ(result.event.inputs, (std::map<std::string, std::string>{{"target", "staging"}, {"dry", "true"}}));
  EXPECT_FALSE(job(result, "a").skipped);
  EXPECT_EQ(job(result, "a").env, (Env{{"L", ""}}));
  event.inputs["dry"] = "false";
  EXPECT_TRUE(job(planned(yaml, event), "a").skipped);
  event.inputs = {{"target", "prod"}, {"dry", "maybe"}, {"level", "high"}, {"tragte", "x"}};
  EXPECT_EQ(problems_of(yaml, event),
            ".ci.yaml:5:5: the build was given an input 'tragte', which no pipeline asks for: did you mean 'target'?\n"
            ".ci.yaml:6:7: the input 'target' must be staging or production, not 'prod': give another value\n"
            ".ci.yaml:7:7: the input 'dry' must be true or false, not 'maybe': give another value\n"
            ".ci.yaml:8:7: the input 'level' must be a number, not 'high': give another value\n");
  event.inputs = {};
  EXPECT_EQ(problems_of(yaml, event), ".ci.yaml:6:7: the build needs the input 'target': give it: --input target=VALUE\n");
  EXPECT_TRUE(planned(yaml, push_to("main")).plan) << "a push is asked for nothing";
}

TEST(Plan, RefusesWhatThisServerCannotRunByNameAndPlace) {
  std::string yaml = R"(
on: {push: , schedule: [{cron: "0 3 * * *"}]}
concurrency: x
defaults: {isolation: kata}
jobs:
  a:
    run: x
    image: debian:12
    isolation: gvisor
    inputs: [Makefile]
    outputs: [out]
    cache: [{key: k, paths: [p]}]
    services: {db: {image: postgres}}
    environment: production
    id_tokens: {T: {aud: x}}
    interruptible: true
  b: {run: x, isolation: sandbox, interruptible: false}
)";
  EXPECT_EQ(problems_of(yaml), R"(.ci.yaml:2:14: this server does not run `schedule` yet: start the build from outside: on: {manual: }
.ci.yaml:3:1: this server does not run `concurrency` yet: remove it: builds run side by side
.ci.yaml:10:5: this server does not run `inputs` yet: remove it: the job runs every time
.ci.yaml:12:5: this server does not run `cache` yet: hand files on with outputs
.ci.yaml:14:5: this server does not run `environment` yet: start the deployment by hand: on: {manual: }
.ci.yaml:15:5: this server does not run `id_tokens` yet: use secrets
.ci.yaml:16:5: this server does not run `interruptible` yet: remove it: builds are canceled by people
)");
  auto everything = planned(yaml, push_to("main"), {.unsupported = {}});
  EXPECT_EQ(job(everything, "a").image, "debian:12");
}

TEST(Plan, IsolationIsTheJobsElseTheDefaultElseNotSaid) {
  auto result = planned("defaults: {isolation: kata}\njobs:\n  a: {run: x, isolation: gvisor}\n  b: {run: x}\n", push_to("main"));
  EXPECT_EQ(job(result, "a").isolation, Isolation::gvisor);
  EXPECT_EQ(job(result, "b").isolation, Isolation::kata);
  EXPECT_EQ(job(planned("jobs: {a: {run: x}}", push_to("main")), "a").isolation, std::nullopt);
}

TEST(Plan, TakesImagesOfEveryKind) {
  EXPECT_EQ(job(planned("jobs: {a: {run: x, matrix: {v: [host, 'debian:12']}, image: '${{ matrix.v }}'}}"), "a (debian:12)").image, "debian:12");
  for (auto image : {"host", "oci:images/x:1", "/srv/root", "./root", "../root", "registry.example/team/img@sha256:ab"})
    EXPECT_EQ(job(planned(std::string("jobs: {a: {run: x, image: '") + image + "'}}"), "a").image, image);
  EXPECT_EQ(problems_of("jobs: {a: {run: x, image: 'a b'}}"), ".ci.yaml:1:28: 'a b' is no image: write host, oci:PATH[:TAG], a directory or a registry's image\n");
}

TEST(Plan, AnImageIsKnownBeforeAnythingRan) {
  EXPECT_EQ(problems_of("jobs: {a: {run: x}, b: {needs: a, env: {I: '${{needs.a.outputs.i}}'}, image: '${{env.I}}', run: x}}"),
            ".ci.yaml:1:79: this image is known only after other jobs have run: choose it with matrix or inputs\n");
}

TEST(Plan, GivesAJobItsServices) {
  auto result = planned(R"(
env: {LEVEL: "3"}
jobs:
  a: {run: x}
  test:
    needs: a
    matrix: {db: ["postgres:15", "postgres:16"]}
    env: {NAME: shop}
    services:
      db: {image: "${{ matrix.db }}", env: {POSTGRES_DB: "${{ env.NAME }}-${{ matrix.db }}", SEED: "${{ needs.a.outputs.seed }}"}, ready: "pg_isready -h db"}
      cache-1: {image: host, run: "redis-server --port 6379"}
    run: ./test
)");
  EXPECT_TRUE(job(result, "a").services.empty());
  auto spec = job(result, "test (postgres:16)");
  ASSERT_EQ(spec.services.size(), 2u);
  EXPECT_EQ(spec.services[1], (ServiceSpec{.name = "cache-1", .image = "host", .run = "redis-server --port 6379", .env = {}, .ready = {}}));
  auto resolved = resolve_env(spec, push_to("main"), {{"a", {.status = "succeeded", .outputs = {{"seed", "42"}}}}});
  ASSERT_TRUE(resolved);
  EXPECT_EQ(resolved->services[0], (ServiceSpec{.name = "db", .image = "postgres:16", .run = {}, .env = {{"POSTGRES_DB", "shop-postgres:16"}, {"SEED", "42"}}, .ready = "pg_isready -h db"}))
      << "its own env only";
}

TEST(Plan, SaysWhatIsWrongWithServices) {
  EXPECT_EQ(problems_of(R"(
jobs:
  a:
    matrix: {v: [host, /srv/root, "oci:/srv/i:1"]}
    run: x
    services:
      db: {image: "${{ matrix.v }}"}
      bad: {image: "a ${{ matrix.v }}"}
)"),
            R"(.ci.yaml:7:7: the service 'db' has nothing to run: a directory names no command: add run: COMMAND
.ci.yaml:7:7: the service 'db' has nothing to run: the host names no command: add run: COMMAND
.ci.yaml:8:21: 'a /srv/root' is no image: write host, oci:PATH[:TAG], a directory or a registry's image
.ci.yaml:8:21: 'a host' is no image: write host, oci:PATH[:TAG], a directory or a registry's image
.ci.yaml:8:21: 'a oci:/srv/i:1' is no image: write host, oci:PATH[:TAG], a directory or a registry's image
)");
}

TEST(Plan, TakesSixteenServicesOfFourThousandBytesAndNoMore) {
  auto with = [](int count, std::size_t command) {
    std::string yaml = "jobs:\n  a:\n    run: x\n    services:\n";
    for (int i = 0; i < count; ++i) yaml += "      s" + std::to_string(i) + ": {image: redis, ready: " + std::string(command, 'x') + "}\n";
    return problems_of(yaml);
  };
  EXPECT_EQ(with(16, 4096), "planned");
  EXPECT_EQ(with(17, 1), ".ci.yaml:5:7: 'services' has 17 entries, more than 16\n");
  EXPECT_THAT(with(1, 4097), testing::HasSubstr("under 'ready' is not a command of 1 to 4096 bytes"));
}

TEST(Plan, TakesSeveralFilesAsOneBuild) {
  std::vector<PipelineFile> files{{".ci/build.yaml", "jobs: {build: {run: make}}"},
                                  {".ci/deploy.yaml", "on: {push: {branches: [main]}}\njobs: {deploy: {needs: build, run: x}}"},
                                  {".ci/nightly.yaml", "on: manual\njobs: {nightly: {run: x}, last: {needs: build, run: x}}"}};
  EXPECT_THAT(names(*plan(files, push_to("main"))->plan), ElementsAre("build", "deploy"));
  EXPECT_THAT(names(*plan(files, push_to("dev"))->plan), ElementsAre("build"));
  files[0].content = "on: {push: {tags: [v1]}}\n" + files[0].content;
  auto without = *plan(files, push_to("main"));
  EXPECT_TRUE(job(without, "deploy").skipped);
  EXPECT_EQ(job(without, "deploy").skip_reason, "it needs 'build' of .ci/build.yaml, which has no part in this build");
  EXPECT_THAT(job(without, "deploy").needs, ElementsAre());
  files[2].content = "jobs: {deploy: {run: y}}";
  EXPECT_EQ(text_of(plan(files, push_to("main")).error()), ".ci/nightly.yaml:1:8: a job 'deploy' is in .ci/deploy.yaml:2 too: rename one of them\n");
}

TEST(Plan, HasLimitsWithNames) {
  auto thousand = [](int n) {
    std::string out;
    for (int i = 0; i < n; ++i) out += std::to_string(i) + ", ";
    return out;
  };
  EXPECT_EQ(planned("jobs: {a: {run: x, matrix: {v: [" + thousand(1000) + "]}}}").plan->jobs.size(), 1000u);
  EXPECT_EQ(problems_of("jobs: {a: {run: x, matrix: {v: [" + thousand(1000) + "], include: [{v: x}]}}}"),
            ".ci.yaml:1:28: the matrix of 'a' has more than 1000 combinations (limit: matrix, 1000): split the job\n");
  std::string four = "jobs: {a: {run: x, matrix: {v: [1, 2, 3]}}, b: {run: x}}";
  EXPECT_EQ(planned(four, push_to("main"), {.limits = {.jobs = 4}}).plan->jobs.size(), 4u);
  EXPECT_EQ(problems_of(four, push_to("main"), {.limits = {.jobs = 3}}), ".ci.yaml:1:45: this build is larger than 3 jobs (limit: jobs): split the pipeline\n");
  EXPECT_EQ(problems_of(four, push_to("main"), {.limits = {.jobs = 1}}), ".ci.yaml:1:1: more than 1 jobs (limit: jobs): split the pipeline\n");
  std::string two = "jobs: {a: {run: 'echo ${{ ref }} ${{ sha }}'}}";
  EXPECT_TRUE(planned(two, push_to("main"), {.limits = {.expressions = 2}}).plan);
  EXPECT_EQ(problems_of(two, push_to("main"), {.limits = {.expressions = 1}}),
            ".ci.yaml:1:18: this build is larger than 1 expressions (limit: expressions): split the pipeline\n");
  EXPECT_TRUE(planned(four, push_to("main"), {.limits = {.plan_bytes = 10'000}}).plan);
  EXPECT_EQ(problems_of(four, push_to("main"), {.limits = {.plan_bytes = 4'000}}), ".ci.yaml:1:8: this build is larger than 4000 bytes (limit: plan): split the pipeline\n");
  EXPECT_THAT(problems_of("{a: , b: , c: }", push_to("main"), {.limits = {.diagnostics = 2}}), testing::EndsWith(".ci.yaml:1:7: and 2 more problems: correct those above first\n"));
}

TEST(Plan, ValuesHaveLimitsToo) {
  auto env = [](std::size_t bytes) { return "jobs: {a: {run: x, env: {A: '" + std::string(bytes, 'x') + "'}}}"; };
  EXPECT_TRUE(planned(env(max_env_value_bytes)).plan);
  EXPECT_EQ(problems_of(env(max_env_value_bytes + 1)), ".ci.yaml:1:30: 'A' has 100001 bytes, more than 100000: write a file instead\n");
  auto matrix = [](std::string value) { return "jobs: {a: {run: x, matrix: {v: [\"" + value + "\"]}}}"; };
  EXPECT_TRUE(planned(matrix(std::string(max_matrix_value_bytes, 'x'))).plan);
  for (auto& bad : {std::string(max_matrix_value_bytes + 1, 'x'), std::string("a\\nb")})
    EXPECT_EQ(problems_of(matrix(bad)), ".ci.yaml:1:34: a value of a matrix is one line of at most 256 bytes: name what it stands for\n");
  auto result = planned("jobs: {a: {run: x}, b: {needs: a, run: y, env: {V: '${{ needs.a.outputs.v }}'}}}");
  auto with = [&](std::size_t bytes) { return resolve_env(job(result, "b"), result.event, {{"a", {"succeeded", {{"v", std::string(bytes, 'x')}}}}}); };
  EXPECT_TRUE(with(max_env_value_bytes));
  EXPECT_EQ(with(max_env_value_bytes + 1).error().code, Errc::too_large);
}

TEST(Plan, PlansTheWholeExample) {
  std::ifstream in(MAYFLY_SOURCE_DIR "/src/domain/pipeline/testdata/valid/whole.yaml");
  std::string yaml{std::istreambuf_iterator<char>(in), {}};
  auto event = push_to("main");
  event.file_hashes["Makefile"] = "Makefile 1\n";
  event.changed_paths = {{"src/main.c"}};
  auto result = planned(yaml, event, {.unsupported = {}});
  EXPECT_THAT(names(*result.plan), ElementsAre("lint", "build", "test (postgres:15, 1)", "test (postgres:15, 2)", "test (postgres:16, 1)", "test (postgres:16, 2)",
                                               "test (postgres:16, 3)", "test (postgres:17, 1)", "deploy"));
  EXPECT_EQ(job(result, "lint").image, "debian:12");
  EXPECT_EQ(job(result, "build").memory_bytes, std::int64_t(4) << 30);
  EXPECT_EQ(job(result, "build").steps[1].condition, "ref == 'refs/heads/main'");
  EXPECT_EQ(job(result, "test (postgres:16, 2)").steps[0].run, "./test --shard 2 --junit out.xml");
  EXPECT_EQ(job(result, "deploy").needs.size(), 7u);
  EXPECT_FALSE(job(result, "deploy").skipped);
  EXPECT_TRUE(job(result, "deploy").steps[1].finally);
  EXPECT_THAT(names(*planned(yaml, {.ref = "refs/tags/v1"}, {.unsupported = {}}).plan), testing::SizeIs(9)) << "a tag";
  auto refused = problems_of(yaml, event);
  for (auto feature : {"schedule", "concurrency", "inputs", "cache", "environment", "id_tokens"})
    EXPECT_THAT(refused, testing::HasSubstr("this server does not run `" + std::string(feature) + "` yet"));
}

TEST(Plan, RefusesEqualCombinations) {
  EXPECT_EQ(problems_of("jobs: {a: {run: x, matrix: {v: [1, 1]}}}"),
            ".ci.yaml:1:8: two jobs would be named 'a (1)': remove one of the equal combinations of its matrix\n");
}

TEST(Plan, ValuesFromOutsideStayOutOfPathsAndScripts) {
  EXPECT_EQ(problems_of("jobs: {a: {run: x, outputs: ['${{ branch }}/x']}}", push_to("..")),
            ".ci.yaml:1:31: '../x' is no path within the workspace: write a relative path without '..'\n");
  auto result = planned("jobs: {a: {run: 'echo ${{ matrix.b }}', matrix: {b: ['${{ branch }}']}}}", push_to("$(id)"));
  EXPECT_EQ(job(result, "a ($(id))").steps[0].run, "echo \"${CI_EXPR_1}\"");
}

TEST(Plan, NamesAStepByItsFirstLine) {
  auto result = planned("jobs: {a: {steps: [{run: \"\\n  make ${{ branch }} \\nmore\"}, {run: \"" + std::string(79, 'x') + "äb\"}]}}");
  EXPECT_EQ(job(result, "a").steps[0].name, "make main");
  EXPECT_EQ(job(result, "a").steps[1].name, std::string(79, 'x') + "…");
}

TEST(Plan, NamesTheGlobsItHashes) {
  std::vector<PipelineFile> files{{"a", "jobs: {a: {if: \"hash_files('x') == ''\", run: \"${{ hash_files('b/**', 'x') }} hash_files('no')\"}}"}};
  EXPECT_THAT(hash_globs(files), ElementsAre("b/**", "x"));
}

TEST(Lint, AcceptsWhatOtherServersCanRun) {
  std::vector<PipelineFile> files{{".ci.yaml", "jobs: {a: {run: x, environment: production}}"}};
  EXPECT_EQ(lint(files).size(), 1u);
  EXPECT_EQ(lint(files, {.unsupported = {}}).size(), 0u);
}

}  // namespace
}  // namespace mayfly
