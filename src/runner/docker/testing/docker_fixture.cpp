#include "runner/docker/testing/docker_fixture.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "domain/logs/frame.h"

namespace mayfly {
namespace {

constexpr int looks = 6000;   // of 5 ms each, for anything to become true

AttemptId fresh_attempt() {
  std::array<std::uint8_t, 10> random;
  if (getrandom(random.data(), random.size(), 0) != ssize_t(random.size())) throw std::runtime_error("no random bytes");
  return AttemptId{uuid_v7(std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()), random)};
}

}  // namespace

ContainerJob::ContainerJob(TestLoop& loop, std::unique_ptr<Sandbox> sandbox, int control, std::string log_file)
    : loop_(&loop), sandbox_(std::move(sandbox)), control_(control), log_file_(std::move(log_file)) {}

ContainerJob::~ContainerJob() = default;

void ContainerJob::run(const std::string& script) {
  auto line = to_line(ToInit(InitJob{.steps = {{.name = "script", .run = script, .shell = "sh"}}}));
  if (write(control_.get(), line.data(), line.size()) != ssize_t(line.size())) throw std::runtime_error("init takes no job");
}

std::string ContainerJob::output() const {
  std::ifstream in(log_file_, std::ios::binary);
  std::ostringstream bytes;
  bytes << in.rdbuf();
  auto whole = bytes.str();
  std::string text;
  for (std::string_view rest = whole; !rest.empty();) {
    auto got = decode_frame(rest);
    if (!got || got->size == 0) break;
    text += got->frame.text;
    rest.remove_prefix(got->size);
  }
  return text;
}

bool ContainerJob::wait_for(const std::string& text) const {
  for (int i = 0; i < looks; ++i, usleep(5000))
    if (output().find(text) != std::string::npos) return true;
  return false;
}

ContainerResult ContainerJob::finish() {
  ContainerResult result;
  std::string words;
  char buffer[4096];
  for (ssize_t n; (n = read(control_.get(), buffer, sizeof buffer)) > 0;) words.append(buffer, std::size_t(n));
  std::istringstream lines(words);
  for (std::string line; std::getline(lines, line);)
    if (auto message = from_init_from(line); message && std::holds_alternative<InitDone>(*message)) result.done = std::get<InitDone>(*message);
  auto ended = loop_->run(sandbox_->wait());
  if (ended) result.exit_code = ended->exit_code, result.detail = ended->detail;
  else result.error = ended.error().message;
  result.output = output();
  result.out_of_memory = sandbox_->out_of_memory();
  return result;
}

DockerTest::DockerTest() { std::signal(SIGPIPE, SIG_IGN); }

void DockerTest::SetUp() {
  auto* where = std::getenv("MAYFLY_TEST_DOCKER");
  if (!where) GTEST_SKIP() << "no Docker engine: scripts/servers up docker, then eval \"$(scripts/servers env)\"";
  place_ = {.socket = *docker::socket_path(where), .pool = "unit-tests", .home = data_.path()};
  engine_ = std::make_unique<docker::Engine>(loop_.loop(), place_.socket);
}

void DockerTest::TearDown() {
  if (engine_) EXPECT_TRUE(containers().empty()) << "something is left on the engine";
}

std::vector<docker::ListedContainer> DockerTest::containers() {
  auto all = loop_.run(engine_->list({"mayfly.dev/home=" + place_.home}));
  return all.value_or(std::vector<docker::ListedContainer>{});
}

bool DockerTest::has_runtime(const std::string& name) {
  auto facts = loop_.run(engine_->facts());
  return facts && std::ranges::find(facts->runtimes, name) != facts->runtimes.end();
}

SandboxSpec DockerTest::make_spec(const std::string& image) {
  SandboxSpec spec;
  spec.attempt = fresh_attempt();
  spec.fence = Fence{3};
  spec.image = image;
  spec.network = false;
  spec.memory_bytes = 256 << 20;
  spec.pids = 64;
  spec.isolation = "runc";
  spec.attempt_dir = data_.file("runners/" + spec.attempt.str());
  spec.cache_dir = data_.file("sandbox");
  spec.init_path = MAYFLY_STATIC_INIT;
  std::filesystem::create_directories(spec.attempt_dir);
  std::filesystem::permissions(spec.attempt_dir, std::filesystem::perms::owner_all);
  return spec;
}

Result<ContainerJob> DockerTest::try_start(SandboxSpec spec) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) throw std::runtime_error("no socket");
  auto file = spec.attempt_dir + "/log";
  UniqueFd ours(pair[0]), theirs(pair[1]), log(open(file.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600));
  spec.control_fd = theirs.get();
  spec.log_fd = log.get();
  auto sandbox = loop_.run(launch_in_docker_with(loop_.loop(), spec, place_, weaken_));
  if (!sandbox) return std::unexpected(sandbox.error());
  return ContainerJob(loop_, *std::move(sandbox), ours.release(), file);
}

ContainerJob DockerTest::start(SandboxSpec spec, const std::string& script) {
  auto job = try_start(std::move(spec));
  if (!job) throw std::runtime_error(job.error().message);
  job->run(script);
  return *std::move(job);
}

}  // namespace mayfly
