#include "domain/pipeline/selection.h"

#include <gtest/gtest.h>

namespace mayfly {
namespace {

Plan plan() {
  Plan out;
  auto job = [&](std::string name, std::string base, std::vector<std::string> needs) {
    JobSpec spec;
    spec.name = std::move(name);
    spec.base_name = std::move(base);
    spec.needs = std::move(needs);
    out.jobs.push_back(std::move(spec));
  };
  job("lint", "lint", {});
  job("build", "build", {});
  job("test (1)", "test", {"build"});
  job("test (2)", "test", {"build"});
  job("deploy", "deploy", {"lint", "test (1)", "test (2)"});
  return out;
}

std::vector<std::string> kept(std::vector<std::string> names) {
  auto p = plan();
  EXPECT_TRUE(keep_only(p, names));
  std::vector<std::string> out;
  for (auto& job : p.jobs) {
    if (!job.skipped) out.push_back(job.name);
    else EXPECT_EQ(job.skip_reason, "not asked for");
  }
  return out;
}

TEST(KeepOnly, KeepsWhatIsNamedAndWhatThatNeeds) {
  EXPECT_EQ(kept({"lint"}), (std::vector<std::string>{"lint"}));
  EXPECT_EQ(kept({"test (2)"}), (std::vector<std::string>{"build", "test (2)"}));
  EXPECT_EQ(kept({"test"}), (std::vector<std::string>{"build", "test (1)", "test (2)"}));
  EXPECT_EQ(kept({"deploy"}).size(), 5u);
  EXPECT_EQ(kept({"test", "test (1)", "lint"}).size(), 4u) << "naming a job twice does no harm";
}

TEST(KeepOnly, RefusesANameNoJobHas) {
  auto p = plan();
  auto result = keep_only(p, {"tset"});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error(), (Error{Errc::invalid, "the pipeline has no job 'tset'", "did you mean 'test'?"}));
  for (auto& job : p.jobs) EXPECT_FALSE(job.skipped) << "nothing has changed";
}

}  // namespace
}  // namespace mayfly
