#include "runner/docker/container_plan.h"

#include <gmock/gmock.h>

#include <algorithm>

namespace mayfly {
namespace {

const AttemptId attempt = *AttemptId::parse("0193a2f4-0000-7000-8000-000000000001");

SandboxSpec a_job() {
  SandboxSpec spec;
  spec.attempt = attempt;
  spec.fence = Fence{4};
  spec.memory_bytes = 1 << 30;
  spec.cpu_milli = 500;
  spec.pids = 100;
  spec.isolation = "runc";
  return spec;
}

DockerPlace a_place() { return {.socket = "/run/docker.sock", .pool = "p", .home = "/data", .runtime = "runc"}; }

ContainerSeat a_seat() {
  return {.files = {"/d/workspace", "/d/home", "/d/tmp", "/d/var-tmp", "/d/passwd", "/d/group", "", "/d/init"}, .uid = 1234, .gid = 1235, .image = "sha256:abc", .network = "none"};
}

TEST(ContainerPlan, AJobsContainerIsItsAttemptsAndNobodyElses) {
  auto container = job_container(a_job(), a_place(), a_seat());
  EXPECT_EQ(container.name, "mayfly-0193a2f4-0000-7000-8000-000000000001");
  EXPECT_EQ(container.user, "1234:1235");
  EXPECT_EQ(container.labels.at("mayfly.dev/attempt"), attempt.str());
  EXPECT_EQ(container.labels.at("mayfly.dev/fence"), "4");
  EXPECT_EQ(container.labels.at("mayfly.dev/pool"), "p");
  EXPECT_EQ(container.labels.at("mayfly.dev/home"), "/data");
  EXPECT_EQ(container.pids, 100);
  EXPECT_EQ(container.processes_of_user, 100);
  EXPECT_TRUE(container.read_only_root);
  EXPECT_TRUE(container.capabilities.empty());
}

TEST(ContainerPlan, WhatAJobMayWriteToIsItsOwn) {
  auto container = job_container(a_job(), a_place(), a_seat());
  std::vector<std::string> writable;
  for (auto& mount : container.mounts)
    if (!mount.read_only) writable.push_back(mount.target);
  EXPECT_THAT(writable, testing::UnorderedElementsAre("/workspace", "/home/mayfly", "/tmp", "/var/tmp"));
}

TEST(ContainerPlan, GvisorsOwnThreadsAreNotTheJobs) {
  auto job = a_job();
  job.isolation = "gvisor";
  auto container = job_container(job, a_place(), a_seat());
  EXPECT_EQ(container.pids, 100 + gvisor_own_pids);
  EXPECT_EQ(container.processes_of_user, 100);
}

TEST(ContainerPlan, AServiceIsInTheJobsNetworkAndHasNoMoreRights) {
  auto job = a_job();
  ServiceSpec service{"db", "postgres:16", "", {{"A", "b"}}, "pg_isready"};
  job.services = {service};
  auto container = service_container(job, a_place(), a_seat(), service);
  EXPECT_EQ(container.name, "mayfly-0193a2f4-0000-7000-8000-000000000001-db");
  EXPECT_EQ(container.network, "container:mayfly-0193a2f4-0000-7000-8000-000000000001");
  EXPECT_EQ(container.user, "1234:1235");
  EXPECT_TRUE(container.entrypoint.empty()) << "its image's own";
  EXPECT_THAT(container.env, testing::Contains("A=b"));
  ASSERT_TRUE(container.health);
  EXPECT_EQ(container.health->command, "pg_isready");
  EXPECT_TRUE(container.capabilities.empty());
  EXPECT_FALSE(container.standard_input);
  EXPECT_THAT(job_container(job, a_place(), a_seat()).extra_hosts, testing::ElementsAre("db:127.0.0.1"));
  service.run = "exec postgres";
  EXPECT_THAT(service_container(job, a_place(), a_seat(), service).entrypoint, testing::ElementsAre("/bin/sh", "-c", "exec postgres"));
}

TEST(ContainerPlan, ImagesAreNamesOfRegistries) {
  auto place = a_place();
  EXPECT_EQ(to_string(*image_of("debian", place)), "debian:latest");
  for (auto other : {"host", "", "/srv/root", "oci:/srv/x", "no name"}) EXPECT_EQ(image_of(other, place).error().code, Errc::unsupported) << other;
  place.default_image = "debian:12";
  EXPECT_EQ(to_string(*image_of("host", place)), "debian:12");
  EXPECT_EQ(image_of("/srv/root", place).error().code, Errc::unsupported);
}

}  // namespace
}  // namespace mayfly
