// What is promised of every pod, whatever a pipeline says. That a cluster agrees (the restricted standard, strict validation) is told in tests/kubernetes.
#include "adapters/kubernetes/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "adapters/host_runners/runner_files.h"
#include "base/json.h"
#include "domain/runner/pod.h"

namespace mayfly::kubernetes {
namespace {

using testing::HasSubstr;
using testing::Not;

struct Manifest : testing::Test {
  Manifest() {
    options.pool = "cluster";
    options.runner_image = "mayfly:1";
    spec.attempt = *AttemptId::parse("0193a2f4-0000-7000-8000-000000000001");
    spec.fence = Fence{42};
    spec.boot_token = "t0ken";
    spec.image = "golang:1.23";
    spec.cpu_milli = 1500;
    spec.memory_bytes = 1 << 30;
    spec.disk_bytes = 1 << 30;
    spec.timeout = std::chrono::minutes(5);
  }
  json::value made() {
    auto text = manifest(options, "ci", spec);
    return text ? parse_json(*text).value() : json::value(text.error().message);
  }
  json::value pod() { return options.runner_object == RunnerObject::job ? made().at("spec").at("template").at("spec") : made().at("spec"); }
  json::array containers() {
    auto all = pod().at("initContainers").as_array();
    for (auto& one : pod().at("containers").as_array()) all.push_back(one);
    return all;
  }

  KubernetesOptions options;
  RunnerSpec spec;
};

TEST_F(Manifest, AJobIsOnePodOnceAndRetriesAreOurs) {
  auto job = made();
  EXPECT_EQ(find_string(job, "metadata.name"), "mayfly-0193a2f4-0000-7000-8000-000000000001");
  EXPECT_EQ(job.at("metadata").at("labels").at(fence_label), "42");
  EXPECT_EQ(find_int(job, "spec.backoffLimit"), 0);
  EXPECT_EQ(find_int(job, "spec.completions"), 1);
  EXPECT_EQ(find_string(job, "spec.podReplacementPolicy"), "Failed");
  EXPECT_EQ(find_int(job, "spec.activeDeadlineSeconds"), 5 * 60 + 10 * 60 + 120);
  for (auto& rule : job.at("spec").at("podFailurePolicy").at("rules").as_array()) EXPECT_EQ(rule.at("action"), "FailJob");
  EXPECT_EQ(find_string(pod(), "restartPolicy"), "Never");
}

TEST_F(Manifest, ABarePodHasTheSameAndKeepsHowItEnded) {
  options.runner_object = RunnerObject::pod;
  EXPECT_EQ(find_int(pod(), "activeDeadlineSeconds"), 5 * 60 + 10 * 60 + 120);
  EXPECT_EQ(made().at("metadata").at("finalizers").at(0), finalizer);
}

TEST_F(Manifest, NoContainerHasAPrivilegeOrAnApiToken) {
  spec.services = {{"db", "postgres:16", "", {}, "pg_isready"}};
  EXPECT_EQ(find_bool(pod(), "automountServiceAccountToken"), false);
  EXPECT_EQ(find_bool(pod(), "securityContext.runAsNonRoot"), true);
  EXPECT_EQ(find_string(pod(), "securityContext.seccompProfile.type"), "RuntimeDefault");
  EXPECT_EQ(containers().size(), 4u);
  for (auto& one : containers()) {
    EXPECT_EQ(find_bool(one, "securityContext.allowPrivilegeEscalation"), false) << one;
    EXPECT_EQ(one.at("securityContext").at("capabilities").at("drop").at(0), "ALL");
    EXPECT_EQ(one.at("resources").at("requests"), one.at("resources").at("limits"));
  }
}

TEST_F(Manifest, NothingSecretIsInItAndTheIdentityIsTheRunnersAlone) {
  EXPECT_THAT(json::serialize(made()), Not(HasSubstr("t0ken")));
  for (auto& one : containers()) {
    bool has_identity = json::serialize(one).find(R"("name":"identity")") != std::string::npos;
    EXPECT_EQ(has_identity, one.at("name") == pod::runner_container) << one;
  }
  auto environment = pod().at("initContainers").at(1).at("env").as_array();
  auto file = runner_file_from_json(environment.at(0).at("value").as_string());
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->spec.attempt, spec.attempt);
  EXPECT_EQ(file->spec.fence, spec.fence);
}

TEST_F(Manifest, ServicesStayBesideTheJobAndAreReachedByName) {
  spec.services = {{"db", "docker://postgres:16", "", {{"PGDATA", "/tmp/pg"}}, "pg_isready"}, {"cache", "redis:7", "redis-server --port 1", {}, ""}};
  auto db = pod().at("initContainers").at(2);
  EXPECT_EQ(db.at("name"), "service-db");
  EXPECT_EQ(db.at("image"), "postgres:16");
  EXPECT_EQ(db.at("restartPolicy"), "Always");
  EXPECT_EQ(db.at("startupProbe").at("exec").at("command").at(2), "pg_isready");
  EXPECT_FALSE(db.as_object().contains("command")) << "the image's own";
  EXPECT_EQ(pod().at("initContainers").at(3).at("command").at(2), "redis-server --port 1");
  EXPECT_FALSE(pod().at("initContainers").at(3).as_object().contains("startupProbe"));
  EXPECT_EQ(pod().at("hostAliases").at(0).at("hostnames"), (json::array{"db", "cache"}));
}

TEST_F(Manifest, IsolationIsARuntimeClassOrARefusal) {
  EXPECT_FALSE(pod().as_object().contains("runtimeClassName"));
  spec.isolation = "gvisor";
  EXPECT_EQ(manifest(options, "ci", spec).error().code, Errc::unsupported);
  options.runtime_classes = {{"gvisor", "gvisor-classic"}};
  EXPECT_EQ(find_string(pod(), "runtimeClassName"), "gvisor-classic");
  EXPECT_THAT(json::serialize(made()), HasSubstr("dev.gvisor.spec.mount.meeting.share"));
}

TEST_F(Manifest, ImagesAreARegistrys) {
  for (auto image : {"host", "/srv/root", "oci:/srv/image"}) {
    spec.image = image;
    EXPECT_EQ(manifest(options, "ci", spec).error().code, Errc::unsupported) << image;
  }
  options.default_image = "debian:12";
  spec.image = "host";
  EXPECT_EQ(pod().at("containers").at(0).at("image"), "debian:12");
}

TEST_F(Manifest, LostNodesAreAvoidedWhereThereAreOthers) {
  spec.avoid_machines = {"node-1", "node-2"};
  auto preferred = pod().at("affinity").at("nodeAffinity").at("preferredDuringSchedulingIgnoredDuringExecution").at(0);
  EXPECT_EQ(preferred.at("preference").at("matchFields").as_array().size(), 2u);
  EXPECT_EQ(preferred.at("preference").at("matchFields").at(1).at("values").at(0), "node-2");
}

TEST_F(Manifest, PoolsWhoseNameIsNoLabelAreRefused) {
  EXPECT_TRUE(check(options));
  options.pool = std::string(63, 'p');
  EXPECT_TRUE(check(options));
  for (auto name : {std::string(64, 'p'), std::string("a pool"), std::string("-p"), std::string()}) {
    options.pool = name;
    EXPECT_FALSE(check(options)) << name;
  }
}

}  // namespace
}  // namespace mayfly::kubernetes
