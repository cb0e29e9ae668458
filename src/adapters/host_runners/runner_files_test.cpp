#include "adapters/host_runners/runner_files.h"

#include <gtest/gtest.h>

#include "support/temp_dir.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;

RunnerFile an_example() {
  RunnerFile file;
  file.spec = {.attempt = *AttemptId::parse("0193a2f4-0000-7000-8000-000000000001"), .fence = Fence{7}, .boot_token = "secret", .api_url = "http://127.0.0.1:8080",
               .image = "host", .cpu_milli = 500, .memory_bytes = 1 << 20, .disk_bytes = 1 << 24, .pids = 9, .network = false, .timeout = 90s,
               .isolation = "gvisor", .services = {{.name = "db", .image = "postgres:16", .run = "postgres -F", .env = {{"POSTGRES_PASSWORD", "x"}}, .ready = "pg_isready"}}};
  file.registries = {.registries = {"http://127.0.0.1:5000"}, .mirrors = {{"docker.io", "http://cache:5000"}}, .auth_file = "/etc/mayfly/auth.json", .store_bytes = 5};
  file.user_namespaces = true;
  file.cache_dir = "/var/lib/mayfly/sandbox";
  file.image_directories = {"/srv/images", "/opt/roots"};
  file.allowed_networks = {"10.1.0.0/16"};
  file.log_files = "/var/log/mayfly";
  file.runsc = "/opt/gvisor/runsc";
  return file;
}

TEST(RunnerFile, GoesThroughJsonWithoutItsBootToken) {
  auto text = to_json(an_example());
  EXPECT_EQ(text.find("secret"), std::string::npos);
  auto back = runner_file_from_json(text);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(to_json(*back), text);
  EXPECT_EQ(back->spec.timeout, Duration(90s));
  EXPECT_EQ(back->image_directories, an_example().image_directories);
  EXPECT_EQ(back->allowed_networks, an_example().allowed_networks);
  EXPECT_EQ(back->log_files, an_example().log_files);
  EXPECT_EQ(back->runsc, "/opt/gvisor/runsc");
  EXPECT_EQ(back->spec.isolation, "gvisor");
  EXPECT_EQ(back->spec.services, an_example().spec.services);
}

TEST(RunnerFile, SaysWhereAContainerIsToBeMade) {
  EXPECT_EQ(runner_file_from_json(to_json(an_example()))->docker, std::nullopt);
  auto file = an_example();
  file.docker = {.socket = "/run/docker.sock", .pool = "p", .home = "/data", .default_image = "debian:12", .network = "ci", .runtime = "runsc"};
  EXPECT_EQ(runner_file_from_json(to_json(file))->docker, file.docker);
}

TEST(RunnerFile, NamesTheFieldThatIsWrong) {
  auto text = to_json(an_example());
  text.replace(text.find("\"network\":false"), 15, "\"network\":\"no\" ");
  auto back = runner_file_from_json(text);
  ASSERT_FALSE(back);
  EXPECT_EQ(back.error().code, Errc::corrupt);
  EXPECT_NE(back.error().message.find("network"), std::string::npos);
  EXPECT_FALSE(runner_file_from_json("{"));
}

TEST(EndedFile, GoesThroughJson) {
  EndedFile file{Reason::oom, "the job needed more than 1 GiB"};
  EXPECT_EQ(ended_file_from_json(to_json(file)), file);
  EXPECT_FALSE(ended_file_from_json(R"({"reason": "bored", "detail": ""})"));
}

TEST(RunnerProcess, GoesThroughJson) {
  RunnerProcess process{42, 123456789, "b00t"};
  EXPECT_EQ(runner_process_from_json(to_json(process)), process);
  EXPECT_FALSE(runner_process_from_json(R"({"pid": 0, "start_ticks": 1, "boot_id": ""})"));
}

TEST(SmallFile, IsReadUpToItsLimitAndNotBeyond) {
  TempDir dir;
  auto path = dir.file("x.json");
  EXPECT_EQ(read_small_file(path).error().code, Errc::not_found);
  ASSERT_TRUE(write_file_atomically(path, std::string(max_runner_file_bytes, 'x')));
  EXPECT_EQ(read_small_file(path)->size(), max_runner_file_bytes);
  ASSERT_TRUE(write_file_atomically(path, std::string(max_runner_file_bytes + 1, 'x')));
  EXPECT_EQ(read_small_file(path).error().code, Errc::too_large);
}

}  // namespace
}  // namespace mayfly
