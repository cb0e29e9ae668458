#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "domain/pipeline/plan.h"

namespace mayfly {
namespace {

using rc::gen::arbitrary;

/// Text as a pipeline may hold: JSON carries UTF-8 only.
rc::Gen<std::string> text() {
  return rc::gen::map(rc::gen::container<std::vector<std::string>>(rc::gen::elementOf(std::vector<std::string>{"a", "\n", "\"", "\\", "ä", "\t", " ", "🐛", "${{ x }}", "\x01"})),
                      [](const std::vector<std::string>& parts) {
                        std::string out;
                        for (auto& part : parts) out += part;
                        return out;
                      });
}
rc::Gen<std::vector<std::string>> texts() { return rc::gen::container<std::vector<std::string>>(text()); }
rc::Gen<Env> env() { return rc::gen::container<Env>(text(), text()); }
std::int64_t number() { return *arbitrary<std::int64_t>(); }
bool flag() { return *arbitrary<bool>(); }
std::optional<Duration> maybe_duration() { return flag() ? std::optional(Duration{number()}) : std::nullopt; }

std::optional<Isolation> maybe_isolation() {
  return flag() ? std::optional(*rc::gen::element(Isolation::sandbox, Isolation::runc, Isolation::gvisor, Isolation::kata)) : std::nullopt;
}

StepSpec any_step() { return {*text(), *text(), *text(), *env(), *text(), maybe_duration(), flag()}; }

JobSpec any_job() {
  JobSpec job;
  job.name = *text(), job.base_name = *text(), job.needs = *texts(), job.matrix = *env(), job.max_parallel = *arbitrary<int>(), job.fail_fast = flag();
  job.condition = *text(), job.skipped = flag(), job.skip_reason = *text(), job.image = *text(), job.isolation = maybe_isolation(), job.network = flag();
  job.cpu_milli = number(), job.memory_bytes = number(), job.disk_bytes = number(), job.timeout = Duration{number()};
  job.retry = {*arbitrary<int>(), flag(), flag(), flag()};
  job.env = *env(), job.secrets = *texts(), job.outputs = *texts(), job.junit = *texts(), job.runs_on = *texts();
  for (int i = *rc::gen::inRange(0, 4); i > 0; --i) job.steps.push_back(any_step());
  for (int i = *rc::gen::inRange(0, 3); i > 0; --i) job.services.push_back({*text(), *text(), *text(), *env(), *text()});
  job.artifacts = {*texts(), maybe_duration(), *rc::gen::element(ArtifactsWhen::success, ArtifactsWhen::failure, ArtifactsWhen::always)};
  job.checkout = {flag(), *arbitrary<int>(), flag()};
  job.allow_failure = flag();
  job.priority = *rc::gen::element(Priority::low, Priority::normal, Priority::high);
  return job;
}

TEST(JobSpecJson, GoesOutAndComesBackTheSame) {
  EXPECT_TRUE(rc::check("round trip", [] {
    auto job = any_job();
    auto back = job_spec_from_json(job_spec_to_json(job));
    RC_ASSERT(back.has_value());
    RC_ASSERT(*back == job);
  }));
}

TEST(JobSpecJson, OfAnEarlierVersionHasNoServices) {
  auto old = job_spec_to_json({});
  auto at = old.find(",\"services\":[]");
  ASSERT_NE(at, old.npos);
  EXPECT_EQ(job_spec_from_json(old.erase(at, 14)), JobSpec{});
}

TEST(JobSpecJson, RefusesWhatItDidNotWrite) {
  auto good = job_spec_to_json({});
  EXPECT_TRUE(job_spec_from_json(good));
  auto with = [&](std::string_view from, std::string_view to) {
    auto text = good;
    auto at = text.find(from);
    EXPECT_NE(at, text.npos) << from;
    return job_spec_from_json(text.replace(at, from.size(), to));
  };
  for (auto& bad : {with("\"needs\":[]", "\"needs\":[1]"), with("\"priority\":\"normal\"", "\"priority\":\"urgent\""), with("\"depth\":1", "\"depth\":4294967296"),
                    with("\"skipped\":false", "\"skipped\":0"), with("\"image\":\"host\"", "\"imagine\":\"host\""), job_spec_from_json("[]"), job_spec_from_json("{")}) {
    ASSERT_FALSE(bad);
    EXPECT_EQ(bad.error().code, Errc::corrupt);
  }
}

}  // namespace
}  // namespace mayfly
