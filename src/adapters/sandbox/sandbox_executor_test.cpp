// What holds for this executor beyond its port's contract (tests/contract): processes, files and accidents.
#include "adapters/sandbox/sandbox_executor.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <sstream>

#include "adapters/sandbox/cgroup.h"
#include "adapters/sandbox/probe.h"
#include "adapters/host_runners/runner_process.h"
#include "adapters/sandbox/tools.h"
#include "async/system_timer.h"
#include "support/run.h"
#include "support/temp_dir.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

// Writes down what it was born with, and waits.
constexpr const char* stand_in_runner = R"(#!/bin/sh
trap 'exit 0' TERM
cat > "$2/token-seen"
env > "$2/environment"
ps -o sid= -p $$ > "$2/session"
ls -l /proc/$$/fd > "$2/descriptors"
readlink /proc/$$/ns/mnt > "$2/mounts"
cat /proc/self/mounts > "$2/mounted"
: > "$2/settled"
sleep 1000 &
wait
)";

std::string read_file(const std::string& path) { return read_whole(path); }

AttemptId attempt_number(int n) {
  auto text = "0193a2f4-0000-7000-8000-" + std::to_string(100000 + getpid() % 900000) + std::to_string(100000 + n);
  return *AttemptId::parse(text);
}

class SandboxExecutorTest : public testing::Test {
 protected:
  SandboxExecutorTest() {
    std::ofstream(runner_) << stand_in_runner;
    std::filesystem::permissions(runner_, std::filesystem::perms::owner_all);
    executor_ = make_executor();
  }
  ~SandboxExecutorTest() override {
    for (auto& status : loop_.run(executor_->list()).value()) {
      (void)loop_.run(executor_->stop(status.attempt, 0s));
      (void)loop_.run(executor_->forget(status.attempt));
    }
  }

  std::unique_ptr<Executor> make_executor() { return make_sandbox_executor(loop_.loop(), *offload_, {.data_dir = data_.path(), .runner_program = runner_, .image_directories = {}, .allowed_networks = {}, .spare_disks = spares_, .log_files = data_.path()}); }
  RunnerSpec make_spec() {
    RunnerSpec spec;
    spec.attempt = attempt_number(next_++);
    spec.boot_token = "t0ken";
    spec.image = "host";
    spec.disk_bytes = 32 << 20;
    return spec;
  }
  std::string directory(AttemptId attempt) { return data_.file("runners/" + attempt.str()); }
  std::string file(AttemptId attempt, const std::string& name) { return read_file(directory(attempt) + "/" + name); }

  bool wait_until(std::function<bool()> seen) {
    auto timer = make_system_timers(loop_.loop())->make_timer();
    auto now = [] { return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()); };
    auto rest = [](Timer& wait, Time at) -> Task<void> { co_await wait.wait_until(at); };
    for (auto until = now() + 10s; !seen(); loop_.run(rest(*timer, now() + 5ms)))
      if (now() > until) return false;
    return true;
  }
  AttemptId start_settled() {
    auto spec = make_spec();
    auto started = loop_.run(executor_->start(spec));
    EXPECT_TRUE(started) << started.error().message;
    EXPECT_TRUE(wait_until([&] { return std::filesystem::exists(directory(spec.attempt) + "/settled"); }));
    return spec.attempt;
  }
  RunnerStatus look(AttemptId attempt) {
    for (auto& status : loop_.run(executor_->list()).value())
      if (status.attempt == attempt) return status;
    return {};
  }

  TempDir data_;
  std::size_t spares_ = 0;
  std::string runner_ = data_.file("stand-in-runner");
  TestLoop loop_;
  std::unique_ptr<Offload> offload_ = make_thread_offload(2);
  std::unique_ptr<Executor> executor_;
  int next_ = 0;
};

TEST_F(SandboxExecutorTest, TheBootTokenIsOnNoDiskAndInNoEnvironment) {
  auto attempt = start_settled();
  EXPECT_EQ(file(attempt, "token-seen"), "t0ken");
  std::filesystem::remove(directory(attempt) + "/token-seen");
  for (auto& entry : std::filesystem::directory_iterator(directory(attempt))) EXPECT_THAT(read_file(entry.path()), Not(HasSubstr("t0ken"))) << entry.path();
  auto process = runner_process_from_json(file(attempt, "process.json"));
  ASSERT_TRUE(process);
  EXPECT_THAT(read_file("/proc/" + std::to_string(process->pid) + "/cmdline"), Not(HasSubstr("t0ken")));
}

TEST_F(SandboxExecutorTest, ARunnerGetsNothingOfTheServersButWhatItNeeds) {
  setenv("MAYFLY_DATABASE_PASSWORD", "hunter2", 1);
  int leak = open("/etc/hostname", O_RDONLY);  // not close-on-exec
  auto attempt = start_settled();
  EXPECT_THAT(file(attempt, "environment"), testing::AllOf(Not(HasSubstr("hunter2")), HasSubstr("PATH=")));
  EXPECT_THAT(file(attempt, "descriptors"), Not(HasSubstr("hostname")));
  auto process = runner_process_from_json(file(attempt, "process.json"));
  ASSERT_TRUE(process);
  EXPECT_EQ(std::stoi(file(attempt, "session")), process->pid) << "a session of its own";
  if (geteuid() == 0) {
    EXPECT_NE(file(attempt, "mounts"), std::filesystem::read_symlink("/proc/self/ns/mnt").string() + "\n");
  }
  struct stat st;
  ASSERT_EQ(stat(directory(attempt).c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0700u);
  close(leak);
  unsetenv("MAYFLY_DATABASE_PASSWORD");
}

TEST_F(SandboxExecutorTest, ARunnerSurvivesTheServersKill9) {
  auto spec = make_spec();
  pid_t server = fork();
  if (server == 0) {
    TestLoop loop;
    auto offload = make_thread_offload(1);
    auto executor = make_sandbox_executor(loop.loop(), *offload, {data_.path(), runner_, {}, {}, spares_});
    if (!loop.run(executor->start(spec))) _exit(1);
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  waitpid(server, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_TRUE(wait_until([&] { return std::filesystem::exists(directory(spec.attempt) + "/settled"); }));
  EXPECT_TRUE(look(spec.attempt).running);
  EXPECT_EQ(loop_.run(executor_->start(spec)).error().code, Errc::conflict);
  std::optional<RunnerStatus> told;
  executor_->on_end([&](RunnerStatus end) { told = std::move(end); });
  ASSERT_TRUE(loop_.run(executor_->stop(spec.attempt, 5s)));
  EXPECT_TRUE(wait_until([&] { return told.has_value(); })) << "an adopted runner's end is told as well";
}

TEST_F(SandboxExecutorTest, AProgramThatCannotBeExecutedLeavesTheAttemptFree) {
  std::filesystem::rename(runner_, runner_ + ".away");
  auto spec = make_spec();
  auto started = loop_.run(executor_->start(spec));
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, Errc::unavailable);
  EXPECT_THAT(started.error().message, HasSubstr("No such file"));
  EXPECT_TRUE(loop_.run(executor_->list())->empty());
  std::filesystem::rename(runner_ + ".away", runner_);
  EXPECT_TRUE(loop_.run(executor_->start(spec)));
}

TEST_F(SandboxExecutorTest, AnAttemptWhoseServerDiedBeforeItsRunnerWasThereIsLost) {
  auto attempt = attempt_number(next_++);
  std::filesystem::create_directories(directory(attempt));
  auto status = look(attempt);
  EXPECT_EQ(status.attempt, attempt);
  EXPECT_FALSE(status.running);
  EXPECT_EQ(status.reason, Reason::runner_lost);
}

TEST_F(SandboxExecutorTest, AnotherProcessOfTheSameNumberIsNotTheRunner) {
  auto attempt = attempt_number(next_++);
  std::filesystem::create_directories(directory(attempt));
  std::string boot = read_file("/proc/sys/kernel/random/boot_id");
  boot.pop_back();
  auto record = [&](std::uint64_t ticks, const std::string& boot_id) {
    EXPECT_TRUE(write_file_atomically(directory(attempt) + "/process.json", to_json(RunnerProcess{getpid(), ticks, boot_id})));
  };
  std::string stat = read_file("/proc/self/stat");
  std::istringstream fields(stat.substr(stat.rfind(')') + 2));
  std::string word;
  for (int i = 3; i <= 22; ++i) fields >> word;
  auto ticks = std::stoull(word);
  record(ticks, boot);
  EXPECT_TRUE(look(attempt).running);
  record(ticks + 1, boot);
  EXPECT_FALSE(look(attempt).running);
  record(ticks, "another-boot");
  EXPECT_FALSE(look(attempt).running);
}

TEST_F(SandboxExecutorTest, ATornLastWordCountsAsNone) {
  auto attempt = start_settled();
  std::ofstream(directory(attempt) + "/ended.json") << "{\"reason\": \"oo";
  std::ofstream(directory(attempt) + "/runner.log") << "something broke\n";
  ASSERT_TRUE(loop_.run(executor_->stop(attempt, 5s)));
  auto status = look(attempt);
  EXPECT_EQ(status.reason, Reason::runner_lost);
  EXPECT_THAT(status.detail, HasSubstr("something broke"));
}

TEST_F(SandboxExecutorTest, ARunnersOwnLogIsKeptBounded) {
  auto attempt = start_settled();
  auto log = directory(attempt) + "/runner.log";
  std::filesystem::resize_file(log, max_runner_log_bytes);
  look(attempt);
  EXPECT_EQ(std::filesystem::file_size(log), std::uintmax_t(max_runner_log_bytes));
  std::filesystem::resize_file(log, max_runner_log_bytes + 1);
  look(attempt);
  EXPECT_EQ(std::filesystem::file_size(log), 0u);
}

TEST_F(SandboxExecutorTest, ARunningOneIsNotForgotten) {
  auto attempt = start_settled();
  auto forgotten = loop_.run(executor_->forget(attempt));
  ASSERT_FALSE(forgotten);
  EXPECT_EQ(forgotten.error().code, Errc::conflict);
  EXPECT_TRUE(look(attempt).running);
}

TEST_F(SandboxExecutorTest, WhatALostRunnerLeftRunningEndsWhenItIsForgotten) {
  if (CgroupMounts::find().unified.empty()) GTEST_SKIP() << "this machine has no writable unified cgroup tree to find them by";
  auto attempt = start_settled();
  auto process = runner_process_from_json(file(attempt, "process.json"));
  auto group = CgroupMounts::find().unified + "/mayfly/" + attempt.str() + "/runner/cgroup.procs";
  kill(process->pid, SIGKILL);
  ASSERT_TRUE(wait_until([&] { return !look(attempt).running; }));
  auto left = std::stoi(read_file(group));
  EXPECT_EQ(kill(left, 0), 0) << "its `sleep`";
  std::ofstream(data_.file(attempt.str() + ".jsonl")) << "{}\n";  // left for another shipper
  ASSERT_TRUE(loop_.run(executor_->forget(attempt)));
  EXPECT_FALSE(std::filesystem::exists(data_.file(attempt.str() + ".jsonl")));
  EXPECT_FALSE(std::filesystem::exists(group));
  EXPECT_THAT(read_file("/proc/" + std::to_string(left) + "/stat"), Not(HasSubstr("(sleep) S")));
}

TEST_F(SandboxExecutorTest, ARunnerFindsItsDiskMountedAlready) {
  if (!probe_machine().loop_devices) GTEST_SKIP() << "disks need root, /dev/loop-control and mkfs.ext4";
  spares_ = 1;
  executor_ = make_executor();
  auto mounted = [this](AttemptId attempt) { return file(attempt, "mounted").find(attempt.str() + "/disk") != std::string::npos; };
  std::optional<AttemptId> with_disk;
  // The spare is made beside; a start that comes sooner goes without.
  ASSERT_TRUE(wait_until([&] {
    auto attempt = start_settled();
    if (mounted(attempt)) with_disk = attempt;
    return with_disk.has_value();
  }));
  EXPECT_THAT(read_file("/proc/self/mounts"), Not(HasSubstr(with_disk->str()))) << "and nobody else sees it";
}

TEST_F(SandboxExecutorTest, WhatIsNoAttemptIsLeftAlone) {
  std::filesystem::create_directories(data_.file("runners/notes"));
  EXPECT_TRUE(loop_.run(executor_->list())->empty());
  EXPECT_TRUE(std::filesystem::exists(data_.file("runners/notes")));
}

}  // namespace
}  // namespace mayfly
