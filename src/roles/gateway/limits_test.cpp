// Who is refused for asking too much, and who never is: the gateway's routes over embedded adapters on virtual time.

#include <gtest/gtest.h>

#include "adapters/memory/bus.h"
#include "adapters/memory/cache.h"
#include "adapters/sealed/key.h"
#include "adapters/sealed/secrets.h"
#include "adapters/sqlite/sqlite.h"
#include "base/digest.h"
#include "base/json.h"
#include "roles/gateway/gateway.h"
#include "roles/logs/log_store.h"
#include "roles/schema.h"
#include "simulation/memory_blobs.h"
#include "support/run.h"
#include "support/seeded_entropy.h"
#include "support/temp_dir.h"
#include "support/virtual_clock.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view webhook_secret = "s3cret";

/// Every commit has the same pipeline.
class OnePipeline final : public Forge {
 public:
  Task<Result<std::string>> resolve(std::string, std::string) override { co_return std::string(40, 'a'); }
  Task<Result<Snapshot>> snapshot(std::string, std::string sha, std::string) override {
    co_return Snapshot{{sha, "m", "a"}, {{".ci.yaml", "version: 1\njobs:\n  one: {run: ok}\n"}}};
  }
  Task<Result<std::optional<std::vector<std::string>>>> changed_paths(std::string, std::string, std::string) override { co_return std::nullopt; }
  Task<Result<std::optional<std::string>>> merge_base(std::string, std::string, std::string) override { co_return std::nullopt; }
  Task<Result<std::vector<std::string>>> tree_hashes(std::string, std::string, std::vector<std::string>) override { co_return std::vector<std::string>{}; }
  Task<Result<void>> deepen(std::string, std::string, std::string, int) override { co_return Result<void>{}; }
  Task<Result<std::string>> mirror(std::string) override { co_return "/"; }
};


/// A body of one piece.
class Whole final : public http::BodyReader {
 public:
  explicit Whole(std::string text) : text_(std::move(text)) {}
  Task<Result<std::size_t>> read(std::span<char> into) override {
    auto size = std::min(into.size(), text_.size() - at_);
    std::copy_n(text_.data() + at_, size, into.data());
    at_ += size;
    co_return size;
  }
  bool at_end() const override { return at_ == text_.size(); }
  std::optional<std::uint64_t> length() const override { return text_.size(); }

 private:
  std::string text_;
  std::size_t at_ = 0;
};

class GatewayLimits : public testing::Test {
 protected:
  GatewayLimits() {
    deliveries.limit_by(limits);
    gateway.add_routes(router);
    token = loop.run(access.create({.name = "ada", .role = Role::owner}))->token;
    other_token = loop.run(access.create({.name = "bob", .role = Role::owner}))->token;
    web = project("web", "acme");
    api = project("api", "acme");
    shop = project("shop", "globex");
  }

  ProjectId project(std::string name, std::string organization) {
    auto made = loop.run(add_project(*db, clock, entropy, {.name = name, .repo_url = "/srv/" + name + ".git", .organization = organization}));
    EXPECT_TRUE(loop.run(secrets->set(made->id, {std::string(webhook_secret_name), std::string(webhook_secret)})));
    return made->id;
  }

  http::Response ask(std::string method, std::string path, std::string with, std::string body = {}, http::Headers headers = {}) {
    auto match = router.match(method, path);
    http::Request request{.method = method, .target = path, .path = path, .headers = std::move(headers), .peer = "127.0.0.1:1"};
    request.params = match->params;
    if (!with.empty()) request.headers.set("Authorization", "Bearer " + with);
    Whole whole(std::move(body));
    return loop.run(router.handle(*match, std::move(request), whole));
  }
  int status(std::string path, std::string with) { return ask("GET", std::move(path), std::move(with)).status; }

  http::Response webhook(int n) {
    char sha[41];
    std::snprintf(sha, sizeof sha, "%040x", n + 1);
    auto body = std::string(R"({"ref":"refs/heads/main","before":"0000000000000000000000000000000000000000","after":")") + sha +
                R"(","created":false,"deleted":false,"repository":{"full_name":"acme/web","clone_url":"/srv/web.git"},"head_commit":{"id":")" + sha +
                R"(","message":"m","author":{"name":"a","email":"a@example.com"}},"pusher":{"name":"a"},"sender":{"login":"a"}})";
    http::Headers headers;
    headers.set("X-GitHub-Event", "push");
    headers.set("X-GitHub-Delivery", std::to_string(n));
    headers.set("Content-Type", "application/json");
    headers.set("X-Hub-Signature-256", "sha256=" + to_hex(hmac_sha256(webhook_secret, body)));
    return ask("POST", "/webhooks/github", "", body, headers);
  }
  std::int64_t count(std::string_view select) { return int_at(loop.run(db->query(statement(select)))->rows.at(0), 0); }

  VirtualClock clock;
  TestLoop loop{clock};
  SeededEntropy entropy{1};
  TempDir dir;
  std::unique_ptr<Database> db = open_sqlite(":memory:", schema(), {.inline_mode = true}).value();
  std::unique_ptr<Bus> bus = make_memory_bus(clock);
  std::unique_ptr<Cache> cache = make_memory_cache(clock);
  std::unique_ptr<Secrets> secrets = make_sealed_secrets(*db, clock, entropy, SealingKey::load_or_make(dir.path() / "key", entropy).value());
  simulation::MemoryBlobs blobs;
  OnePipeline forge;
  RunnerIdentity identity{"key"};
  Builds builds{*db, *bus, *cache, clock, entropy};
  LogStore logs{*db, blobs, clock};
  ArtifactStore artifacts{*db, blobs, clock, entropy};
  Attempts attempts{*db, builds, logs, artifacts, *secrets, forge, *cache, clock, identity, "http://ci"};
  Shells shells{*db, builds, attempts, *cache, clock, entropy, loop.loop()};
  Deliveries deliveries{*db, builds, *bus, forge, *secrets, clock, entropy, loop.loop(), "test"};
  Access access{*db, clock, entropy};
  Metrics metrics;
  WaitReasons why{*cache, clock, entropy};
  RateLimits limits{*cache, clock, {.token = Rate{8, 10s}, .organization = Rate{5, 10s}, .deliveries = Rate{3, 1s}}};
  http::Router router;
  Gateway gateway{{*db, *cache, *secrets, forge, clock, entropy, builds, deliveries, attempts, shells, logs, artifacts, access, metrics, why, limits, "http://ci",
                   []() -> Task<std::vector<Check>> { co_return std::vector<Check>{}; }}};
  std::string token, other_token;
  ProjectId web, api, shop;
};

TEST_F(GatewayLimits, ATokenThatAsksTooMuchIsToldWhenToComeAgain) {
  for (int i = 0; i < 8; ++i) EXPECT_EQ(status("/projects", token), 200);
  auto refused = ask("GET", "/projects", token);
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.headers.get("Retry-After"), "10");
  EXPECT_EQ(refused.headers.get("Content-Type"), "application/problem+json");
  auto problem = *parse_json(std::get<std::string>(refused.body));
  EXPECT_EQ(find_string(problem, "code"), "rate_limited");
  EXPECT_EQ(find_string(problem, "detail"), "too many requests with this token: the limit is 8 at once, then one each 10s");
  EXPECT_EQ(find_string(problem, "hint"), "come again in 10 s");
  EXPECT_EQ(status("/projects", other_token), 200) << "others go on";
  clock.advance(10s);
  EXPECT_EQ(status("/projects", token), 200);
}

TEST_F(GatewayLimits, AnOrganizationIsLimitedOverAllItsProjectsAndTokens) {
  for (int i = 0; i < 5; ++i) EXPECT_EQ(status("/projects/" + (i % 2 ? web.str() : std::string("api")), i % 2 ? token : other_token), 200);
  auto refused = ask("GET", "/projects/" + api.str(), token);
  EXPECT_EQ(refused.status, 429);
  EXPECT_NE(std::get<std::string>(refused.body).find("about this organization"), std::string::npos);
  EXPECT_EQ(status("/projects/" + shop.str(), token), 200) << "another organization";
  EXPECT_EQ(status("/projects", token), 200) << "about none in particular";
}

TEST_F(GatewayLimits, ABuildAndItsJobsCountForTheirOrganization) {
  auto made = ask("POST", "/projects/web/builds", token, "{}");
  ASSERT_EQ(made.status, 201);
  auto build = *parse_json(std::get<std::string>(made.body));
  auto id = *find_string(build, "id");
  auto job = *find_string(build.at("jobs").at(0), "id");
  for (auto& path : {"/builds/" + id, "/jobs/" + job + "/logs", "/builds/" + id + "/artifacts", "/builds/" + id}) EXPECT_LT(status(path, other_token), 429) << path;
  EXPECT_EQ(status("/builds/" + id, other_token), 429);
  EXPECT_EQ(status("/jobs/" + job + "/logs", other_token), 429);
}

TEST_F(GatewayLimits, WhatDoesNotExistIsNotFoundRatherThanLimited) {
  for (int i = 0; i < 8; ++i) EXPECT_EQ(status("/builds/01900000-0000-7000-8000-000000000001", token), 404);
  EXPECT_EQ(status("/builds/01900000-0000-7000-8000-000000000001", token), 429) << "but it counts for the token";
}

TEST_F(GatewayLimits, RunnersAndProbesAreNeverRefused) {
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(status("/healthz", ""), 200);
    EXPECT_NE(ask("POST", "/runner/v1/attempts/01900000-0000-7000-8000-000000000001/heartbeat", "", "{}").status, 429);
  }
}

TEST_F(GatewayLimits, WebhooksOverTheRateAreTakenAndProcessedLater) {
  constexpr int floods = 40;
  for (int i = 0; i < floods; ++i) EXPECT_EQ(webhook(i).status, 202);
  Time done{};
  auto watch = [&]() -> Task<void> {
    constexpr std::string_view count_built = "select count(*) from deliveries where status = 'built'";
    for (auto until = clock.now() + 10min; clock.now() < until; co_await sleep_for(clock, 100ms)) {
      auto built = co_await db->query(statement(count_built));
      if (int_at(built->rows.at(0), 0) == floods) break;
    }
    done = clock.now();
  };
  auto story = [&]() -> Task<void> {
    Scope scope(loop.loop());
    scope.spawn(deliveries.run());
    co_await watch();
    scope.cancel();
    co_await scope.join();
  };
  auto began = clock.now();
  loop.run(story());
  EXPECT_GE(done - began, 36s) << "three at once, then one a second";
  EXPECT_LE(done - began, 60s);
  EXPECT_EQ(count("select count(*) from builds"), floods) << "none dropped, none doubled";
}

}  // namespace
}  // namespace mayfly
