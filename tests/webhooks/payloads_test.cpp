// GitHub's own examples (@octokit/webhooks-examples) through the decoder: none may crash it, those that matter mean the right
// builds; and GitHub's own signing library (@octokit/webhooks-methods) against our check of signatures.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <sstream>

#include "base/json.h"
#include "domain/webhook/github.h"

namespace mayfly {
namespace {

const std::filesystem::path packages = MAYFLY_SOURCE_DIR "/tests/webhooks/node_modules/@octokit";

struct Example {
  std::string event;
  std::string payload;
};

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path << " is missing: run tests/webhooks/install";
  std::stringstream out;
  out << file.rdbuf();
  return out.str();
}

std::vector<Example> examples_of(const std::string& server) {
  auto index = parse_json(read(packages / "webhooks-examples" / server / "index.json"));
  EXPECT_TRUE(index) << index.error().message;
  std::vector<Example> out;
  for (auto& event : index->as_array())
    for (auto& payload : event.at("examples").as_array()) out.push_back({*find_string(event, "name"), json::serialize(payload)});
  return out;
}

const std::vector<Example>& examples() {
  static const auto all = examples_of("api.github.com");
  return all;
}

std::vector<Example> examples_of_event(std::string_view event) {
  std::vector<Example> out;
  for (auto& example : examples())
    if (example.event == event) out.push_back(example);
  return out;
}

DecodedWebhook decoded(const Example& example) {
  auto hook = decode_github(example.event, example.payload);
  EXPECT_TRUE(hook) << example.event << ": " << hook.error().message;
  return hook.value_or(DecodedWebhook{});
}

TEST(GitHubPayloads, AreAllThere) {
  std::map<std::string, int> events;
  for (auto& example : examples()) ++events[example.event];
  EXPECT_EQ(events.size(), 58u);
  EXPECT_EQ(examples().size(), 329u);
}

TEST(GitHubPayloads, EveryOneIsUnderstoodAndEitherBuildsOrSaysWhyNot) {
  for (auto& server : {"api.github.com", "ghes-31", "ghes-32", "ghes-33", "ghes-34", "ghes-35"})
    for (auto& example : examples_of(server)) {
      auto hook = decoded(example);
      EXPECT_EQ(hook.makes_build(), hook.reason.empty()) << example.event;
      EXPECT_EQ(hook.makes_build(), !hook.meaning.empty()) << example.event;
      EXPECT_EQ(hook.makes_build(), !hook.sha.empty()) << example.event;
    }
}

TEST(GitHubPayloads, TheRepositoryFoundBeforehandIsTheOneDecoded) {
  int with_repository = 0;
  for (auto& example : examples()) {
    auto before = github_repository(example.payload);
    auto hook = decoded(example);
    EXPECT_EQ(before.value_or(RepositoryNames{}), hook.repository) << example.event;
    with_repository += before.has_value();
  }
  EXPECT_GT(with_repository, 250);
}

TEST(GitHubPayloads, ExactlyThePushesThatLeaveACommitAndThePullRequestsWithANewHeadBuild) {
  std::map<std::string, int> built;
  for (auto& example : examples()) {
    auto hook = decoded(example);
    if (hook.makes_build()) ++built[hook.pull_request ? example.event + " " + hook.pull_request->action : example.event + " " + hook.ref];
  }
  EXPECT_THAT(built, testing::UnorderedElementsAre(testing::Pair("push refs/tags/simple-tag", 1), testing::Pair("push refs/heads/master", 2),
                                                   testing::Pair("pull_request opened", 4), testing::Pair("pull_request reopened", 2),
                                                   testing::Pair("pull_request synchronize", 1)));
}

TEST(GitHubPayloads, APushHasTheValuesOfItsPayload) {
  auto hook = decoded(examples_of_event("push").front());
  const RepositoryNames names{.full_name = "Codertocat/Hello-World",
                              .clone_url = "https://github.com/Codertocat/Hello-World.git",
                              .git_url = "git://github.com/Codertocat/Hello-World.git",
                              .ssh_url = "git@github.com:Codertocat/Hello-World.git",
                              .html_url = "https://github.com/Codertocat/Hello-World"};
  EXPECT_EQ(hook.repository, names);
  EXPECT_EQ(hook.ref, "refs/tags/simple-tag");
  EXPECT_EQ(hook.before, std::string(40, '0'));
  EXPECT_EQ(hook.sha, "6113728f27ae82c7b1a177c8d03f9e96e0adf246");
  EXPECT_EQ(hook.message, "Adding a .gitignore file");
  EXPECT_EQ(hook.author, "Codertocat <21031067+Codertocat@users.noreply.github.com>");
  EXPECT_EQ(hook.sender, "Codertocat");
}

TEST(GitHubPayloads, APullRequestHasTheValuesOfItsPayload) {
  for (auto& example : examples_of_event("pull_request")) {
    auto hook = decoded(example);
    if (!hook.makes_build()) continue;
    EXPECT_EQ(hook.ref, "refs/pull/2/head");
    EXPECT_EQ(hook.sha, "ec26c3e57ca3a959ca5aad62de7213c562f8c821");
    EXPECT_EQ(hook.pull_request->number, 2);
    EXPECT_EQ(hook.pull_request->head_ref, "changes");
    EXPECT_EQ(hook.pull_request->base_ref, "master");
    EXPECT_EQ(hook.pull_request->title, "Update the README with new information.");
    EXPECT_FALSE(hook.pull_request->fork);
    EXPECT_EQ(hook.author, "Codertocat");
  }
}

TEST(GitHubPayloads, CreatedAndDeletedRefsAndPingsBuildNothing) {
  for (auto& example : examples_of_event("create")) EXPECT_EQ(decoded(example).kind, WebhookKind::create);
  for (auto& example : examples_of_event("delete")) EXPECT_EQ(decoded(example).kind, WebhookKind::remove);
  for (auto& example : examples_of_event("ping")) EXPECT_EQ(decoded(example).kind, WebhookKind::ping);
  int deleting_pushes = 0;
  for (auto& example : examples_of_event("push")) deleting_pushes += decoded(example).kind == WebhookKind::remove;
  EXPECT_EQ(deleting_pushes, 4);
}

TEST(GitHubPayloads, CutAnywhereAPayloadIsRefused) {
  for (auto& [event, step] : {std::pair("push", 1), std::pair("create", 1), std::pair("pull_request", 7)}) {
    auto example = examples_of_event(event).front();
    for (std::size_t size = 0; size < example.payload.size(); size += std::size_t(step)) {
      auto part = std::string_view(example.payload).substr(0, size);
      ASSERT_FALSE(decode_github(event, part)) << event << " cut at " << size;
      if (auto names = github_repository(part)) ASSERT_EQ(*names, *github_repository(example.payload));
    }
  }
}

TEST(GitHubPayloads, ChangedAnywhereAPayloadNeverCrashesNorBreaksAPromise) {
  std::minstd_rand chance(1);
  for (auto event : {"push", "pull_request"}) {
    auto example = examples_of_event(event).front();
    for (int i = 0; i < 5'000; ++i) {
      auto payload = example.payload;
      for (auto n = chance() % 4 + 1; n > 0; --n) payload[chance() % payload.size()] = char(chance());
      auto hook = decode_github(event, payload);
      if (!hook || !hook->makes_build()) continue;
      ASSERT_EQ(hook->sha.size(), 40u);
      ASSERT_TRUE(hook->ref.starts_with("refs/"));
    }
  }
}

// What GitHub's library answers for a body on its standard input.
std::string signed_by_github(const std::string& secret, const std::string& body) {
  auto file = std::filesystem::temp_directory_path() / ("mayfly-signed-" + std::to_string(::getpid()));
  std::ofstream(file, std::ios::binary) << body;
  auto command = "node '" MAYFLY_SOURCE_DIR "/tests/webhooks/sign.mjs' '" + secret + "' < '" + file.string() + "'";
  FILE* pipe = popen(command.c_str(), "r");
  char buffer[128] = {};
  auto n = pipe ? fread(buffer, 1, sizeof buffer, pipe) : 0;
  EXPECT_EQ(pipe ? pclose(pipe) : -1, 0) << command;
  std::filesystem::remove(file);
  return {buffer, n};
}

TEST(GitHubSigning, WhatGitHubsLibrarySignsIsAccepted) {
  const std::string secret = "a secret with \u00fcml\u00e4uts and $(signs)";
  for (auto body : {std::string("Hello, World!"), std::string("{\"a\": \"\u00e9\\n\"}"), examples_of_event("push").front().payload}) {
    auto signature = signed_by_github(secret, body);
    std::string secrets[] = {"another", secret};
    EXPECT_TRUE(verify_github(secrets, body, signature)) << signature;
    EXPECT_FALSE(verify_github(std::span(secrets).first(1), body, signature));
    EXPECT_FALSE(verify_github(secrets, body + " ", signature));
  }
}

}  // namespace
}  // namespace mayfly
