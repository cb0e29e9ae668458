// Artifacts whose bytes never pass the server: the gateway's routes, and a runner and a reader that speak to the store.

#include <gtest/gtest.h>

#include "adapters/memory/bus.h"
#include "adapters/memory/cache.h"
#include "adapters/s3/testing/fake_s3.h"
#include "adapters/sealed/key.h"
#include "adapters/sealed/secrets.h"
#include "adapters/sqlite/sqlite.h"
#include "adapters/system/system_clock.h"
#include "adapters/system/system_entropy.h"
#include "base/json.h"
#include "roles/common/projects.h"
#include "roles/gateway/gateway.h"
#include "roles/logs/log_store.h"
#include "roles/schema.h"
#include "support/run.h"
#include "support/temp_dir.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;

/// Every commit has the same pipeline.
class OneJob final : public Forge {
 public:
  Task<Result<std::string>> resolve(std::string, std::string) override { co_return std::string(40, 'a'); }
  Task<Result<Snapshot>> snapshot(std::string, std::string sha, std::string) override {
    co_return Snapshot{{sha, "m", "a"}, {{".ci.yaml", "version: 1\njobs:\n  one: {run: ok, artifacts: {paths: [out], expire: 2d}}\n"}}};
  }
  Task<Result<std::optional<std::vector<std::string>>>> changed_paths(std::string, std::string, std::string) override { co_return std::nullopt; }
  Task<Result<std::optional<std::string>>> merge_base(std::string, std::string, std::string) override { co_return std::nullopt; }
  Task<Result<std::vector<std::string>>> tree_hashes(std::string, std::string, std::vector<std::string>) override { co_return std::vector<std::string>{}; }
  Task<Result<void>> deepen(std::string, std::string, std::string, int) override { co_return Result<void>{}; }
  Task<Result<std::string>> mirror(std::string) override { co_return "/"; }
};

class Transfers : public testing::Test {
 protected:
  Transfers() {
    gateway.add_routes(router);
    token = loop.run(access.create({.name = "ada", .role = Role::owner}))->token;
    EXPECT_TRUE(loop.run(add_project(*db, clock, entropy, {.name = "web", .repo_url = "/srv/web.git"})));
    auto made = body_of(ask("POST", "/projects/web/builds", token, "{}"));
    build = BuildId::parse(*find_string(made, "id")).value();
    auto job = JobId::parse(*find_string(made.at("jobs").at(0), "id")).value();
    EXPECT_TRUE(loop.run(builds.change(build, Assign{.job = job, .pool = "p", .attempt = attempt})));
    fence = loop.run(builds.get(build)).value()->state.jobs[0].fence;
    auto started = loop.run(attempts.start(attempt, {.boot_token = identity.boot_token(attempt, fence), .runner_id = "r"}));
    EXPECT_TRUE(started) << started.error().message;
    attempt_token = identity.attempt_token(attempt, fence);
  }

  http::Response ask(std::string method, std::string path, std::string with, std::string body = {}, std::int64_t as_fence = 0) {
    auto question = path.find('?');
    http::Request request{.method = method, .target = path, .path = path.substr(0, question), .body = body, .peer = "127.0.0.1:1"};
    if (question != path.npos) request.query = http::parse_query(path.substr(question + 1)).value();
    auto match = router.match(method, request.path);
    request.params = match->params;
    request.headers.set("Authorization", "Bearer " + with);
    request.headers.set("Mayfly-Fence", std::to_string(as_fence));
    Whole whole(std::move(body));
    return loop.run(router.handle(*match, std::move(request), whole));
  }
  http::Response runner(std::string call, std::string body) {
    return ask("POST", "/runner/v1/attempts/" + attempt.str() + "/artifacts/" + call, attempt_token, std::move(body), fence.value);
  }
  static json::value body_of(const http::Response& response) { return parse_json(std::get<std::string>(response.body)).value(); }

  PreparedUpload prepare(std::string_view bytes, std::string path = "out/app") {
    auto answer = runner("prepare", to_json(NewUpload{"artifact", std::move(path), std::int64_t(bytes.size()), to_hex(sha256(bytes))}));
    EXPECT_EQ(answer.status, 200);
    return prepared_upload_from_json(std::get<std::string>(answer.body)).value();
  }
  int put(const PreparedUpload& where, std::string bytes) {
    http::ClientRequest request{.method = "PUT", .url = where.url, .body = std::move(bytes)};
    request.headers.fields = where.headers;
    return loop.run(client.send(std::move(request)))->status;
  }
  http::Response commit(const PreparedUpload& upload) { return runner("commit", to_json(UploadCommit{upload.id})); }

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

  s3::FakeS3 store;
  TestLoop loop;
  SystemClock clock{loop.loop()};
  SystemEntropy entropy;
  http::Client client{loop.loop()};
  TempDir dir;
  std::unique_ptr<Database> db = open_sqlite(":memory:", schema(), {.inline_mode = true}).value();
  std::unique_ptr<Bus> bus = make_memory_bus(clock);
  std::unique_ptr<Cache> cache = make_memory_cache(clock);
  std::unique_ptr<Secrets> secrets = make_sealed_secrets(*db, clock, entropy, SealingKey::load_or_make(dir.path() / "key", entropy).value());
  std::unique_ptr<S3Blobs> blobs = make_s3_blobs(loop.loop(), client, clock, entropy, store.options()).value();
  OneJob forge;
  RunnerIdentity identity{"key"};
  Builds builds{*db, *bus, *cache, clock, entropy};
  LogStore logs{*db, *blobs, clock};
  ArtifactStore artifacts{*db, *blobs, clock, entropy};
  Attempts attempts{*db, builds, logs, artifacts, *secrets, forge, *cache, clock, identity, "http://ci"};
  Shells shells{*db, builds, attempts, *cache, clock, entropy, loop.loop()};
  Deliveries deliveries{*db, builds, *bus, forge, *secrets, clock, entropy, loop.loop(), "test"};
  Access access{*db, clock, entropy};
  Metrics metrics;
  WaitReasons why{*cache, clock, entropy};
  RateLimits limits{*cache, clock, {}};
  http::Router router;
  Gateway gateway{{*db, *cache, *secrets, forge, clock, entropy, builds, deliveries, attempts, shells, logs, artifacts, access, metrics, why, limits, "http://ci",
                   []() -> Task<std::vector<Check>> { co_return std::vector<Check>{}; }}};
  std::string token, attempt_token;
  BuildId build;
  AttemptId attempt = make_id<AttemptId>(clock, entropy);
  Fence fence;
};

TEST_F(Transfers, ARunnerSendsAnArtifactToTheStoreAndAReaderFetchesItThere) {
  std::string bytes(300'000, 'x');
  auto upload = prepare(bytes);
  EXPECT_EQ(put(upload, bytes), 200);
  auto made = commit(upload);
  ASSERT_EQ(made.status, 200);
  EXPECT_EQ(find_string(body_of(made), "id"), upload.id);
  EXPECT_EQ(find_string(body_of(commit(upload)), "id"), upload.id) << "again for who did not hear";

  auto listed = body_of(ask("GET", "/builds/" + build.str() + "/artifacts", token));
  EXPECT_EQ(find_string(listed.at("items").at(0), "path"), "out/app");
  auto answer = ask("GET", "/artifacts/" + upload.id, token);
  ASSERT_EQ(answer.status, 302);
  EXPECT_EQ(answer.headers.get("Cache-Control"), "no-store");
  http::ClientRequest fetch{.url = std::string(*answer.headers.get("Location"))};
  fetch.headers.add("Range", "bytes=10-19");
  auto fetched = loop.run(client.send(std::move(fetch)));
  ASSERT_TRUE(fetched);
  EXPECT_EQ(fetched->status, 206);
  EXPECT_EQ(fetched->body, std::string(10, 'x'));
  auto direct = ask("GET", "/artifacts/" + upload.id + "?direct=no", token);
  EXPECT_EQ(direct.status, 200) << "who cannot reach the store";
}

TEST_F(Transfers, WhatWasNotSentOrIsAnotherIsNoArtifact) {
  auto upload = prepare("hello");
  EXPECT_EQ(commit(upload).status, 400) << "not sent";
  EXPECT_EQ(put(upload, "hellO"), 400) << "other bytes";
  EXPECT_EQ(commit(upload).status, 400);
  EXPECT_TRUE(body_of(ask("GET", "/builds/" + build.str() + "/artifacts", token)).at("items").as_array().empty());
  EXPECT_EQ(put(upload, "hello"), 200);
  EXPECT_EQ(put(upload, "hello"), 412) << "once";
  EXPECT_EQ(commit(upload).status, 200);
}

TEST_F(Transfers, OnlyTheCurrentAttemptPreparesAndCommits) {
  auto upload = prepare("hello");
  EXPECT_EQ(put(upload, "hello"), 200);
  auto path = "/runner/v1/attempts/" + attempt.str() + "/artifacts/";
  auto wanted = to_json(NewUpload{"artifact", "a", 5, to_hex(sha256("hello"))});
  for (auto& [call, body] : {std::pair(std::string("prepare"), wanted), std::pair(std::string("commit"), to_json(UploadCommit{upload.id}))}) {
    EXPECT_EQ(ask("POST", path + call, "other", body, fence.value).status, 401) << call;
    EXPECT_EQ(ask("POST", path + call, attempt_token, body, fence.value + 1).status, 401) << call;
  }
  ASSERT_TRUE(loop.run(builds.change(build, CancelBuild{})));
  EXPECT_EQ(runner("prepare", wanted).status, 409) << "it is over";
  EXPECT_EQ(commit(upload).status, 409);
  EXPECT_TRUE(body_of(ask("GET", "/builds/" + build.str() + "/artifacts", token)).at("items").as_array().empty());
}

TEST_F(Transfers, WhatMakesNoSenseIsRefused) {
  EXPECT_EQ(runner("prepare", "{}").status, 400);
  EXPECT_EQ(runner("prepare", to_json(NewUpload{"artifact", "../a", 5, to_hex(sha256(""))})).status, 400);
  EXPECT_EQ(runner("prepare", to_json(NewUpload{"artifact", "a", max_artifact_bytes + 1, to_hex(sha256(""))})).status, 413);
  EXPECT_EQ(runner("commit", R"({"id":"x"})").status, 400);
  EXPECT_EQ(runner("commit", to_json(UploadCommit{attempt.str()})).status, 404);
}

}  // namespace
}  // namespace mayfly
