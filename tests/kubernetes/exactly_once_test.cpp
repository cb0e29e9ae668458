// That an attempt is one runner, whatever its keepers, the cluster and chance do; and that a keeper has the rights it needs and no more.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "adapters/kubernetes/api.h"
#include "adapters/kubernetes/executor.h"
#include "adapters/kubernetes/manifest.h"
#include "adapters/system/system_clock.h"
#include "adapters/system/system_entropy.h"
#include "async/scope.h"
#include "kubernetes/cluster_world.h"
#include "support/run.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;
using namespace testing_support;
using testing::HasSubstr;

class OnACluster : public testing::TestWithParam<RunnerObject> {
 protected:
  void SetUp() override {
    if (kubeconfig_of_tests().empty()) GTEST_SKIP() << "no API server: scripts/servers up kubernetes, and eval \"$(scripts/servers env)\"";
    world_ = std::make_unique<ClusterWorld>(GetParam());
    first_ = keeper();
    first_upkeep_ = std::make_unique<Scope>(loop_.loop());
    first_upkeep_->spawn(first_->run());
  }
  void TearDown() override {
    if (!world_) return;
    for (auto attempt : started_) {
      (void)loop_.run(first_->stop(attempt, 1s));
      EXPECT_TRUE(loop_.run(first_->forget(attempt)));
      EXPECT_TRUE(until([&] { return world_->objects_of(attempt).empty(); })) << world_->objects_of(attempt);
    }
    first_upkeep_->cancel();
    loop_.run(first_upkeep_->join());
  }

  std::unique_ptr<Executor> keeper(std::function<void(KubernetesOptions&)> change = [](auto&) {}) {
    auto options = world_->options();
    change(options);
    return make_kubernetes_executor(loop_.loop(), clock_, entropy_, options, world_->keeper()).value();
  }
  RunnerSpec spec(const std::string& image = waits_image) {
    auto out = world_->make_spec(image);
    started_.push_back(out.attempt);
    return out;
  }
  std::optional<RunnerStatus> look(Executor& executor, AttemptId attempt) {
    for (auto& status : loop_.run(executor.list()).value())
      if (status.attempt == attempt) return status;
    return std::nullopt;
  }
  bool until(std::function<bool()> seen, Duration patience = 30s) {
    for (auto end = clock_.now() + patience; !seen(); loop_.run(sleep_for(clock_, 20ms)))
      if (clock_.now() > end) return false;
    return true;
  }
  std::string owner() { return (GetParam() == RunnerObject::job ? world_->jobs_path() : world_->pods_path()) + "/"; }

  TestLoop loop_;
  SystemClock clock_{loop_.loop()};
  SystemEntropy entropy_;
  std::unique_ptr<ClusterWorld> world_;
  std::unique_ptr<Executor> first_;
  std::unique_ptr<Scope> first_upkeep_;
  std::vector<AttemptId> started_;
};

INSTANTIATE_TEST_SUITE_P(Objects, OnACluster, testing::Values(RunnerObject::job, RunnerObject::pod), [](auto& info) { return info.param == RunnerObject::job ? "Job" : "Pod"; });

TEST_P(OnACluster, TwoKeepersAtOnceMakeOneRunner) {
  auto second = keeper();
  auto wanted = spec();
  std::vector<Errc> said;
  int successes = 0;
  auto start = [&](Executor& executor) -> Task<void> {
    auto begun = co_await executor.start(wanted);
    if (begun) ++successes;
    else said.push_back(begun.error().code);
  };
  Scope scope(loop_.loop());
  for (int i = 0; i < 4; ++i) scope.spawn(start(i % 2 ? *first_ : *second));
  loop_.run(scope.join());
  EXPECT_EQ(successes, 1);
  EXPECT_THAT(said, testing::Each(Errc::conflict));
  ASSERT_TRUE(until([&] { return world_->is_settled(wanted.attempt); }));
  EXPECT_EQ(world_->pods_of(wanted.attempt).size(), 1u);
}

TEST_P(OnACluster, AKeeperKilledBeforeItCouldRecordWhatItStartedIsFollowedByOneThatFindsIt) {
  auto wanted = spec();
  {
    auto killed = keeper();
    ASSERT_TRUE(loop_.run(killed->start(wanted)));
  }
  EXPECT_EQ(loop_.run(first_->start(wanted)).error().code, Errc::conflict);
  EXPECT_TRUE(look(*first_, wanted.attempt)->running);
  ASSERT_TRUE(until([&] { return world_->is_settled(wanted.attempt); }));
  EXPECT_EQ(world_->pods_of(wanted.attempt).size(), 1u);
}

TEST_P(OnACluster, AnObjectOfThatNameThatIsNotOursIsLeftAlone) {
  auto wanted = spec();
  auto foreign = kubernetes::manifest(world_->options(), world_->name_space(), wanted).value();
  auto object = parse_json(foreign).value();
  object.at("metadata").at("labels").as_object()[kubernetes::fence_label] = "6";
  world_->admin().must("POST", owner().substr(0, owner().size() - 1), json::serialize(object));
  auto begun = loop_.run(first_->start(wanted));
  ASSERT_FALSE(begun);
  EXPECT_EQ(begun.error().code, Errc::forbidden);
  EXPECT_THAT(begun.error().message, HasSubstr("is not this pool's"));
  ASSERT_TRUE(until([&] { return look(*first_, wanted.attempt).has_value(); }));   // for TearDown
}

TEST_P(OnACluster, WhatSomebodyDeletesByHandIsLostAndSaidSo) {
  auto wanted = spec();
  ASSERT_TRUE(loop_.run(first_->start(wanted)));
  ASSERT_TRUE(until([&] { return world_->is_settled(wanted.attempt); }));
  world_->admin().must("DELETE", owner() + kubernetes::object_name(wanted.attempt), R"({"propagationPolicy": "Background", "gracePeriodSeconds": 1})");
  ASSERT_TRUE(until([&] { return !look(*first_, wanted.attempt)->running; }));
  auto status = *look(*first_, wanted.attempt);
  EXPECT_THAT(status.reason, testing::AnyOf(Reason::runner_lost, Reason::canceled)) << "a runner that is told to go says so";
  EXPECT_NE(status.detail, "");
  EXPECT_EQ(world_->pods_of(wanted.attempt).size() > 1, false);
}

TEST_P(OnACluster, NoNodeMeansWaitingAndSayingWhy) {
  auto wanted = spec(pending_image);
  ASSERT_TRUE(loop_.run(first_->start(wanted)));
  ASSERT_TRUE(until([&] { return look(*first_, wanted.attempt)->reason == Reason::unschedulable; }));
  auto status = *look(*first_, wanted.attempt);
  EXPECT_TRUE(status.running) << "an autoscaler may find one";
  EXPECT_THAT(status.detail, HasSubstr("no node of the cluster can take it: "));
}

TEST_P(OnACluster, WhatTheNodeSaysOfAnImageIsSaidAfterAPatience) {
  first_upkeep_->cancel();
  loop_.run(first_upkeep_->join());
  first_ = keeper([](auto& options) { options.image_patience = 1s; });
  first_upkeep_ = std::make_unique<Scope>(loop_.loop());
  first_upkeep_->spawn(first_->run());
  auto wanted = spec(unpullable_image);
  ASSERT_TRUE(loop_.run(first_->start(wanted)));
  ASSERT_TRUE(until([&] { return !look(*first_, wanted.attempt)->running; }));
  auto status = *look(*first_, wanted.attempt);
  EXPECT_EQ(status.reason, Reason::image_pull);
  EXPECT_THAT(status.detail, HasSubstr("manifest unknown"));
  ASSERT_TRUE(loop_.run(first_->forget(wanted.attempt)));
  EXPECT_TRUE(until([&] { return world_->objects_of(wanted.attempt).empty(); })) << "what failed so is taken away: " << world_->objects_of(wanted.attempt);
}

TEST_P(OnACluster, AQuotaIsWaitedForAndSaid) {
  world_->admin().must("POST", "/api/v1/namespaces/" + world_->name_space() + "/resourcequotas",
                       R"({"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}})");
  auto wanted = spec();
  ASSERT_TRUE(until([&] {   // the quota is enforced a moment after it was made
    return find_string(world_->admin().must("GET", "/api/v1/namespaces/" + world_->name_space() + "/resourcequotas/none"), "status.hard.pods").has_value();
  }));
  auto begun = loop_.run(first_->start(wanted));
  if (GetParam() == RunnerObject::pod) {
    ASSERT_FALSE(begun);
    EXPECT_EQ(begun.error().code, Errc::unavailable) << "tried again until the start deadline";
    EXPECT_THAT(begun.error().message, HasSubstr("exceeded quota"));
    return;
  }
  ASSERT_TRUE(begun) << begun.error().message;
  ASSERT_TRUE(until([&] { return look(*first_, wanted.attempt)->reason == Reason::unschedulable; }));
  EXPECT_TRUE(look(*first_, wanted.attempt)->running);
  EXPECT_THAT(look(*first_, wanted.attempt)->detail, HasSubstr("exceeded quota"));
}

TEST_P(OnACluster, AnotherPoolsRunnersAreNotSeen) {
  auto other = keeper([](auto& options) { options.pool = "another"; });
  Scope upkeep(loop_.loop());
  upkeep.spawn(other->run());
  auto wanted = spec();
  ASSERT_TRUE(loop_.run(first_->start(wanted)));
  EXPECT_TRUE(loop_.run(other->list())->empty());
  EXPECT_TRUE(loop_.run(other->stop(wanted.attempt, 0s))) << "absent is success";
  EXPECT_TRUE(look(*first_, wanted.attempt)->running);
  upkeep.cancel();
  loop_.run(upkeep.join());
}

TEST_P(OnACluster, TheKeeperLearnsHowTheClusterVouchesForItsRunners) {
  auto issuer = loop_.run(first_->issuer());
  ASSERT_TRUE(issuer) << issuer.error().message;
  ASSERT_TRUE(*issuer);
  EXPECT_THAT((*issuer)->issuer, HasSubstr("kubernetes"));
  EXPECT_THAT((*issuer)->jwks, HasSubstr("\"keys\""));
  EXPECT_EQ((*issuer)->name_space, world_->name_space());
  EXPECT_EQ((*issuer)->service_account, "mayfly-runner");
}

TEST_P(OnACluster, TheKeeperMayDoNothingElse) {
  kubernetes::Api api(loop_.loop(), clock_, entropy_, world_->keeper());
  auto status = [&](std::string method, std::string path, std::string body = {}) {
    return loop_.run(api.send({.method = std::move(method), .path = std::move(path), .body = std::move(body)})).value().status;
  };
  auto mine = "/api/v1/namespaces/" + world_->name_space();
  EXPECT_EQ(status("GET", mine + "/pods"), 200);
  EXPECT_EQ(status("GET", mine + "/secrets"), 403);
  EXPECT_EQ(status("GET", mine + "/configmaps"), 403);
  EXPECT_EQ(status("POST", mine + "/pods/x/exec", "{}"), 403);
  EXPECT_EQ(status("GET", mine + "/pods/x/log"), 403);
  EXPECT_EQ(status("POST", mine + "/serviceaccounts/mayfly-runner/token", "{}"), 403);
  EXPECT_EQ(status("DELETE", world_->jobs_path()), 403) << "no collections";
  EXPECT_EQ(status("GET", "/api/v1/namespaces/default/pods"), 403);
  EXPECT_EQ(status("GET", "/api/v1/nodes"), 403);
  EXPECT_EQ(status("GET", "/api/v1/pods"), 403);
}

TEST_P(OnACluster, WhatTheStandardForbidsIsRefusedAndNotTriedForEver) {
  // As if the manifest had a privilege: the node of this pool's choice wants one.
  auto wanted = spec();
  auto object = parse_json(kubernetes::manifest(world_->options(), world_->name_space(), wanted).value()).value();
  auto& pod = GetParam() == RunnerObject::job ? object.at("spec").at("template").at("spec") : object.at("spec");
  pod.as_object()["hostNetwork"] = true;
  auto [status, answer] = world_->admin().call("POST", owner().substr(0, owner().size() - 1), json::serialize(object));
  if (GetParam() == RunnerObject::pod) {
    EXPECT_EQ(status, 403);
    EXPECT_THAT(json::serialize(answer), HasSubstr("violates PodSecurity"));
    return;
  }
  ASSERT_EQ(status, 201);
  ASSERT_TRUE(until([&] { return look(*first_, wanted.attempt) && !look(*first_, wanted.attempt)->running; }));
  EXPECT_EQ(look(*first_, wanted.attempt)->reason, Reason::refused);
  EXPECT_THAT(look(*first_, wanted.attempt)->detail, HasSubstr("violates PodSecurity"));
}

}  // namespace
}  // namespace mayfly
