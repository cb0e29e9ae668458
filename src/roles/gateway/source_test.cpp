// Source over the wire, and pods that prove who they are: the gateway's own routes, a mirror of a real repository, and git as anybody has it.
#include <gmock/gmock.h>

#include <fstream>
#include <thread>

#include "adapters/files/blobs.h"
#include "adapters/git/git_forge.h"
#include "adapters/memory/bus.h"
#include "adapters/memory/cache.h"
#include "adapters/sealed/key.h"
#include "adapters/sealed/secrets.h"
#include "adapters/sqlite/sqlite.h"
#include "adapters/system/system_clock.h"
#include "adapters/system/system_entropy.h"
#include "base/json.h"
#include "domain/access/testing/workload_signer.h"
#include "net/server.h"
#include "net/test_server.h"
#include "roles/common/projects.h"
#include "roles/gateway/gateway.h"
#include "roles/logs/log_store.h"
#include "roles/runners/token_issuers.h"
#include "roles/schema.h"
#include "support/git_repository.h"
#include "support/run.h"
#include "support/temp_dir.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

constexpr std::string_view pipeline = "version: 1\njobs:\n  one: {run: ok, checkout: {depth: 2}}\n";

class Source : public testing::Test {
 protected:
  Source() {
    gateway.add_routes(router);
    repository.push_file(".ci.yaml", pipeline, "first");
    head = repository.push_file("file", "content\n", "second");
    other = repository.git("checkout -q -b secret && echo hidden > hidden && git add hidden && git commit -q -m hidden && git rev-parse HEAD && git push -q origin secret && git checkout -q main");
    other = other.substr(0, 40);
    EXPECT_TRUE(loop.run(add_project(*db, clock, entropy, {.name = "web", .repo_url = repository.bare().string()})));
    token = loop.run(access.create({.name = "ada", .role = Role::owner}))->token;
    while_serving([&] {
      http::testing_support::RawPeer peer(address);
      peer.send("POST /projects/web/builds HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + "\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
      auto answer = peer.receive_all();
      made = answer.substr(answer.find("\r\n\r\n") + 4);
    });
    auto value = parse_json(made).value();
    build = BuildId::parse(*find_string(value, "id")).value();
    auto job = JobId::parse(*find_string(value.at("jobs").at(0), "id")).value();
    EXPECT_TRUE(loop.run(builds.change(build, Assign{.job = job, .pool = "p", .attempt = attempt})));
    fence = loop.run(builds.get(build)).value()->state.jobs[0].fence;
  }

  void start() { ASSERT_TRUE(loop.run(attempts.start(attempt, {.boot_token = identity.boot_token(attempt, fence), .runner_id = "r"}))); }

  /// Serves while `work` runs on another thread.
  template <class F>
  void while_serving(F work) {
    std::atomic<bool> done = false, listening = false;
    std::thread worker([&] {
      listening.wait(false);
      work();
      done = true;
    });
    auto serve = [&listening](Source& self, std::atomic<bool>& done) -> Task<void> {
      // A server that was stopped stays so; the next one has the same address.
      http::Server server(self.loop.loop(), self.router);
      EXPECT_TRUE(server.listen(self.address));
      listening = true;
      listening.notify_all();
      Scope scope(self.loop.loop());
      scope.spawn(server.serve());
      while (!done) co_await sleep_for(self.clock, 2ms);
      scope.cancel();
      co_await scope.join();
    };
    auto run = [&serve](Source& self, std::atomic<bool>& done) -> Task<bool> {
      co_await serve(self, done);
      co_return true;
    };
    loop.run(run(*this, done));
    worker.join();
  }
  std::string url(AttemptId of) const { return "http://" + address + "/runner/v1/attempts/" + of.str() + "/source.git"; }

  /// What git says, both what it prints and what it complains of, and " ok" when it succeeded.
  std::string git(std::string arguments) { return git_as(identity.attempt_token(attempt, fence), fence.value, std::move(arguments)); }
  std::string git_as(std::string with, std::int64_t as, std::string arguments) {
    std::string said;
    while_serving([&] {
      said = shell(dir.path(), "test -d clone || git init -q clone; cd clone; (git -c credential.helper= -c http.extraHeader='Authorization: Bearer " + with +
                                   "' -c http.extraHeader='Mayfly-Fence: " + std::to_string(as) + "' " + arguments + " && echo ok) 2>&1 || true");
    });
    return said;
  }
  std::string ask(std::string request) {
    std::string answer;
    while_serving([&] {
      http::testing_support::RawPeer peer(address);
      peer.send(request);
      answer = peer.receive_all();
    });
    return answer;
  }
  std::string with_token() { return "Host: x\r\nConnection: close\r\nAuthorization: Bearer " + identity.attempt_token(attempt, fence) + "\r\nMayfly-Fence: " + std::to_string(fence.value) + "\r\n"; }

  TempDir dir;
  GitRepository repository{dir.path() / "web.git"};
  TestLoop loop;
  SystemClock clock{loop.loop()};
  SystemEntropy entropy;
  std::unique_ptr<Offload> threads = make_thread_offload(2);
  std::unique_ptr<Database> db = open_sqlite(":memory:", schema(), {.inline_mode = true}).value();
  std::unique_ptr<Bus> bus = make_memory_bus(clock);
  std::unique_ptr<Cache> cache = make_memory_cache(clock);
  std::unique_ptr<Secrets> secrets = make_sealed_secrets(*db, clock, entropy, SealingKey::load_or_make(dir.path() / "key", entropy).value());
  std::unique_ptr<Blobs> blobs = open_file_blobs(dir.file("blobs"), *threads).value();
  GitForge forge{*threads, dir.path() / "mirrors", {.served_at_once = 2}};
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
  std::string address = http::testing_support::TestServer(router).address();   // free a moment ago
  std::string token, made, head, other;
  BuildId build;
  AttemptId attempt = make_id<AttemptId>(clock, entropy);
  Fence fence;
};

TEST_F(Source, ARunnerFetchesItsCommitWithTheHistoryItAskedFor) {
  start();
  EXPECT_THAT(git("fetch -q --depth=2 " + url(attempt) + " refs/mayfly/" + head), HasSubstr("ok"));
  EXPECT_EQ(shell(dir.path() / "clone", "git checkout -q FETCH_HEAD && cat file && git rev-list --count HEAD && git fsck --connectivity-only 2>/dev/null; git status --porcelain"), "content\n2");
}

TEST_F(Source, AGatewayThatHasNotSeenTheCommitBringsItHereFirst) {
  start();
  std::filesystem::remove_all(dir.path() / "mirrors");
  EXPECT_THAT(git("fetch -q --depth=2 " + url(attempt) + " refs/mayfly/" + head), HasSubstr("ok"));
}

TEST_F(Source, NothingButTheCommitIsShownOrGiven) {
  start();
  ASSERT_TRUE(loop.run(forge.snapshot(repository.bare().string(), other, "")));   // another build's; in the same mirror
  for (std::string version : {"0", "2"}) {
    EXPECT_EQ(git("-c protocol.version=" + version + " ls-remote " + url(attempt)), head + "\trefs/mayfly/" + head + "\nok");
    EXPECT_THAT(git("-c protocol.version=" + version + " fetch -q --depth=1 " + url(attempt) + " " + other), testing::Not(testing::EndsWith("ok")));
    EXPECT_THAT(git("-c protocol.version=" + version + " fetch -q --depth=1 " + url(attempt) + " refs/mayfly/" + other), testing::Not(testing::EndsWith("ok")));
  }
  // By hand, whatever the client thinks: a want of that commit, in both versions.
  std::string want = "want " + other + " multi_ack_detailed no-done side-band-64k ofs-delta\n", packet = "00" + std::string(to_hex(std::array<std::uint8_t, 1>{std::uint8_t(want.size() + 4)})) + want + "00000009done\n";
  for (std::string extra : {"", "Git-Protocol: version=2\r\n"}) {
    auto answer = ask("POST /runner/v1/attempts/" + attempt.str() + "/source.git/git-upload-pack HTTP/1.1\r\n" + with_token() + extra + "Content-Length: " + std::to_string(packet.size()) + "\r\n\r\n" + packet);
    EXPECT_THAT(answer, HasSubstr("not our ref " + other));
    EXPECT_THAT(answer, testing::Not(HasSubstr("PACK")));
  }
}

TEST_F(Source, OnlyTheAttemptsOwnRunnerIsGivenAnything) {
  start();
  auto own = identity.attempt_token(attempt, fence);
  auto elsewhere = make_id<AttemptId>(clock, entropy);
  EXPECT_THAT(git_as("mfr_wrong", fence.value, "ls-remote " + url(attempt)), testing::Not(HasSubstr(head)));
  EXPECT_THAT(git_as(own, fence.value + 1, "ls-remote " + url(attempt)), testing::Not(HasSubstr(head)));
  EXPECT_THAT(git_as(own, fence.value, "ls-remote " + url(elsewhere)), testing::Not(HasSubstr(head)));
  EXPECT_THAT(git("ls-remote " + url(attempt)), HasSubstr(head));
  ASSERT_TRUE(loop.run(attempts.finish(attempt, {own, fence}, {.outcome = Outcome::success})));
  EXPECT_THAT(git("ls-remote " + url(attempt)), HasSubstr("error: 409"));
}

TEST_F(Source, NothingCanBePushed) {
  start();
  EXPECT_THAT(ask("GET /runner/v1/attempts/" + attempt.str() + "/source.git/info/refs?service=git-receive-pack HTTP/1.1\r\n" + with_token() + "\r\n"), HasSubstr("HTTP/1.1 403"));
  EXPECT_THAT(ask("POST /runner/v1/attempts/" + attempt.str() + "/source.git/git-receive-pack HTTP/1.1\r\n" + with_token() + "Content-Length: 0\r\n\r\n"), HasSubstr("HTTP/1.1 404"));
}

TEST_F(Source, RequestsHaveALimitPackedOrNot) {
  start();
  auto post = "POST /runner/v1/attempts/" + attempt.str() + "/source.git/git-upload-pack HTTP/1.1\r\n" + with_token();
  EXPECT_THAT(ask(post + "Content-Length: 1048577\r\n\r\n"), HasSubstr("HTTP/1.1 413"));
  std::string bomb = shell(dir.path(), "head -c 2000000 /dev/zero | gzip -9 | base64 -w0");
  auto bytes = from_base64(bomb).value();
  EXPECT_THAT(ask(post + "Content-Encoding: gzip\r\nContent-Length: " + std::to_string(bytes.size()) + "\r\n\r\n" + bytes), HasSubstr("HTTP/1.1 413"));
  // What git sends when it has much to say.
  auto request = from_base64(shell(dir.path(), "(printf '0032want " + head + "\\n0000'; printf '0009done\\n') | gzip | base64 -w0")).value();
  EXPECT_THAT(ask(post + "Content-Encoding: gzip\r\nContent-Length: " + std::to_string(request.size()) + "\r\n\r\n" + request), HasSubstr("PACK"));
}

TEST_F(Source, SoManyAtOnceAndNoMoreAndAClientThatGoesTakesItsGitWithIt) {
  shell(repository.work(), "head -c 20000000 /dev/urandom > big && git add big && git commit -q -m big && git push -q origin main");
  auto large = repository.git("rev-parse HEAD").substr(0, 40);
  start();
  ASSERT_TRUE(loop.run(forge.snapshot(repository.bare().string(), large, "")));
  auto want = [&](const std::string& sha) { return "0032want " + sha + "\n00000009done\n"; };
  auto story = [](GitForge& forge, std::string url, std::string sha, std::string request) -> Task<int> {
    auto open = [&] { return forge.serve(url, sha, request); };
    auto first = co_await open();
    auto second = co_await open();
    EXPECT_TRUE(first && second);
    auto third = co_await open();
    EXPECT_EQ(third.error().code, Errc::rate_limited);
    EXPECT_EQ(shell("/", "pgrep -cP " + std::to_string(::getpid()) + " git"), "2");
    first->reset();
    EXPECT_EQ(shell("/", "pgrep -cP " + std::to_string(::getpid()) + " git"), "1");
    EXPECT_TRUE(co_await open());
    second->reset();
    co_return 0;
  };
  loop.run(story(forge, repository.bare().string(), large, want(large)));
  EXPECT_EQ(shell("/", "pgrep -cP " + std::to_string(::getpid()) + " git || true"), "0");
}

/// A pool of a cluster, whose pods have tokens of the cluster's.
class PodIdentity : public Source {
 protected:
  PodIdentity() {
    TokenIssuer issuer{.issuer = "https://cluster", .jwks = jwks_of(signer.jwk()), .name_space = "ci", .service_account = "runner"};
    EXPECT_TRUE(loop.run(db->transact({store_token_issuer("p", issuer, clock.now())})));
  }

  std::string pod() const { return "mayfly-" + attempt.str() + "-x7k2p"; }
  std::string claims(std::string pod_name, std::chrono::seconds left = 600s) const {
    return json::serialize(json::object{{"iss", "https://cluster"}, {"aud", json::array{"mayfly"}}, {"exp", to_micros(clock.now() + left) / 1'000'000},
                                        {"kubernetes.io", json::object{{"namespace", "ci"}, {"serviceaccount", json::object{{"name", "runner"}}}, {"pod", json::object{{"name", std::move(pod_name)}, {"uid", "u1"}}}}}});
  }
  Result<StartAnswer> ask_to_start(std::string token_of_pod, std::string runner) {
    return loop.run(attempts.start(attempt, {.identity = std::move(token_of_pod), .runner_id = std::move(runner)}));
  }

  WorkloadSigner signer{"k1", false};
};

TEST_F(PodIdentity, APodProvesItIsTheAttemptsAndASecondOneIsTooLate) {
  auto answer = ask_to_start(signer.token(claims(pod())), "n1/" + pod() + "/u1");
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->fence, fence);
  EXPECT_TRUE(ask_to_start(signer.token(claims(pod())), "n1/" + pod() + "/u1")) << "asked again, answered again";
  auto second = "mayfly-" + attempt.str() + "-zzzzz";
  EXPECT_EQ(ask_to_start(signer.token(claims(second)), "n2/" + second + "/u1").error().code, Errc::conflict);
}

TEST_F(PodIdentity, EverythingElseHasOneAnswer) {
  auto refused = [&](std::string token_of_pod, std::string runner) {
    auto got = ask_to_start(std::move(token_of_pod), std::move(runner));
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, Errc::unauthenticated);
    EXPECT_EQ(got.error().message, "this is not the identity of the attempt's pod");
  };
  auto runner = "n1/" + pod() + "/u1";
  auto other_pod = "mayfly-" + make_id<AttemptId>(clock, entropy).str();
  refused(signer.token(claims(other_pod)), runner);
  refused(signer.token(claims(pod())), "n1/" + pod() + "/u2");
  refused(signer.token(claims(pod())), "r");
  refused(WorkloadSigner("k1", false).token(claims(pod())), runner);
  refused("nonsense", runner);
  refused(signer.token(claims(pod(), -60s)), runner);
  EXPECT_TRUE(loop.run(db->transact({store_token_issuer("p", {.issuer = "https://cluster", .jwks = "broken", .name_space = "ci", .service_account = "runner"}, clock.now())})));
  refused(signer.token(claims(pod())), runner);
}

TEST_F(PodIdentity, APoolThatVouchesForNobodyTakesNoTokens) {
  EXPECT_TRUE(loop.run(db->transact({statement("delete from pod_identities")})));
  EXPECT_EQ(ask_to_start(signer.token(claims(pod())), "n1/" + pod() + "/u1").error().code, Errc::unauthenticated);
}

}  // namespace
}  // namespace mayfly
