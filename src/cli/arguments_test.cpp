#include "cli/arguments.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "cli/test_world.h"

namespace mayfly::cli {
namespace {

const Environment nothing = [](std::string_view) { return std::nullopt; };

template <class T>
T parsed(std::vector<std::string> arguments) {
  auto invocation = parse_arguments(arguments, nothing);
  if (!invocation) throw std::runtime_error(invocation.error().text);
  return std::get<T>(invocation->command);
}

Usage refused(std::vector<std::string> arguments) {
  auto invocation = parse_arguments(arguments, nothing);
  if (invocation) throw std::runtime_error("it was accepted");
  return invocation.error();
}

const std::vector<std::vector<std::string>> every_command{
    {"up"}, {"serve"},       {"project", "add"}, {"project", "list"},     {"trigger"},       {"builds"},         {"build"},
    {"logs"},      {"cancel"},         {"retry"},               {"artifacts"},     {"artifacts", "get"}, {"secret", "set"},
    {"secret", "list"}, {"secret", "rm"}, {"token", "create"}, {"lint"},           {"plan"}, {"run"}, {"version"}};

TEST(Arguments, EveryCommandHasHelpWithAnExampleThatParses) {
  for (auto words : every_command) {
    std::string name = "mayfly";
    for (auto& word : words) name += " " + word;
    words.push_back("--help");
    auto help = refused(words);
    EXPECT_EQ(help.exit_code, done) << name;
    EXPECT_TRUE(help.text.find("Usage: " + name + " [OPTIONS]") != std::string::npos) << help.text;
    EXPECT_TRUE(help.text.find("Example:\n  " + name) != std::string::npos) << help.text;
  }
}

TEST(Arguments, EveryCommandIsInTheDocumentation) {
  std::ifstream file(MAYFLY_SOURCE_DIR "/docs/cli.md");
  std::string text{std::istreambuf_iterator<char>(file), {}};
  for (auto& words : every_command) {
    auto name = "`" + words[0] + (words.size() > 1 ? " " + words[1] : "");
    EXPECT_TRUE(text.find(name) != std::string::npos) << name;
  }
}

TEST(Arguments, TriggerCollectsInputs) {
  auto trigger = parsed<Trigger>({"trigger", "web", "--ref", "main", "--input", "target=staging", "--input", "note=a=b c", "--follow"});
  EXPECT_EQ(trigger.project, "web");
  EXPECT_EQ(trigger.ref, "main");
  EXPECT_TRUE(trigger.follow);
  EXPECT_EQ(trigger.inputs, (Inputs{{"target", "staging"}, {"note", "a=b c"}}));
}

TEST(Arguments, AnInputWithoutAValueIsRefusedByName) {
  auto usage = refused({"trigger", "web", "--input", "staging"});
  EXPECT_EQ(usage.exit_code, used_wrongly);
  EXPECT_TRUE(usage.text.find("'staging' is not KEY=VALUE") != std::string::npos) << usage.text;
}

TEST(Arguments, ServerOptionsGoBeforeOrAfterTheCommand) {
  for (auto& words : {std::vector<std::string>{"--server", "http://x:1", "--json", "builds"}, {"builds", "--json", "--server", "http://x:1"}}) {
    auto invocation = parse_arguments(words, nothing);
    ASSERT_TRUE(invocation) << invocation.error().text;
    EXPECT_EQ(invocation->connection.server, "http://x:1");
    EXPECT_TRUE(invocation->json);
  }
}

TEST(Arguments, ArtifactsListsAndGets) {
  EXPECT_EQ(parsed<ListArtifacts>({"artifacts", "web#3"}).build, "web#3");
  auto get = parsed<GetArtifact>({"artifacts", "get", "web#3", "out/app.tgz", "-o", "x"});
  EXPECT_EQ(get.build, "web#3");
  EXPECT_EQ(get.path, "out/app.tgz");
  EXPECT_EQ(get.output, "x");
  EXPECT_EQ(refused({"artifacts"}).exit_code, used_wrongly);
}

TEST(Arguments, RetryTakesSeveralJobs) {
  EXPECT_EQ(parsed<Retry>({"retry", "web", "test (1)", "lint"}).jobs, (std::vector<std::string>{"test (1)", "lint"}));
}

TEST(Arguments, AMistypedCommandGetsTheNearestOne) {
  auto usage = refused({"biuld", "web"});
  EXPECT_EQ(usage.exit_code, used_wrongly);
  EXPECT_TRUE(usage.text.find("did you mean 'build'?") != std::string::npos) << usage.text;
}

TEST(Arguments, WrongUseSaysWhatAndWhereToLook) {
  auto usage = refused({"build"});
  EXPECT_EQ(usage.exit_code, used_wrongly);
  EXPECT_EQ(usage.text, "mayfly build: BUILD is required\nRun mayfly build --help for how to use it.\n");
  EXPECT_EQ(refused({}).exit_code, used_wrongly);
  EXPECT_EQ(refused({"project"}).exit_code, used_wrongly);
  EXPECT_EQ(refused({"builds", "--status", "green"}).exit_code, used_wrongly);
  EXPECT_EQ(refused({"builds", "--limit", "0"}).exit_code, used_wrongly);
  EXPECT_EQ(refused({"up", "--slots", "-1"}).exit_code, used_wrongly);
  EXPECT_EQ(refused({"token", "create", "x", "--role", "king"}).exit_code, used_wrongly);
  EXPECT_EQ(refused({"token", "create", "x", "--expires", "soon"}).exit_code, used_wrongly);
}

TEST(Arguments, TokensMayExpire) {
  auto token = parsed<TokenCreate>({"token", "create", "dashboard", "--expires", "30d"});
  EXPECT_EQ(token.lifetime, std::optional<Duration>(std::chrono::days(30)));
  EXPECT_EQ(token.role, "viewer");
}

TEST(Arguments, TheDataDirectoryIsTheUsersOwn) {
  std::map<std::string, std::string> variables{{"HOME", "/home/ann"}};
  Environment environment = [&](std::string_view name) -> std::optional<std::string> {
    auto it = variables.find(std::string(name));
    return it == variables.end() ? std::nullopt : std::optional(it->second);
  };
  EXPECT_EQ(default_data_dir(environment), "/home/ann/.local/state/mayfly");
  variables["XDG_STATE_HOME"] = "/state";
  EXPECT_EQ(default_data_dir(environment), "/state/mayfly");
  variables["MAYFLY_DATA"] = "/data";
  EXPECT_EQ(default_data_dir(environment), "/data");
}

TEST(Arguments, UpReachesTheProgramThatServes) {
  TestWorld world;
  world.variables["MAYFLY_DATA"] = "/data";
  UpOptions seen;
  auto code = world.run({"up", "--listen", "127.0.0.1:0", "--slots", "4", "--isolation-floor", "runc", "--fork-isolation-floor", "gvisor", "--log-level", "debug"}, {.up = [&](UpOptions options) {
                          seen = options;
                          return 7;
                        }});
  EXPECT_EQ(code, 7);
  EXPECT_EQ(seen.data_dir, "/data");
  EXPECT_EQ(seen.listen, "127.0.0.1:0");
  EXPECT_EQ(seen.slots, 4);
  EXPECT_EQ(seen.isolation_floor, Isolation::runc);
  EXPECT_EQ(seen.fork_isolation_floor, Isolation::gvisor);
  EXPECT_EQ(seen.log_level, "debug");
}

TEST(Arguments, VersionIsForPeopleAndMachines) {
  TestWorld world;
  EXPECT_EQ(world.run({"version"}), done);
  EXPECT_TRUE(world.out().starts_with("mayfly "));
  auto plain = world.out();
  EXPECT_EQ(world.run({"--version"}), done);
  EXPECT_EQ(world.out(), plain);
  EXPECT_EQ(world.run({"version", "--json"}), done);
  EXPECT_TRUE(parse_json(world.out()));
}

}  // namespace
}  // namespace mayfly::cli
