#include "runner/sandbox/testing/sandbox_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/random.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <stdexcept>
#include <utility>

#include "adapters/sandbox/tools.h"
#include "adapters/sandbox/unique_fd.h"

namespace mayfly {
namespace {

std::string read_all(int fd) {
  std::string text;
  char buffer[65536];
  for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;) text.append(buffer, std::size_t(n));
  return text;
}

}  // namespace

AttemptId fresh_attempt() {
  std::array<std::uint8_t, 10> random;
  if (getrandom(random.data(), random.size(), 0) != ssize_t(random.size())) throw std::runtime_error("no random bytes");
  return AttemptId{uuid_v7(std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()), random)};
}

RunningJob::RunningJob(TestLoop& loop, std::unique_ptr<Sandbox> sandbox, int log_fd)
    : loop_(loop), sandbox_(std::move(sandbox)), log_fd_(log_fd) {}

RunningJob::~RunningJob() {
  sandbox_.reset();
  if (log_fd_ >= 0) close(log_fd_);
}

RunningJob::RunningJob(RunningJob&& other) noexcept
    : loop_(other.loop_), sandbox_(std::move(other.sandbox_)), log_fd_(std::exchange(other.log_fd_, -1)) {}

std::string RunningJob::read_line() {
  std::string line;
  for (char c; read(log_fd_, &c, 1) == 1;) {
    line += c;
    if (c == '\n') break;
  }
  return line;
}

JobResult RunningJob::finish() {
  JobResult result;
  result.output = read_all(log_fd_);
  auto ended = loop_.run(sandbox_->wait());
  if (!ended) throw std::runtime_error(ended.error().message);
  result.exit_code = ended->exit_code;
  result.detail = ended->detail;
  result.out_of_memory = sandbox_->out_of_memory();
  result.disk_full = sandbox_->disk_full();
  return result;
}

std::string runsc_for_tests() {
  auto* named = std::getenv("MAYFLY_TEST_RUNSC");
  return find_program(named && *named ? named : "runsc");
}

SandboxTest::SandboxTest() { std::signal(SIGPIPE, SIG_IGN); }

SandboxSpec SandboxTest::make_spec() {
  SandboxSpec spec;
  spec.attempt = fresh_attempt();
  spec.network = false;
  spec.memory_bytes = 256 << 20;
  spec.disk_bytes = 64 << 20;
  spec.pids = 64;
  spec.isolation = isolation_;
  spec.runsc = runsc_for_tests();
  spec.attempt_dir = data_.file("runners/" + spec.attempt.str());
  spec.init_path = MAYFLY_TEST_INIT;
  std::filesystem::create_directories(spec.attempt_dir);
  std::filesystem::permissions(spec.attempt_dir, std::filesystem::perms::owner_all);
  return spec;
}

Result<RunningJob> SandboxTest::try_start(SandboxSpec spec, const std::string& script, Defences defences) {
  int control[2], log[2];
  if (pipe2(control, O_CLOEXEC) != 0 || pipe2(log, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
  UniqueFd script_writer(control[1]), log_reader(log[0]);
  spec.control_fd = control[0];
  spec.log_fd = log[1];
  auto sandbox = loop_.run(launch_sandbox_with(loop_.loop(), spec, defences));
  close(control[0]);
  close(log[1]);
  if (!sandbox) return std::unexpected(sandbox.error());
  TRY(loop_.run((*sandbox)->network_ready()));
  // A sandbox that did not start takes nothing; finish() says why.
  bool taken = write(script_writer.get(), script.data(), script.size()) == ssize_t(script.size());
  if (!taken && errno != EPIPE) throw std::runtime_error("cannot hand over the script");
  return RunningJob(loop_, *std::move(sandbox), log_reader.release());
}

RunningJob SandboxTest::start(SandboxSpec spec, const std::string& script, Defences defences) {
  auto job = try_start(std::move(spec), script, defences);
  if (!job) throw std::runtime_error(job.error().message);
  return *std::move(job);
}

}  // namespace mayfly
