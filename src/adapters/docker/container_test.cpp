#include "adapters/docker/container.h"

#include <gmock/gmock.h>

#include "base/json.h"

namespace mayfly::docker {
namespace {

json::value body_of(const ContainerSpec& spec) { return *parse_json(to_json(spec)); }

TEST(ContainerSpecs, ArePoorByDefault) {
  auto body = body_of({.name = "mayfly-1", .image = "debian:12"});
  EXPECT_EQ(*find(body, "HostConfig.CapDrop"), json::array{"ALL"});
  EXPECT_EQ(*find(body, "HostConfig.CapAdd"), json::array{});
  EXPECT_EQ(*find(body, "HostConfig.SecurityOpt"), json::array{"no-new-privileges"});
  EXPECT_EQ(find_bool(body, "HostConfig.ReadonlyRootfs"), true);
  EXPECT_EQ(find_string(body, "HostConfig.NetworkMode"), "none");
  EXPECT_EQ(find_string(body, "HostConfig.LogConfig.Type"), "none");
  EXPECT_EQ(find_string(body, "HostConfig.RestartPolicy.Name"), "no");
  EXPECT_EQ(*find(body, "Healthcheck.Test"), json::array{"NONE"}) << "an image's own check is not run";
  EXPECT_EQ(find(body, "Entrypoint"), nullptr);
}

TEST(ContainerSpecs, MemoryIsAllThereIsWithoutSwap) {
  auto body = body_of({.name = "x", .image = "x", .memory_bytes = 64 << 20, .cpu_milli = 1500, .pids = 100, .processes_of_user = 90});
  EXPECT_EQ(find_int(body, "HostConfig.Memory"), 64 << 20);
  EXPECT_EQ(find_int(body, "HostConfig.MemorySwap"), 64 << 20);
  EXPECT_EQ(find_int(body, "HostConfig.NanoCpus"), 1'500'000'000);
  EXPECT_EQ(find_int(body, "HostConfig.PidsLimit"), 100);
  auto& limits = find(body, "HostConfig.Ulimits")->get_array();
  EXPECT_EQ(find_string(limits.back(), "Name"), "nproc");
  EXPECT_EQ(find_int(limits.back(), "Hard"), 90);
  EXPECT_EQ(find(body_of({.name = "x", .image = "x"}), "HostConfig.Memory"), nullptr);
}

TEST(ContainerSpecs, AnEntrypointReplacesTheImagesCommandToo) {
  auto body = body_of({.name = "x", .image = "x", .entrypoint = {"/init", "--flag"}, .mounts = {{"/a", "/b", true}}, .standard_input = true});
  EXPECT_EQ(*find(body, "Entrypoint"), (json::array{"/init", "--flag"}));
  EXPECT_EQ(*find(body, "Cmd"), json::array{});
  EXPECT_EQ(find_bool(body, "StdinOnce"), true);
  EXPECT_EQ(find_bool(body, "Tty"), false);
  auto& mount = find(body, "HostConfig.Mounts")->get_array().front();
  EXPECT_EQ(find_string(mount, "Source"), "/a");
  EXPECT_EQ(find_bool(mount, "ReadOnly"), true);
}

TEST(Containers, AreReadAsTheEngineTellsOfThem) {
  auto container = container_from_json(R"({"Id":"abc","State":{"Running":false,"Pid":0,"ExitCode":137,"OOMKilled":true,"Error":"",
      "Health":{"Status":"unhealthy","Log":[{"Output":"first"},{"Output":"refused"}]}},"Config":{"Labels":{"mayfly.dev/attempt":"1","odd":5}}})");
  ASSERT_TRUE(container);
  EXPECT_EQ(container->id, "abc");
  EXPECT_FALSE(container->running);
  EXPECT_EQ(container->exit_code, 137);
  EXPECT_TRUE(container->out_of_memory);
  EXPECT_EQ(container->health, "unhealthy");
  EXPECT_EQ(container->health_said, "refused");
  EXPECT_EQ(container->labels, (Labels{{"mayfly.dev/attempt", "1"}}));
}

TEST(Containers, OfAnEngineThatIsNoneAreRefused) {
  for (auto text : {"", "[]", "{}", R"({"Id":"x"})", R"({"Id":5,"State":{"Running":true}})", R"({"Id":"x","State":[]})"}) EXPECT_EQ(container_from_json(text).error().code, Errc::corrupt) << text;
  for (auto text : {"", "{}", "[5]", R"([{"Id":1}])"}) EXPECT_EQ(containers_from_json(text).error().code, Errc::corrupt) << text;
}

TEST(Containers, AreListed) {
  auto list = containers_from_json(R"([{"Id":"a","State":"running","Labels":{"mayfly.dev/pool":"p"}},{"Id":"b","State":"exited","Labels":null}])");
  ASSERT_TRUE(list);
  ASSERT_EQ(list->size(), 2u);
  EXPECT_TRUE((*list)[0].running);
  EXPECT_EQ((*list)[0].labels, (Labels{{"mayfly.dev/pool", "p"}})) << "a label's name may have dots";
  EXPECT_FALSE((*list)[1].running);
}

}  // namespace
}  // namespace mayfly::docker
