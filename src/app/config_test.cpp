#include "app/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "support/temp_dir.h"

namespace mayfly {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Environment nothing = [](const std::string&) { return std::nullopt; };

Environment having(std::map<std::string, std::string> variables) {
  return [variables](const std::string& name) -> std::optional<std::string> {
    auto at = variables.find(name);
    return at == variables.end() ? std::nullopt : std::optional(at->second);
  };
}

std::string refusal(std::string_view text, const Environment& environment = nothing) {
  auto config = parse_config("mayfly.yaml", text, environment);
  return config ? "accepted" : config.error().message;
}

TEST(Configuration, IsRead) {
  auto config = parse_config("mayfly.yaml", R"(
node: a1
roles: [gateway, logs]
listen: 0.0.0.0:80
database: postgresql://mayfly@db/mayfly
kafka: {brokers: "k1:9092,k2:9092", partitions: 48}
s3:
  endpoint: https://s3.example.com
  access_key: AK
pools:
  - {name: big, data_dir: /srv/big, slots: 64, labels: [ssd, arm]}
  - {name: small, data_dir: /srv/small}
)", nothing);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->node, "a1");
  EXPECT_THAT(config->roles, ElementsAre("gateway", "logs"));
  EXPECT_EQ(config->kafka.brokers, "k1:9092,k2:9092");
  EXPECT_EQ(config->kafka.partitions, 48);
  EXPECT_EQ(config->s3.access_key, "AK");
  EXPECT_EQ(config->s3.bucket, "mayfly");
  ASSERT_EQ(config->pools.size(), 2u);
  EXPECT_EQ(config->pools[0].slots, 64);
  EXPECT_THAT(config->pools[0].labels, ElementsAre("ssd", "arm"));
}

TEST(Configuration, APoolMayBeACluster) {
  auto config = parse_config("mayfly.yaml", R"(
pools:
  - name: cluster
    slots: 500
    kubernetes:
      kubeconfig: /etc/mayfly/kubeconfig
      namespace: mayfly-runners
      runner_image: registry.example/mayfly:1
      runner_object: pod
      node_selector: {disk: ssd}
      tolerations: [{key: ci, operator: Exists, effect: NoSchedule}]
      runtime_classes: {gvisor: gvisor, kata: kata-qemu}
      runner_cpu: 300m
      runner_memory: 1.5Gi
      start_deadline: 5m
      api_qps: 20
)", nothing);
  ASSERT_TRUE(config) << config.error().message;
  auto& cluster = config->pools.at(0).kubernetes;
  ASSERT_TRUE(cluster);
  EXPECT_EQ(cluster->pool, "cluster");
  EXPECT_EQ(cluster->name_space, "mayfly-runners");
  EXPECT_EQ(cluster->runner_object, RunnerObject::pod);
  EXPECT_EQ(cluster->node_selector, (std::map<std::string, std::string>{{"disk", "ssd"}}));
  EXPECT_THAT(cluster->tolerations, ElementsAre(R"({"key":"ci","operator":"Exists","effect":"NoSchedule"})"));
  EXPECT_EQ(cluster->runtime_classes.at("kata"), "kata-qemu");
  EXPECT_EQ(cluster->runner_cpu_milli, 300);
  EXPECT_EQ(cluster->runner_memory_bytes, std::int64_t(3) << 29);
  EXPECT_EQ(cluster->start_deadline, std::chrono::minutes(5));
  EXPECT_EQ(cluster->api_qps, 20);
}

TEST(Configuration, MistakesOfAClusterHaveTheirPlace) {
  auto said = refusal("pools:\n  - name: c\n    kubernetes: {runner_imag: x, runner_memory: 1GB, runner_object: deployment, start_deadline: soon}\n");
  EXPECT_THAT(said, HasSubstr("mayfly.yaml:3:18: 'runner_imag' is no key of kubernetes: did you mean 'runner_image'?"));
  EXPECT_THAT(said, HasSubstr("kubernetes.runner_memory: an amount of memory like 512Mi or 2Gi, not '1GB'"));
  EXPECT_THAT(said, HasSubstr("kubernetes.runner_object: job or pod, not 'deployment'"));
  EXPECT_THAT(said, HasSubstr("kubernetes.start_deadline: a duration like 90s or 10m, not 'soon'"));
  EXPECT_THAT(said, HasSubstr("kubernetes.runner_image is not set"));
}

TEST(Configuration, APoolHasFloorsOfIsolation) {
  auto config = parse_config("mayfly.yaml", "pools: [{name: a, isolation_floor: gvisor, fork_isolation_floor: kata, runsc: /opt/runsc}, {name: b}]\n", nothing);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->pools[0].isolation_floor, Isolation::gvisor);
  EXPECT_EQ(config->pools[0].fork_isolation_floor, Isolation::kata);
  EXPECT_EQ(config->pools[0].runsc, "/opt/runsc");
  EXPECT_EQ(config->pools[1].isolation_floor, Isolation::sandbox);
  EXPECT_THAT(refusal("pools: [{name: a, isolation_floor: walls}]"), HasSubstr("mayfly.yaml:1:36: isolation_floor: sandbox, runc, gvisor or kata, not 'walls'"));
}

TEST(Configuration, LimitsAreRatesOrNone) {
  auto config = parse_config("mayfly.yaml", "limits: {token: 50/s burst 500, organization: none}\n", having({{"MAYFLY_LIMITS_DELIVERIES", "60/min burst 5"}}));
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->rates.token, (Rate{500, std::chrono::milliseconds{20}}));
  EXPECT_EQ(config->rates.organization, std::nullopt);
  EXPECT_EQ(config->rates.deliveries, (Rate{5, std::chrono::seconds{1}}));
  EXPECT_THAT(refusal("limits:\n  token: fast\n"), HasSubstr("mayfly.yaml:2:10: limits.token: 'fast' is not a rate"));
  EXPECT_EQ(parse_config("mayfly.yaml", "", nothing)->rates.token, RateTable{}.token);
}

TEST(Configuration, TheEnvironmentComesFirst) {
  auto config = parse_config("mayfly.yaml", "redis: redis://file\ns3: {secret_key: file}\n", having({{"MAYFLY_S3_SECRET_KEY", "environment"}, {"MAYFLY_ROLES", "builds"}}));
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->redis, "redis://file");
  EXPECT_EQ(config->s3.secret_key, "environment");
  EXPECT_THAT(config->roles, ElementsAre("builds"));
}

TEST(Configuration, ASecretMayStandInAFile) {
  TempDir dir;
  std::ofstream(dir.file("secret")) << "hush\n";
  auto config = parse_config("mayfly.yaml", "s3: {secret_key_file: " + dir.file("secret") + "}", having({{"MAYFLY_RUNNER_KEY_FILE", dir.file("secret")}}));
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->s3.secret_key, "hush");
  EXPECT_EQ(config->runner_key, "hush");
  EXPECT_THAT(refusal("runner_key_file: " + dir.file("none")), HasSubstr("cannot be read"));
}

TEST(Configuration, KafkasOwnPropertiesPassAndTheirSecretsStandInFiles) {
  TempDir dir;
  std::ofstream(dir.file("password")) << "hush\n";
  auto config = parse_config("mayfly.yaml", "kafka: {brokers: k, properties: {security.protocol: SASL_SSL, sasl.password_file: " + dir.file("password") + "}}", nothing);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_THAT(config->kafka.properties, ElementsAre(testing::Pair("security.protocol", "SASL_SSL"), testing::Pair("sasl.password", "hush")));
  EXPECT_THAT(refusal("kafka: {properties: [a]}"), HasSubstr("mayfly.yaml:1:21: kafka.properties: a map, not a list"));
}

TEST(Configuration, EveryMistakeIsSaidWithItsPlace) {
  auto text = refusal("databse: x\nroles: [gateway, gatway]\nkafka: {partitions: many}\npools: [{nmae: a}]\n");
  EXPECT_THAT(text, HasSubstr("mayfly.yaml:1:1: 'databse' is no key"));
  EXPECT_THAT(text, HasSubstr("did you mean 'database'?"));
  EXPECT_THAT(text, HasSubstr("mayfly.yaml:2:8: roles: 'gatway' is no role"));
  EXPECT_THAT(text, HasSubstr("mayfly.yaml:3:21: kafka.partitions: a number between 1 and 1000, not 'many'"));
  EXPECT_THAT(text, HasSubstr("mayfly.yaml:4:10: 'nmae' is no key of a pool"));
  EXPECT_THAT(refusal("pools: [{name: a}, {name: a}]"), HasSubstr("two pools named 'a'"));
  EXPECT_THAT(refusal("just text"), HasSubstr("a configuration is a map of keys"));
  EXPECT_THAT(refusal("", having({{"MAYFLY_KAFKA_PARTITIONS", "0"}})), HasSubstr("MAYFLY_KAFKA_PARTITIONS: a number between 1 and 1000"));
}

TEST(Configuration, WhatTheRolesNeedIsMissedByName) {
  auto config = parse_config("mayfly.yaml", "database: postgresql://x\nroles: [runners]", nothing);
  auto checked = check_config(*config);
  ASSERT_FALSE(checked);
  EXPECT_THAT(checked.error().message, HasSubstr("kafka.brokers"));
  EXPECT_THAT(checked.error().message, HasSubstr("pools"));
  EXPECT_THAT(checked.error().message, testing::Not(HasSubstr("owner_token")));
}

}  // namespace
}  // namespace mayfly
