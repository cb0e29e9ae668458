#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/digest.h"
#include "cli/client/endpoint.h"
#include "cli/test_world.h"
#include "support/temp_dir.h"

namespace mayfly::cli {
namespace {

constexpr auto build_id = "0193aaaa-0000-7000-8000-000000000001";
constexpr auto project_id = "0193aaaa-0000-7000-8000-0000000000aa";
constexpr auto job_id = "0193aaaa-0000-7000-8000-0000000000bb";

std::string build_json(std::string_view status, std::int64_t sequence, std::string_view job_status, std::int64_t number = 7) {
  json::object job{{"id", job_id},       {"name", "test"},
                   {"status", job_status}, {"needs", json::array{}},
                   {"attempt", 1},         {"start_time", "2026-01-01T00:00:01Z"},
                   {"steps", json::array{json::object{{"name", "make test"}, {"status", job_status}, {"log_start", 6}, {"log_end", 28}}}}};
  if (job_status == "failed" || job_status == "succeeded") job["end_time"] = "2026-01-01T00:00:05Z";
  if (job_status == "failed") {
    job["reason"] = "exit_code";
    job["detail"] = "step 'make test' ended with exit code 2";
  }
  return json::serialize(json::object{{"id", build_id},
                                      {"number", number},
                                      {"project_id", project_id},
                                      {"status", status},
                                      {"sequence", sequence},
                                      {"trigger_type", "push"},
                                      {"ref", "refs/heads/main"},
                                      {"commit_sha", "1234567890abcdef"},
                                      {"message", "Say hello"},
                                      {"url", "http://ci.test/b/1"},
                                      {"created_at", "2026-01-01T00:00:00Z"},
                                      {"start_time", "2026-01-01T00:00:00Z"},
                                      {"end_time", status == "running" ? json::value(nullptr) : json::value("2026-01-01T00:00:05Z")},
                                      {"jobs", json::array{job}}});
}

std::string page(std::vector<std::string> items, std::string_view next = {}) {
  std::string out = "{\"items\":[";
  for (auto& item : items) out += (out.back() == '[' ? "" : ",") + item;
  return out + "],\"next\":" + (next.empty() ? "null" : "\"" + std::string(next) + "\"") + "}";
}

const std::string project_json = R"({"id":")" + std::string(project_id) + R"(","name":"web","organization":"acme","repo_url":"/srv/web.git"})";

class Commands : public testing::Test {
 protected:
  int run(std::vector<std::string> arguments) {
    if (url_.empty()) url_ = server.start();
    world.variables["MAYFLY_SERVER"] = url_;
    return world.run(std::move(arguments));
  }
  /// The build goes through `states`, one each time it is asked for; the last one stays.
  void moving_build(std::vector<std::string> states) {
    auto left = std::make_shared<std::vector<std::string>>(std::move(states));
    server.handle("GET", "/builds/{id}", [left](http::Request) -> Task<http::Response> {
      auto now = left->front();
      if (left->size() > 1) left->erase(left->begin());
      co_return http::json_response(200, now);
    });
    server.answer("GET", "/projects/{id}", 200, project_json);
  }

  TestWorld world;
  FakeServer server;

 private:
  std::string url_;
};

TEST_F(Commands, TheTokenComesFromItsFileThenTheEnvironmentThenTheDataDirectory) {
  TempDir dir;
  std::ofstream(dir.file("given")) << "mfy_given\n";
  std::ofstream(dir.file("token")) << "mfy_left\n";
  server.answer("GET", "/projects", 200, page({}));
  world.variables["MAYFLY_DATA"] = dir.path().string();
  EXPECT_EQ(run({"project", "list"}), done);
  world.variables["MAYFLY_TOKEN"] = "mfy_environment";
  EXPECT_EQ(run({"project", "list"}), done);
  EXPECT_EQ(run({"project", "list", "--token-file", dir.file("given")}), done);
  auto requests = server.requests();
  ASSERT_EQ(requests.size(), 3u);
  EXPECT_EQ(requests[0].headers.get("Authorization"), "Bearer mfy_left");
  EXPECT_EQ(requests[1].headers.get("Authorization"), "Bearer mfy_environment");
  EXPECT_EQ(requests[2].headers.get("Authorization"), "Bearer mfy_given");
  EXPECT_EQ(run({"project", "list", "--token-file", dir.file("absent")}), used_wrongly);
}

TEST_F(Commands, ATokenFileMayBeAsLongAsATokenAndNoLonger) {
  TempDir dir;
  server.answer("GET", "/projects", 200, page({}));
  std::ofstream(dir.file("longest")) << std::string(max_token_bytes, 't');
  std::ofstream(dir.file("longer")) << std::string(max_token_bytes + 1, 't');
  EXPECT_EQ(run({"project", "list", "--token-file", dir.file("longest")}), done);
  EXPECT_EQ(run({"project", "list", "--token-file", dir.file("longer")}), used_wrongly);
  EXPECT_TRUE(world.err().find("longer than a token can be") != std::string::npos) << world.err();
}

TEST_F(Commands, TheLocalOwnersTokenIsNotShownToAServerElsewhere) {
  TempDir dir;
  std::ofstream(dir.file("token")) << "mfy_left\n";
  Environment environment = [&](std::string_view name) -> std::optional<std::string> {
    return name == "MAYFLY_DATA" ? std::optional(dir.path().string()) : std::nullopt;
  };
  EXPECT_EQ(find_endpoint({.server = "https://ci.example.org"}, environment)->token, "");
  EXPECT_EQ(find_endpoint({.server = "http://localhost:9"}, environment)->token, "mfy_left");
  EXPECT_EQ(find_endpoint({.server = "unix:/run/mayfly.sock"}, environment)->token, "mfy_left");
  EXPECT_EQ(find_endpoint({}, environment)->url, "http://127.0.0.1:8080");
  EXPECT_FALSE(find_endpoint({.server = "ftp://x"}, environment));
}

TEST_F(Commands, NobodyThereIsExitCodeThree) {
  world.variables["MAYFLY_SERVER"] = "http://127.0.0.1:1";
  EXPECT_EQ(world.run({"builds"}), unreachable);
  EXPECT_TRUE(world.err().find("127.0.0.1:1") != std::string::npos) << world.err();
}

TEST_F(Commands, AProblemIsToldWithItsHint) {
  server.handle("GET", "/builds", [](http::Request) -> Task<http::Response> {
    co_return http::problem(Error{Errc::not_found, "there is no project 'wob'", "mayfly project list shows them"});
  });
  EXPECT_EQ(run({"builds", "wob"}), used_wrongly);
  EXPECT_EQ(world.err(), "mayfly: there is no project 'wob'\n  mayfly project list shows them\n");
}

TEST_F(Commands, AServerThatFailsIsNotTheUsersFault) {
  server.answer("GET", "/builds", 500, "{}");
  EXPECT_EQ(run({"builds"}), said_no);
}

TEST_F(Commands, ProjectAddSendsWhatWasGiven) {
  server.answer("POST", "/projects", 201, project_json);
  world.input = "hook-secret\n";
  EXPECT_EQ(run({"project", "add", "web", "--repo", "https://github.com/acme/web.git", "--organization", "acme", "--webhook-secret-file", "-"}), done);
  auto body = parse_json(server.requests().at(0).body).value();
  EXPECT_EQ(find_string(body, "name"), "web");
  EXPECT_EQ(find_string(body, "repo_url"), "https://github.com/acme/web.git");
  EXPECT_EQ(find_string(body, "webhook_secret"), "hook-secret");
  EXPECT_EQ(find(body, "weight"), nullptr);
  EXPECT_EQ(world.out().find("hook-secret"), std::string::npos);
}

TEST_F(Commands, SecretsAreReadFromStandardInputAndNeverShown) {
  server.handle("PUT", "/projects/{id}/secrets/{name}", [](http::Request) -> Task<http::Response> { co_return http::empty_response(); });
  world.input = "s3cr3t\nline two\n";
  EXPECT_EQ(run({"secret", "set", "web", "NPM_TOKEN"}), done);
  auto request = server.requests().at(0);
  EXPECT_EQ(request.path, "/projects/web/secrets/NPM_TOKEN");
  EXPECT_EQ(request.body, "s3cr3t\nline two");
  EXPECT_EQ(request.headers.get("Content-Type"), "application/octet-stream");
  EXPECT_EQ((world.out() + world.err()).find("s3cr3t"), std::string::npos);
  world.input = "\n";
  EXPECT_EQ(run({"secret", "set", "web", "NPM_TOKEN"}), used_wrongly);
  world.input = std::string(64 * 1024, 'x');
  EXPECT_EQ(run({"secret", "set", "web", "BIG"}), done);
  world.input += 'x';
  EXPECT_EQ(run({"secret", "set", "web", "BIG"}), used_wrongly);
}

TEST_F(Commands, ANewTokenStandsAloneOnStandardOutput) {
  server.answer("POST", "/tokens", 201, R"({"id":"1","name":"x","token":"mfy_abc"})");
  EXPECT_EQ(run({"token", "create", "x", "--expires", "1h"}), done);
  EXPECT_EQ(world.out(), "mfy_abc\n");
  EXPECT_EQ(find_string(parse_json(server.requests().at(0).body).value(), "expires_in"), "3600s");
}

TEST_F(Commands, ABuildIsFoundByItsNumberAcrossPages) {
  server.handle("GET", "/builds", [](http::Request request) -> Task<http::Response> {
    bool second = request.query.get("cursor") == "c2";
    co_return http::json_response(200, second ? page({build_json("succeeded", 3, "succeeded", 2), build_json("succeeded", 3, "succeeded", 1)})
                                              : page({build_json("succeeded", 3, "succeeded", 4), build_json("succeeded", 3, "succeeded", 3)}, "c2"));
  });
  moving_build({build_json("succeeded", 3, "succeeded", 2)});
  EXPECT_EQ(run({"build", "web#2"}), done);
  EXPECT_TRUE(world.out().starts_with("✔ web#2  succeeded  main 1234567  Say hello  5.0s\n")) << world.out();
  EXPECT_EQ(run({"build", "web#9"}), used_wrongly);
  EXPECT_TRUE(world.err().find("has no build #9") != std::string::npos) << world.err();
  EXPECT_EQ(run({"build", "web#x"}), used_wrongly);
}

TEST_F(Commands, AProjectsNameMeansItsLatestBuild) {
  server.answer("GET", "/builds", 200, page({build_json("failed", 3, "failed", 4)}));
  moving_build({build_json("failed", 3, "failed", 4)});
  EXPECT_EQ(run({"build", "web", "--json"}), done);
  EXPECT_EQ(find_int(parse_json(world.out()).value(), "number"), 4);
  EXPECT_EQ(server.requests().at(0).query.get("limit"), "1");
}

TEST_F(Commands, BuildsStopsAtItsLimit) {
  server.handle("GET", "/builds", [](http::Request) -> Task<http::Response> {
    co_return http::json_response(200, page({build_json("succeeded", 1, "succeeded", 4), build_json("succeeded", 1, "succeeded", 3)}, "more"));
  });
  EXPECT_EQ(run({"builds", "--limit", "4", "--json"}), done);
  EXPECT_EQ(find(parse_json(world.out()).value(), "items")->as_array().size(), 4u);
  EXPECT_EQ(server.requests().size(), 2u);
}

/// Events that say "look again", `n` of them, and then the end.
http::Handler events(int n) {
  return [n](http::Request) -> Task<http::Response> {
    co_return http::sse_response([n](http::SseWriter& out) -> Task<void> {
      for (int i = 0; i < n; ++i)
        if (!co_await out.send({std::to_string(i), "job", R"({"sequence":1})"})) co_return;
    });
  };
}

TEST_F(Commands, WatchingPrintsALineAChangeAndTheLogOfWhatFailed) {
  moving_build({build_json("running", 1, "queued"), build_json("running", 1, "queued"), build_json("running", 1, "queued"),
                build_json("running", 2, "running"), build_json("failed", 3, "failed")});
  server.handle("GET", "/builds/{id}/events", events(1));
  server.handle("GET", "/jobs/{id}/logs", [](http::Request request) -> Task<http::Response> {
    EXPECT_EQ(request.headers.get("Range"), "bytes=6-27");
    co_return http::text_response(206, "compiling\nassert 1 == 2\n");
  });
  EXPECT_EQ(run({"build", build_id, "--watch"}), said_no);
  EXPECT_EQ(world.out().substr(world.out().find('\n') + 1), R"(test: queued
test: running ([1/1] make test)
test: failed in 4.0s (step 'make test' ended with exit code 2)
── test › make test  step 'make test' ended with exit code 2
   compiling
   assert 1 == 2
✘ web#7 failed in 5.0s: 1 failed
  http://ci.test/b/1
)");
}

TEST_F(Commands, WatchingOutlivesAConnectionThatBreaks) {
  moving_build({build_json("running", 1, "running"), build_json("running", 1, "running"), build_json("running", 1, "running"),
                build_json("succeeded", 2, "succeeded")});
  server.handle("GET", "/builds/{id}/events", events(0));  // every connection ends before the build does
  EXPECT_EQ(run({"build", build_id, "--watch", "--json"}), done);
  EXPECT_EQ(find_string(parse_json(world.out()).value(), "status"), "succeeded");
}

TEST_F(Commands, OnATerminalTheTreeIsDrawnAgain) {
  world.console.is_terminal = true;
  moving_build({build_json("running", 1, "running"), build_json("running", 1, "running"), build_json("running", 1, "running"),
                build_json("succeeded", 2, "succeeded")});
  server.handle("GET", "/builds/{id}/events", events(1));
  EXPECT_EQ(run({"build", build_id, "-w"}), done);
  EXPECT_TRUE(world.out().find("\x1b[2A\x1b[J") != std::string::npos) << "the second frame replaces the first";
  EXPECT_TRUE(world.out().find("1 succeeded") != std::string::npos);
}

TEST_F(Commands, TriggerFollowEndsWithTheBuildsVerdict) {
  server.answer("POST", "/projects/{id}/builds", 201, build_json("queued", 1, "queued"));
  moving_build({build_json("succeeded", 2, "succeeded")});
  server.handle("GET", "/builds/{id}/events", events(0));
  EXPECT_EQ(run({"trigger", "web", "--ref", "main", "--input", "a=b", "--follow"}), done);
  auto body = parse_json(server.requests().at(0).body).value();
  EXPECT_EQ(find_string(body, "ref"), "main");
  EXPECT_EQ(find_string(body, "inputs.a"), "b");
  EXPECT_EQ(find(body, "sha"), nullptr);
}

/// A log whose connection breaks after each of its pieces; the bytes are asked for by offset.
struct BreakingLog {
  std::string text = "first line\nsecond\rline\nlast";
  std::vector<std::string> asked;

  Task<http::Response> operator()(http::Request request) {
    auto from = std::stoul(std::string(request.query.get("from").value_or("0")));
    asked.push_back(std::to_string(from));
    auto rest = text.substr(from);
    auto piece = rest.substr(0, 9);
    auto end = from + piece.size();
    bool last = end == text.size();
    co_return http::sse_response([piece, end, last](http::SseWriter& out) -> Task<void> {
      bool plain = piece.find('\r') == std::string::npos;
      (void)co_await out.send({std::to_string(end), plain ? "" : "base64", plain ? piece : to_base64(piece)});
      if (last) (void)co_await out.send({"", "end", "{}"});
    });
  }
};

TEST_F(Commands, AFollowedLogIsByteExactOverBrokenConnections) {
  moving_build({build_json("succeeded", 2, "succeeded")});
  server.handle("GET", "/builds/{id}/events", events(0));
  auto log = std::make_shared<BreakingLog>();
  server.handle("GET", "/jobs/{id}/logs", [log](http::Request request) { return (*log)(std::move(request)); });
  EXPECT_EQ(run({"logs", build_id, "test", "-f"}), done);
  EXPECT_EQ(world.out(), log->text);
  EXPECT_EQ(log->asked, (std::vector<std::string>{"0", "9", "18"}));
}

TEST_F(Commands, AllLogsAtOnceNameTheirJobs) {
  moving_build({build_json("succeeded", 2, "succeeded")});
  server.handle("GET", "/jobs/{id}/logs", [](http::Request) -> Task<http::Response> { co_return http::text_response(200, "one\ntwo"); });
  EXPECT_EQ(run({"logs", build_id}), done);
  EXPECT_EQ(world.out(), "test | one\ntest | two\n");
  EXPECT_EQ(run({"logs", build_id, "test"}), done);
  EXPECT_EQ(world.out(), "one\ntwo");
  EXPECT_EQ(run({"logs", build_id, "tset"}), used_wrongly);
  EXPECT_TRUE(world.err().find("its jobs: test") != std::string::npos) << world.err();
}

TEST_F(Commands, CancelAndRetryNameTheBuild) {
  moving_build({build_json("running", 2, "running")});
  server.answer("POST", "/builds/{id}/cancel", 202, "{}");
  server.answer("POST", "/builds/{id}/retry", 202, R"({"build":"0193aaaa-0000-7000-8000-000000000002"})");
  EXPECT_EQ(run({"cancel", build_id}), done);
  EXPECT_EQ(run({"retry", build_id, "test"}), done);
  EXPECT_TRUE(world.out().find("0193aaaa-0000-7000-8000-000000000002") != std::string::npos);
  auto retried = server.requests().back();
  EXPECT_EQ(retried.body, R"({"jobs":["test"]})");
}

class Downloads : public Commands {
 protected:
  void artifact(std::string bytes, std::string sha256) {
    moving_build({build_json("succeeded", 2, "succeeded")});
    auto item = json::serialize(json::object{{"id", "0193aaaa-0000-7000-8000-0000000000cc"}, {"job", "test"}, {"path", "out/app.bin"}, {"size", bytes.size()}, {"sha256", sha256}});
    server.answer("GET", "/builds/{id}/artifacts", 200, page({item}));
    // The connection breaks after 1000 bytes, every time.
    server.handle("GET", "/artifacts/{id}", [bytes](http::Request request) -> Task<http::Response> {
      auto range = std::string(request.headers.get("Range").value_or("bytes=0-"));
      auto from = std::stoul(range.substr(6));
      http::StreamBody body{.write = [rest = bytes.substr(from)](http::BodyWriter& out) -> Task<void> { (void)co_await out.write(rest.substr(0, 1000)); },
                            .length = bytes.size() - from};
      co_return http::stream_response(request.headers.has("Range") ? 206 : 200, "application/octet-stream", std::move(body));
    });
  }
  static std::string read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static std::string some_bytes() {
    std::string out;
    for (int i = 0; i < 2500; ++i) out += char(i * 7);
    return out;
  }

  TempDir dir;
};

TEST_F(Downloads, ResumeUntilWholeAndCheckTheDigest) {
  artifact(some_bytes(), to_hex(sha256(some_bytes())));
  auto output = dir.file("app.bin");
  EXPECT_EQ(run({"artifacts", "get", build_id, "out/app.bin", "-o", output}), done) << world.err();
  EXPECT_EQ(read(output), some_bytes());
  std::vector<std::string> ranges;
  for (auto& request : server.requests())
    if (request.path.starts_with("/artifacts/")) ranges.emplace_back(request.headers.get("Range").value_or("none"));
  EXPECT_EQ(ranges, (std::vector<std::string>{"none", "bytes=1000-", "bytes=2000-"}));
}

/// A server that keeps its blobs elsewhere, and knows who may fetch them there.
class ApartDownloads : public Downloads {
 protected:
  void artifact_at(std::string url) {
    moving_build({build_json("succeeded", 2, "succeeded")});
    auto item = json::serialize(json::object{{"id", "0193aaaa-0000-7000-8000-0000000000cc"}, {"job", "test"}, {"path", "out/app.bin"}, {"size", 2500},
                                             {"sha256", to_hex(sha256(some_bytes()))}});
    server.answer("GET", "/builds/{id}/artifacts", 200, page({item}));
    server.handle("GET", "/artifacts/{id}", [url](http::Request request) -> Task<http::Response> {
      if (request.query.get("direct") == "no") co_return http::text_response(200, some_bytes(), "application/octet-stream");
      co_return http::redirect(302, url);
    });
  }
  FakeServer store;
};

TEST_F(ApartDownloads, ComeFromTheStoreItselfWithoutTheToken) {
  store.handle("GET", "/bucket/k", [](http::Request) -> Task<http::Response> { co_return http::text_response(200, some_bytes(), "application/octet-stream"); });
  artifact_at(store.start() + "/bucket/k?signature=s");
  auto output = dir.file("app.bin");
  EXPECT_EQ(run({"artifacts", "get", build_id, "out/app.bin", "-o", output}), done) << world.err();
  EXPECT_EQ(read(output), some_bytes());
  ASSERT_EQ(store.requests().size(), 1u);
  EXPECT_EQ(store.requests()[0].query.get("signature"), "s");
  EXPECT_FALSE(store.requests()[0].headers.has("Authorization"));
}

TEST_F(ApartDownloads, ComeThroughTheServerWhereTheStoreIsOutOfReach) {
  artifact_at("http://127.0.0.1:1/bucket/k");
  auto output = dir.file("app.bin");
  EXPECT_EQ(run({"artifacts", "get", build_id, "out/app.bin", "-o", output}), done) << world.err();
  EXPECT_EQ(read(output), some_bytes());
}

TEST_F(Downloads, GoOnWhereAnEarlierTryStopped) {
  auto digest = to_hex(sha256(some_bytes()));
  artifact(some_bytes(), digest);
  auto output = dir.file("app.bin");
  std::ofstream(output + "." + digest.substr(0, 12) + ".part", std::ios::binary) << some_bytes().substr(0, 2000);
  EXPECT_EQ(run({"artifacts", "get", build_id, "out/app.bin", "-o", output}), done) << world.err();
  EXPECT_EQ(read(output), some_bytes());
  EXPECT_EQ(server.requests().back().headers.get("Range"), "bytes=2000-");
}

TEST_F(Downloads, WrongBytesLeaveNothingBehind) {
  artifact(some_bytes(), to_hex(sha256("something else")));
  EXPECT_EQ(run({"artifacts", "get", build_id, "out/app.bin", "-o", dir.file("app.bin")}), said_no);
  EXPECT_TRUE(world.err().find("have the digest") != std::string::npos) << world.err();
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST_F(Downloads, AnUnknownPathIsTheUsersMistake) {
  artifact(some_bytes(), to_hex(sha256(some_bytes())));
  EXPECT_EQ(run({"artifacts", "get", build_id, "nope", "-o", dir.file("x")}), used_wrongly);
}

const std::string pool_json = R"({"name":"big","state":"active","executor":"docker","labels":["arm"],"isolations":["runc","gvisor"],)"
    R"("capacity":{"cpu_milli":8000,"memory_bytes":17179869184,"slots":8},"used":{"cpu_milli":1500,"memory_bytes":1073741824,"slots":1},)"
    R"("assigned":0,"running":1,"waiting":4,"longest_wait_seconds":2,"warm":2,"keeper":"host/1","silent_since":null,"drained_by":null,"drained_at":null})";

TEST_F(Commands, PoolsAreATable) {
  server.answer("GET", "/pools", 200,
                page({pool_json, R"({"name":"gone","state":"silent","executor":"sandbox","labels":[],"isolations":["sandbox"],"capacity":{"cpu_milli":2000,"memory_bytes":1024,"slots":2},"used":null,"assigned":1,"running":0,"waiting":null,"warm":0,"keeper":null})"}));
  EXPECT_EQ(run({"pool", "list"}), 0);
  EXPECT_EQ(world.out(),
            "NAME  STATE   EXECUTOR  SLOTS  CPU    MEMORY            RUNNING  STARTING  WAITING  WARM  ISOLATIONS   LABELS  KEEPER\n"
            "big   active  docker    1/8    1.5/8  1.0 GiB/16.0 GiB  1        0         4        2     runc,gvisor  arm     host/1\n"
            "gone  silent  sandbox   ?/2    ?/2    ?/1.0 KiB         0        1         ?        0     sandbox      -       -\n");
}

TEST_F(Commands, PoolsForMachinesAreWhatTheServerSaid) {
  server.answer("GET", "/pools", 200, page({pool_json}));
  EXPECT_EQ(run({"pool", "list", "--json"}), 0);
  EXPECT_EQ(world.out(), "{\"items\":[" + pool_json + "]}\n");
}

TEST_F(Commands, DrainingSaysWhatIsLeft) {
  server.answer("POST", "/pools/{name}/drain", 200, pool_json);
  EXPECT_EQ(run({"pool", "drain", "big"}), 0);
  EXPECT_EQ(world.out(), "Pool big starts nothing new; 1 job may end\n");
}

TEST_F(Commands, ResumingAPoolThatIsNotThereIsUsedWrongly) {
  server.handle("POST", "/pools/{name}/resume", [](http::Request) -> Task<http::Response> {
    co_return http::problem(Error{Errc::not_found, "there is no pool 'other'", "mayfly pool list shows which there are"});
  });
  EXPECT_EQ(run({"pool", "resume", "other"}), 2);
  EXPECT_NE(world.err().find("there is no pool 'other'"), std::string::npos) << world.err();
}

}  // namespace
}  // namespace mayfly::cli
