// The accidents of a cluster, one a test: what its objects say, and what people are told.
#include "adapters/kubernetes/verdict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mayfly::kubernetes {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;

struct Story : testing::Test {
  AttemptId attempt = *AttemptId::parse("0193a2f4-0000-7000-8000-000000000001");
  Time now = from_micros(1'800'000'000'000'000);
  Object job{.name = "mayfly-a", .uid = "j"};
  Object pod{.name = "mayfly-a-x", .uid = "p", .phase = "Pending", .node = "node-7"};
  Circumstances around{.now = now, .patience = 60s};
  bool has_pod = true;
  bool has_job = true;

  Judgement judged() {
    const Object* one = &pod;
    return judge(attempt, has_job ? &job : nullptr, has_pod ? std::span(&one, 1) : std::span<const Object* const>(), around);
  }
  RunnerStatus status() { return judged().status; }
  void expect_ended(Reason reason, const testing::Matcher<std::string>& detail) {
    auto is = status();
    EXPECT_FALSE(is.running);
    EXPECT_EQ(to_string(is.reason), to_string(reason));
    EXPECT_THAT(is.detail, detail);
  }
  void expect_running(Reason reason, const testing::Matcher<std::string>& detail) {
    auto is = status();
    EXPECT_TRUE(is.running);
    EXPECT_EQ(to_string(is.reason), to_string(reason));
    EXPECT_THAT(is.detail, detail);
  }
  void condition(std::string type, bool is_true, std::string reason = {}, std::string message = {}) { pod.conditions.push_back({type, is_true, reason, message}); }
  void ended(std::string container, int code, std::string reason = "Error", std::string message = {}) {
    pod.containers.push_back({.name = container, .ended = Ended{code, reason, message}});
  }
};

TEST_F(Story, AJobWithoutAPodIsOnItsWay) {
  has_pod = false;
  expect_running(Reason::none, "");
}

TEST_F(Story, APodThatRunsIsWell) {
  pod.phase = "Running";
  condition("Ready", true);
  condition("ContainersReady", true);
  expect_running(Reason::none, "");
}

TEST_F(Story, WhatTheSchedulerSaysIsSaid) {
  pod.node.clear();
  condition("PodScheduled", false, "Unschedulable", "0/3 nodes are available: 3 Insufficient cpu.");
  expect_running(Reason::unschedulable, AllOf(HasSubstr("no node of the cluster can take it"), HasSubstr("3 Insufficient cpu")));
}

TEST_F(Story, AnImageThatCannotBePulledIsGivenUpAfterAPatience) {
  pod.containers.push_back({.name = "job", .waiting = "ImagePullBackOff", .waiting_message = "Back-off pulling image: not found", .image = "nowhere/no:1"});
  around.failing_for = 60s;
  expect_running(Reason::image_pull, HasSubstr("not found"));
  EXPECT_TRUE(judged().passing_trouble);
  around.failing_for = 60s + 1us;
  expect_ended(Reason::image_pull, AllOf(HasSubstr("'nowhere/no:1' cannot be pulled"), HasSubstr("not found")));
}

TEST_F(Story, AnImageNameThatIsNoneIsGivenUpAtOnce) {
  pod.containers.push_back({.name = "job", .waiting = "InvalidImageName", .waiting_message = "couldn't parse image name"});
  expect_ended(Reason::image_pull, HasSubstr("couldn't parse"));
}

TEST_F(Story, AContainerThatCannotBeMadeIsRefused) {
  pod.containers.push_back({.name = "job", .waiting = "CreateContainerConfigError", .waiting_message = "secret not found"});
  expect_running(Reason::refused, HasSubstr("secret not found"));
  around.failing_for = 2min;
  expect_ended(Reason::refused, HasSubstr("'job' cannot be made"));
}

TEST_F(Story, MemoryIsToldFromOtherExits) {
  pod.phase = "Failed";
  ended("job", 137, "OOMKilled");
  expect_ended(Reason::oom, "the job ran out of memory");
  pod.containers.clear();
  ended("job", 137, "Error", "last lines");
  expect_ended(Reason::runner_lost, AllOf(HasSubstr("exit code 137"), HasSubstr("last lines")));
}

TEST_F(Story, MemoryIsSeenBeforeThePodHasEnded) {
  pod.phase = "Running";
  ended("job", 137, "OOMKilled");
  expect_ended(Reason::oom, "the job ran out of memory");
}

TEST_F(Story, TheRunnersOwnWordIsTaken) {
  pod.phase = "Failed";
  ended("runner", 0, "Completed", R"({"reason": "canceled", "detail": "as it was told"})");
  ended("job", 1);
  expect_ended(Reason::canceled, "as it was told");
}

TEST_F(Story, WhoEndedItIsKnownBetterByTheClusterThanByTheRunner) {
  pod.phase = "Failed";
  ended("runner", 0, "Completed", R"({"reason": "evicted", "detail": "it was told to go"})");
  expect_ended(Reason::evicted, "it was told to go");
  condition("DisruptionTarget", true, "PreemptionByScheduler", "preempted by ci/urgent");
  expect_ended(Reason::preempted, HasSubstr("ci/urgent"));
}

TEST_F(Story, APodThatSucceededHasSaidAllToTheServer) {
  pod.phase = "Succeeded";
  ended("job", 0, "Completed");
  expect_ended(Reason::exit_code, "its pod ended");
}

TEST_F(Story, OfEvictionsTheJobsOwnDiskIsToldFromTheNodesNeed) {
  pod.phase = "Failed";
  pod.reason = "Evicted";
  pod.message = "The node was low on resource: memory.";
  expect_ended(Reason::evicted, AllOf(HasSubstr("node node-7 needed the room"), HasSubstr("memory")));
  pod.message = "Usage of EmptyDir volume \"workspace\" exceeds the limit \"4Gi\". ";
  expect_ended(Reason::disk_full, HasSubstr("more than its disk holds"));
  pod.message = "Pod ephemeral local storage usage exceeds the total limit of containers 4Gi.";
  expect_ended(Reason::disk_full, HasSubstr("total limit"));
}

TEST_F(Story, DisruptionsHaveTheirNames) {
  pod.phase = "Failed";
  pod.deletion = now;
  struct { const char* reason; Reason expected; } cases[] = {{"PreemptionByScheduler", Reason::preempted}, {"EvictionByEvictionAPI", Reason::evicted},
                                                             {"DeletionByTaintManager", Reason::node_lost}, {"DeletionByPodGC", Reason::node_lost},
                                                             {"TerminationByKubelet", Reason::evicted}};
  for (auto& one : cases) {
    pod.conditions.clear();
    condition("DisruptionTarget", true, one.reason, "because");
    expect_ended(one.expected, AllOf(HasSubstr("node-7"), HasSubstr("because")));
  }
}

TEST_F(Story, ANodeThatRefusesAtTheDoorIsSaid) {
  pod.phase = "Failed";
  pod.reason = "OutOfmemory";
  pod.message = "Node didn't have enough resource: memory";
  expect_ended(Reason::unschedulable, AllOf(HasSubstr("node-7 did not take it"), HasSubstr("enough resource")));
}

TEST_F(Story, ANodeThatShutsDownIsLost) {
  pod.phase = "Failed";
  pod.reason = "Terminated";
  pod.message = "Pod was terminated in response to imminent node shutdown.";
  expect_ended(Reason::node_lost, HasSubstr("imminent node shutdown"));
}

TEST_F(Story, ANodeThatDoesNotAnswerIsSuspected) {
  pod.phase = "Running";
  condition("Ready", false);
  condition("ContainersReady", true);
  expect_running(Reason::node_lost, "node node-7 does not answer");
}

TEST_F(Story, ADeletedPodWhoseNodeNeverConfirmsIsGivenUp) {
  pod.phase = "Running";
  pod.deletion = now - confirmation_patience;
  EXPECT_TRUE(status().running);
  pod.deletion = now - confirmation_patience - 1us;
  expect_ended(Reason::node_lost, HasSubstr("does not confirm"));
}

TEST_F(Story, ADeletedPodIsSaid) {
  pod.phase = "Failed";
  pod.deletion = now;
  ended("job", 143);
  expect_ended(Reason::runner_lost, "its pod was deleted");
}

TEST_F(Story, APodDeletedBeforeItHadANodeHasEnded) {
  pod.node.clear();
  pod.deletion = now;
  expect_ended(Reason::runner_lost, "its pod was deleted");
}

TEST_F(Story, AServiceThatEndsFailsTheJob) {
  pod.phase = "Running";
  pod.containers = {{.name = "service-db", .running = true, .started = true, .ended_before = Ended{3, "Error", "no space for wal"}}, {.name = "job", .running = true}};
  expect_ended(Reason::service, "the service 'db' ended with exit code 3: no space for wal");
}

TEST_F(Story, AServiceThatIsNeverReadyIsSaid) {
  pod.containers = {{.name = "service-db", .ended_before = Ended{137, "Error", "starting…"}}, {.name = "job", .waiting = "PodInitializing"}};
  expect_ended(Reason::service, AllOf(HasSubstr("did not become ready"), HasSubstr("starting…")));
}

TEST_F(Story, ServicesEndWithTheJobAndAreNotBlamed) {
  pod.phase = "Succeeded";
  pod.containers = {{.name = "service-db", .ended = Ended{143, "Error", "terminated"}}};
  ended("job", 0, "Completed");
  expect_ended(Reason::exit_code, "its pod ended");
}

TEST_F(Story, ARunnerImageThatFailsIsSaid) {
  ended("install", 127, "Error", "mayfly-init: not found");
  expect_ended(Reason::runner_lost, AllOf(HasSubstr("runner image failed with exit code 127"), HasSubstr("not found")));
}

TEST_F(Story, AJobThatRanTooLongIsLate) {
  job.conditions = {{"Failed", true, "DeadlineExceeded", "Job was active longer than specified deadline"}};
  pod.phase = "Failed";
  ended("job", 143);
  expect_ended(Reason::timeout, HasSubstr("longer than it may"));
}

TEST_F(Story, AJobWhosePodVanishedSaysWhatItsControllerSays) {
  has_pod = false;
  job.conditions = {{"Failed", true, "PodFailurePolicy", "Pod ci/mayfly-a-x has condition DisruptionTarget matching FailJob rule at index 0"}};
  expect_ended(Reason::runner_lost, HasSubstr("DisruptionTarget"));
}

TEST_F(Story, RefusalsOfTheJobControllerAreToldApart) {
  has_pod = false;
  around.job_trouble = "Error creating: pods \"x\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1";
  expect_running(Reason::unschedulable, AllOf(HasSubstr("quota is used up"), HasSubstr("exceeded quota")));
  around.job_trouble = "Error creating: pods \"x\" is forbidden: violates PodSecurity \"restricted:latest\": privileged";
  expect_ended(Reason::refused, AllOf(HasSubstr("refused its pod"), HasSubstr("PodSecurity")));
}

TEST_F(Story, ASecondPodThatFindsItselfSuperfluousEndsNothing) {
  pod.phase = "Running";
  Object second{.name = "mayfly-a-y", .uid = "q", .phase = "Failed", .node = "node-8", .containers = {{.name = "job", .ended = Ended{3, "Error", ""}}}};
  std::array<const Object*, 2> both{&second, &pod};
  EXPECT_TRUE(judge(attempt, &job, both, around).status.running);
  pod.phase = "Failed";
  pod.containers = {{.name = "job", .ended = Ended{137, "OOMKilled", ""}}};
  EXPECT_EQ(judge(attempt, &job, both, around).status.reason, Reason::oom);
}

}  // namespace
}  // namespace mayfly::kubernetes
