// What a webhook costs before its build is planned: the check and decoding of a delivery, and the snapshot of a commit that was
// just pushed to a local repository of 400 files, beside the same fetch by the git program.

#include <benchmark/benchmark.h>

#include <boost/asio/io_context.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <vector>

#include "adapters/git/git_forge.h"
#include "adapters/git/libgit2.h"
#include "adapters/git/remote.h"
#include "async/scope.h"
#include "base/digest.h"
#include "domain/webhook/github.h"

namespace {

using namespace mayfly;

constexpr int commits = 300;

std::string push_payload() {
  std::string files = "\"src/a/long/path/to/a/file.cpp\"";
  for (int i = 0; i < 100; ++i) files += ",\"src/a/long/path/to/a/file" + std::to_string(i) + ".cpp\"";
  std::string sha(40, 'a');
  return R"({"ref":"refs/heads/main","before":")" + sha + R"(","after":")" + sha + R"(","repository":{"full_name":"acme/web","clone_url":"https://forge.test/acme/web.git"},)" +
         R"("commits":[{"id":")" + sha + R"(","modified":[)" + files + R"(]},{"id":")" + sha + R"(","added":[)" + files + R"(]}],"head_commit":{"id":")" + sha +
         R"(","message":"a change","author":{"name":"Ada","email":"ada@acme.test"}},"sender":{"login":"ada"}})";
}

void verify(benchmark::State& state) {
  auto body = push_payload();
  const std::string secrets[] = {"new", "old"};
  auto signature = "sha256=" + to_hex(hmac_sha256("old", body));
  for (auto _ : state) benchmark::DoNotOptimize(verify_github(secrets, body, signature));
  state.SetBytesProcessed(std::int64_t(state.iterations() * body.size()));
}
BENCHMARK(verify);

void find_repository(benchmark::State& state) {
  auto body = push_payload();
  for (auto _ : state) benchmark::DoNotOptimize(github_repository(body));
}
BENCHMARK(find_repository);

void decode(benchmark::State& state) {
  auto body = push_payload();
  for (auto _ : state) benchmark::DoNotOptimize(decode_github("push", body));
  state.SetBytesProcessed(std::int64_t(state.iterations() * body.size()));
}
BENCHMARK(decode);

// A bare repository with many commits on main, and a place for mirrors.
class World {
 public:
  World() {
    auto pattern = (std::filesystem::temp_directory_path() / "mayfly-bench-XXXXXX").string();
    if (!mkdtemp(pattern.data())) throw std::runtime_error("mkdtemp");
    root_ = pattern;
    shell("git init -q --bare web.git && git init -q work && cd work && git config user.name n && git config user.email e && echo 'version: 1' > .ci.yaml && mkdir src && "
          "for i in $(seq 400); do echo $i > src/$i; done && for i in $(seq " + std::to_string(commits) +
          "); do echo $i > src/1; git add -A; git commit -qm $i; git push -q ../web.git HEAD:main; done 2>/dev/null; git log --format=%H --reverse > ../shas");
    std::ifstream list(root_ / "shas");
    for (std::string sha; list >> sha;) shas_.push_back(sha);
  }
  ~World() { std::filesystem::remove_all(root_); }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  std::string url() const { return (root_ / "web.git").string(); }
  std::filesystem::path mirrors(const std::string& name) const { return root_ / name; }
  const std::vector<std::string>& shas() const { return shas_; }

 private:
  std::filesystem::path root_;
  std::vector<std::string> shas_;

  void shell(const std::string& command) const {
    if (std::system(("cd '" + root_.string() + "' && " + command).c_str()) != 0) throw std::runtime_error(command);
  }
};

World& world() {
  static World it;
  return it;
}

void snapshot_once(boost::asio::io_context& loop, GitForge& forge, const std::string& sha) {
  Scope scope(loop.get_executor());
  auto ask = [&]() -> Task<void> {
    auto got = co_await forge.snapshot(world().url(), sha, "refs/heads/main");
    if (!got) throw std::runtime_error(got.error().message);
  };
  scope.spawn(ask());
  loop.restart();
  loop.run();
}

void snapshot_of_a_new_commit(benchmark::State& state) {
  auto pool = make_thread_offload(2);
  GitForge forge(*pool, world().mirrors("copied"));
  boost::asio::io_context loop;
  std::size_t next = 0;
  snapshot_once(loop, forge, world().shas()[next++]);
  for (auto _ : state) snapshot_once(loop, forge, world().shas()[next++]);
}
BENCHMARK(snapshot_of_a_new_commit)->Iterations(commits - 1)->UseRealTime()->Unit(benchmark::kMillisecond);

void snapshot_of_a_known_commit(benchmark::State& state) {
  auto pool = make_thread_offload(2);
  GitForge forge(*pool, world().mirrors("copied"));
  boost::asio::io_context loop;
  for (auto _ : state) snapshot_once(loop, forge, world().shas()[commits - 1]);
}
BENCHMARK(snapshot_of_a_known_commit)->UseRealTime()->Unit(benchmark::kMillisecond);

void fetch_of_a_new_commit_by_git(benchmark::State& state) {
  git2::use_library();
  RepoUrl url{.text = world().url(), .scheme = "file"};
  GitOptions options;
  StopFlag stop;
  Mirror mirror(world().mirrors("fetched"));
  if (!mirror.create()) throw std::runtime_error("no mirror");
  Remote remote(url, options, stop);
  std::size_t next = 0;
  for (auto _ : state)
    if (auto done = remote.fetch(mirror, world().shas()[next++], ""); !done) throw std::runtime_error(done.error().message);
}
BENCHMARK(fetch_of_a_new_commit_by_git)->Iterations(100)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
