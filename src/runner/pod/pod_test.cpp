// A pod without Kubernetes: mayfly-runner and mayfly-init as two processes that share directories, started, killed and started
// again by the test, in front of a server of the test's.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "adapters/host_runners/runner_files.h"
#include "adapters/system/system_entropy.h"
#include "runner/pod/runner.h"
#include "runner/sidecar/testing/fake_server.h"
#include "runner/sidecar/testing/one_step_job.h"
#include "support/git_repository.h"
#include "support/run.h"
#include "support/temp_dir.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

template <class F>
bool comes_true(F holds, std::chrono::seconds within = 30s) {
  for (auto until = std::chrono::steady_clock::now() + within; std::chrono::steady_clock::now() < until; ::usleep(2000))
    if (holds()) return true;
  return false;
}

class Pod : public testing::Test {
 protected:
  Pod() {
    for (auto* name : {"bin", "meeting", "state", "workspace"}) fs::create_directories(at(name));
    std::ofstream(at("token")) << "a.b.c\n";
    fs::permissions(directory_.path(), fs::perms(0755));
    EXPECT_EQ(::system((std::string(MAYFLY_INIT) + " --install " + at("bin").string()).c_str()), 0);
    TestLoop loop;
    SystemClock clock(loop.loop());
    SystemEntropy entropy;
    file_.spec.attempt = make_id<AttemptId>(clock, entropy);
    file_.spec.image = "debian:12";
    file_.spec.timeout = 10min;
  }
  ~Pod() override {
    for (pid_t pid : {runner_, init_})
      if (pid > 0) {
        ::kill(pid, SIGKILL);
        ::waitpid(pid, nullptr, 0);
      }
  }

  fs::path at(const std::string& name) const { return directory_.path() / name; }

  pid_t spawn(std::vector<std::string> arguments, std::vector<std::string> environment, const char* errors) {
    std::vector<char*> argv, envp;
    for (auto& a : arguments) argv.push_back(a.data());
    for (auto& e : environment) envp.push_back(e.data());
    argv.push_back(nullptr);
    envp.push_back(nullptr);
    auto path = at(errors).string();
    pid_t pid = ::fork();
    if (pid != 0) return pid;
    ::dup2(::open(path.c_str(), O_CREAT | O_WRONLY | O_APPEND, 0666), 2);
    ::execve(argv[0], argv.data(), envp.data());
    ::_exit(127);
  }

  std::vector<std::string> runner_command() const {
    return {MAYFLY_RUNNER, "--pod", "--meeting", at("meeting"), "--state", at("state"), "--workspace", at("workspace"), "--last-word", at("last-word")};
  }
  std::vector<std::string> runner_environment(FakeServer& server) {
    file_.spec.api_url = server.url();
    return {"MAYFLY_RUNNER_FILE=" + to_json(file_), "MAYFLY_IDENTITY_FILE=" + at("token").string(), "MAYFLY_NODE=node-1", "MAYFLY_POD=mayfly-1", "MAYFLY_POD_UID=u1",
            "PATH=/usr/local/bin:/usr/bin:/bin"};
  }
  std::vector<std::string> init_command() const { return {at("bin/mayfly-init"), "--dir", at("meeting"), "--workspace", at("workspace")}; }

  void start_runner(FakeServer& server) { runner_ = spawn(runner_command(), runner_environment(server), "runner.log"); }
  void start_init() { init_ = spawn(init_command(), {"PATH=/usr/bin:/bin"}, "init.log"); }

  int end_of(pid_t& pid) {
    int status = 0;
    if (!comes_true([&] { return ::waitpid(pid, &status, WNOHANG) == pid; }, 60s)) {
      ADD_FAILURE() << "it does not end; the runner said: " << text_of(at("runner.log"));
      return -1;
    }
    pid = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  bool runs(pid_t pid) { return ::waitpid(pid, nullptr, WNOHANG) == 0; }

  void kill_runner() {
    ::kill(runner_, SIGKILL);
    EXPECT_EQ(end_of(runner_), 128 + SIGKILL);
  }
  /// As the kubelet does it when the job's container has ended.
  int end_runner() {
    ::kill(runner_, SIGTERM);
    return end_of(runner_);
  }

  std::optional<FinishReport> report_of(FakeServer& server) {
    EXPECT_TRUE(comes_true([&] { return server.finished().has_value(); }, 60s)) << text_of(at("runner.log"));
    EXPECT_THAT(server.breaches(), IsEmpty());
    return server.finished();
  }

  TempDir directory_;
  RunnerFile file_;
  pid_t runner_ = -1, init_ = -1;
};

TEST_F(Pod, RunsAJobAndEndsInOrder) {
  FakeServer server(job_of("echo hello; pwd"));
  start_runner(server);
  start_init();
  EXPECT_EQ(end_of(init_), 0);
  auto report = server.finished();
  ASSERT_TRUE(report) << "init outlasts the last report";
  EXPECT_EQ(report->outcome, Outcome::success) << report->detail;
  EXPECT_EQ(server.log(), "hello\n" + at("workspace").string() + "\n");
  EXPECT_EQ(server.identity(), "a.b.c");
  EXPECT_EQ(server.boot_token(), "");
  EXPECT_EQ(server.runner(), "node-1/mayfly-1/u1");
  EXPECT_EQ(ended_file_from_json(text_of(at("last-word"))), (EndedFile{Reason::exit_code, ""}));
  EXPECT_TRUE(runs(runner_)) << "or the kubelet would start it again";
  EXPECT_EQ(end_runner(), 0);
  EXPECT_TRUE(fs::is_empty(at("meeting")));
}

TEST_F(Pod, TheWorkspaceIsFilledWhileTheImageIsPulled) {
  GitRepository repository(at("repository.git"));
  auto job = job_of("cat file; git status --porcelain; git log -1 --format=%s");
  job.source.sha = repository.push_file("file", "content\n", "first");
  job.source.repository = repository.bare();
  job.source.ref = "refs/heads/main";
  job.source.checkout = {};
  FakeServer server(job);
  start_runner(server);
  EXPECT_TRUE(comes_true([&] { return fs::exists(at("workspace/file")); }));
  EXPECT_FALSE(fs::exists(at("state/handed-over")));
  start_init();
  auto report = report_of(server);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome, Outcome::success) << report->detail;
  EXPECT_EQ(server.log(), "content\nfirst\n");
}

TEST_F(Pod, InitMayBeFirst) {
  FakeServer server(job_of("echo hello"));
  start_init();
  ::usleep(100'000);
  start_runner(server);
  EXPECT_EQ(report_of(server)->outcome, Outcome::success);
}

TEST_F(Pod, ASecondPodRunsNothing) {
  auto job = job_of("echo no");
  job.source.sha = std::string(40, 'a');
  job.source.repository = at("repository.git");
  job.source.checkout = {};
  FakeServer server(job);
  server.refuse_start();
  start_init();
  start_runner(server);
  EXPECT_EQ(end_of(init_), 3);
  EXPECT_FALSE(server.finished());
  EXPECT_TRUE(fs::is_empty(at("workspace")));
  EXPECT_FALSE(fs::exists(at("last-word")));
  EXPECT_TRUE(runs(runner_));
  EXPECT_EQ(end_runner(), 0);
  EXPECT_FALSE(server.finished());
}

TEST_F(Pod, ASecondPodRunsNothingWhenItsImageTookItsTime) {
  FakeServer server(job_of("echo no"));
  server.refuse_start();
  start_runner(server);
  ASSERT_TRUE(comes_true([&] { return text_of(at("runner.log")).contains("was not given to this runner"); }, 60s));
  start_init();
  EXPECT_EQ(end_of(init_), 3);
  EXPECT_TRUE(runs(runner_));
  EXPECT_EQ(end_runner(), 0);
}

TEST_F(Pod, ARunnerThatIsKilledTakesTheJobAndItsSuccessorSaysSo) {
  auto marker = "sleep 4246." + std::to_string(::getpid());
  FakeServer server(job_of("echo begun; " + marker));
  start_runner(server);
  start_init();
  server.wait_for_log("begun\n");
  kill_runner();
  EXPECT_EQ(end_of(init_), 1);
  EXPECT_TRUE(comes_true([&] { return ::system(("pgrep -xf '" + marker + "' >/dev/null").c_str()) != 0; })) << "nothing of the job survives";
  start_runner(server);
  auto report = report_of(server);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome, Outcome::infrastructure);
  EXPECT_EQ(report->reason, Reason::runner_lost);
  EXPECT_THAT(report->detail, HasSubstr("was started again"));
  EXPECT_THAT(server.log(), testing::StartsWith("begun\nmayfly: the runner ended while the job ran"));
  EXPECT_TRUE(comes_true([&] { return fs::exists(at("state/ended.json")); }));
  EXPECT_EQ(ended_file_from_json(text_of(at("last-word"))), (EndedFile{Reason::exit_code, ""})) << "the server has its word";
  EXPECT_EQ(end_runner(), 0);
}

TEST_F(Pod, TheRestOfTheLogComesFromTheSuccessor) {
  FakeServer server(job_of("echo begun; while ! [ -e go ]; do sleep 0.01; done; echo more; touch said; sleep 60"));
  start_runner(server);
  start_init();
  server.wait_for_log("begun\n");
  server.down();
  std::ofstream(at("workspace/go")).close();
  ASSERT_TRUE(comes_true([&] { return fs::exists(at("workspace/said")) && text_of(at("state/log")).find("more") != std::string::npos; }));
  kill_runner();
  EXPECT_EQ(end_of(init_), 1);
  server.up();
  start_runner(server);
  ASSERT_TRUE(report_of(server));
  EXPECT_THAT(server.log(), testing::StartsWith("begun\nmore\nmayfly: "));
}

TEST_F(Pod, ARunnerThatIsKilledBeforeTheJobBeganIsFollowedByOneThatRunsIt) {
  GitRepository repository(at("repository.git"));
  auto job = job_of("ls; cat file");
  job.source.sha = repository.push_file("file", "content\n", "first");
  job.source.repository = repository.bare();
  job.source.checkout = {};
  FakeServer server(job);
  start_runner(server);
  ASSERT_TRUE(comes_true([&] { return fs::exists(at("workspace/file")); }));
  std::ofstream(at("workspace/half-written")) << "x";
  kill_runner();
  start_init();
  start_runner(server);
  auto report = report_of(server);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome, Outcome::success) << report->detail;
  EXPECT_EQ(server.log(), "file\ncontent\n");
}

TEST_F(Pod, ARunnerStartedAfterItsEndDoesNothing) {
  FakeServer server(job_of("echo once"));
  start_runner(server);
  start_init();
  EXPECT_EQ(end_of(init_), 0);
  EXPECT_EQ(end_runner(), 0);
  start_runner(server);
  start_init();
  EXPECT_EQ(end_of(init_), 3);
  EXPECT_EQ(end_runner(), 0);
  EXPECT_EQ(server.finishes(), 1);
  EXPECT_EQ(server.log(), "once\n");
}

TEST_F(Pod, WhenInitIsKilledThePoolHasTheFirstWordOnWhy) {
  FakeServer server(job_of("echo begun; sleep 60"));
  start_runner(server);
  start_init();
  server.wait_for_log("begun\n");
  ::kill(init_, SIGKILL);
  end_of(init_);
  server.fence();   // the keeper has seen OOMKilled, and ended the attempt
  EXPECT_TRUE(comes_true([&] { return fs::exists(at("last-word")); }));
  EXPECT_FALSE(server.finished());
}

TEST_F(Pod, WhenInitIsKilledAndNobodyKnowsWhyTheRunnerSaysSoMuch) {
  FakeServer server(job_of("echo begun; sleep 60"));
  start_runner(server);
  start_init();
  server.wait_for_log("begun\n");
  auto begin = std::chrono::steady_clock::now();
  ::kill(init_, SIGKILL);
  auto report = report_of(server);
  ASSERT_TRUE(report);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, keeper_patience);
  EXPECT_EQ(report->reason, Reason::runner_lost);
  EXPECT_THAT(report->detail, HasSubstr("the job's container is gone"));
  EXPECT_THAT(server.log(), testing::StartsWith("begun\n"));
}

TEST_F(Pod, APodThatIsDeletedLetsTheJobSayGoodbyeAndReportsAnEviction) {
  FakeServer server(job_of("trap 'echo bye; exit 1' TERM; echo ready; while :; do sleep 0.05; done"));
  start_runner(server);
  start_init();
  server.wait_for_log("ready\n");
  ::kill(init_, SIGTERM);   // containers first, native sidecars when those have ended
  auto report = report_of(server);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome, Outcome::infrastructure);
  EXPECT_EQ(report->reason, Reason::evicted);
  EXPECT_THAT(server.log(), HasSubstr("bye\n"));
  EXPECT_EQ(end_of(init_), 0);
  EXPECT_EQ(end_runner(), 0);
}

TEST_F(Pod, ARunnerThatIsToldToGoReportsAnEvictionInTime) {
  FakeServer server(job_of("trap '' TERM; echo ready; while :; do sleep 0.05; done"));
  start_runner(server);
  start_init();
  server.wait_for_log("ready\n");
  auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(end_runner(), 0);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 25s) << "a pod's grace is 30 s";
  auto report = report_of(server);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->reason, Reason::evicted);
  EXPECT_EQ(end_of(init_), 0);
}

TEST_F(Pod, ACancelOfAUserIsNoEviction) {
  FakeServer server(job_of("echo ready; sleep 60"));
  start_runner(server);
  start_init();
  server.wait_for_log("ready\n");
  server.cancel(1000);
  auto report = report_of(server);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome, Outcome::canceled);
  EXPECT_EQ(end_of(init_), 0);
}

TEST_F(Pod, WithoutAnIdentityTheRunnerTriesAgainLater) {
  FakeServer server(job_of("echo no"));
  fs::remove(at("token"));
  start_runner(server);
  EXPECT_EQ(end_of(runner_), 1);
  EXPECT_THAT(text_of(at("runner.log")), HasSubstr("cannot read the pod's identity at"));
  std::ofstream(at("token")) << std::string(max_identity_bytes + 1, 'x');
  start_runner(server);
  EXPECT_EQ(end_of(runner_), 1);
  std::ofstream(at("token")) << std::string(max_identity_bytes, 'x');
  start_init();
  start_runner(server);
  EXPECT_EQ(report_of(server)->outcome, Outcome::success);
}

TEST_F(Pod, SaysWhatIsWrongWithItsArguments) {
  EXPECT_EQ(WEXITSTATUS(::system(MAYFLY_RUNNER " --pod --meeting 2>/dev/null")), 2);
  EXPECT_EQ(WEXITSTATUS(::system(MAYFLY_RUNNER " --pod --meting /x 2>/dev/null")), 2);
  EXPECT_EQ(WEXITSTATUS(::system("env -i " MAYFLY_RUNNER " --pod 2>/dev/null")), 1);
}

/// The same with walls: the job's process 1 of its own namespaces, both as one unprivileged user, in volumes as the kubelet makes
/// them for an fsGroup.
class WalledPod : public Pod {
 protected:
  void SetUp() override {
    if (::getuid() != 0 || ::system("unshare --mount --pid --fork true 2>/dev/null") != 0) GTEST_SKIP() << "needs root and namespaces";
    for (auto* name : {"meeting", "state", "workspace"}) {
      EXPECT_EQ(::chown(at(name).c_str(), 0, user), 0);
      EXPECT_EQ(::chmod(at(name).c_str(), 02775), 0);
    }
    std::ofstream(at("last-word")).close();
    fs::permissions(at("last-word"), fs::perms(0666));
  }

  static std::vector<std::string> as_user(std::vector<std::string> command) {
    auto id = std::to_string(user);
    std::vector<std::string> out{"/usr/bin/setpriv", "--reuid", id, "--regid", id, "--clear-groups", "--bounding-set=-all", "--no-new-privs"};
    out.insert(out.end(), command.begin(), command.end());
    return out;
  }
  void start_walled_runner(FakeServer& server) { runner_ = spawn(as_user(runner_command()), runner_environment(server), "runner.log"); }
  void start_walled_init(const std::string& uid = std::to_string(user)) {
    auto m = at("meeting").string(), b = at("bin").string();
    auto script = "mount -t proc proc /proc && mount --bind " + m + " " + m + " && mount -o remount,bind,ro " + m + " && mount --bind " + b + " " + b +
                  " && mount -o remount,bind,ro " + b + " && mount -t tmpfs none " + at("state").string() +
                  " && exec /usr/bin/setpriv --reuid " + uid + " --regid " + uid + " --clear-groups --bounding-set=-all --no-new-privs " + b + "/mayfly-init --dir " + m + " --workspace " + at("workspace").string();
    init_ = spawn({"/usr/bin/unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", script}, {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/"}, "init.log");
  }

  static constexpr uid_t user = 65532;
};

TEST_F(WalledPod, TheJobFindsNothingOfItsRunner) {
  GitRepository repository(at("repository.git"));
  EXPECT_EQ(::system(("chmod -R a+rX " + at("repository.git").string()).c_str()), 0);
  auto job = job_of(
      "id -u; cat file; git status --porcelain; git log -1 --format=%s; touch $HOME/x new\n"
      "ls -A " + at("state").string() + " | wc -l; ls " + at("meeting").string() + " | wc -l\n"
      "touch " + at("meeting").string() + "/x 2>&1 | grep -o 'Read-only.*'; cat " + at("bin/mayfly-init").string() + " 2>&1 >/dev/null | grep -o 'Permission.*'\n"
      "ls /proc/1/fd 2>&1 | grep -o 'Permission.*'; cat /proc/1/mem 2>&1 | grep -o 'Permission.*'; kill -KILL 1; kill -TERM 1; sleep 0.1; echo still");
  job.source.sha = repository.push_file("file", "content\n", "first");
  job.source.repository = repository.bare();
  job.source.checkout = {};
  FakeServer server(job);
  start_walled_runner(server);
  start_walled_init();
  auto report = report_of(server);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->outcome, Outcome::success) << report->detail << server.log() << text_of(at("init.log"));
  EXPECT_EQ(server.log(), "65532\ncontent\nfirst\n0\n0\nRead-only file system\nPermission denied\nPermission denied\nPermission denied\nstill\n");
  EXPECT_EQ(end_of(init_), 0);
  EXPECT_EQ(end_runner(), 0);
  EXPECT_EQ(ended_file_from_json(text_of(at("last-word"))), (EndedFile{Reason::exit_code, ""}));
}

TEST_F(WalledPod, AJobImageThatRunsAsRootIsServedAsWell) {
  FakeServer server(job_of("id -u; echo mine > file; cat file"));
  start_walled_runner(server);
  start_walled_init("0");
  auto report = report_of(server);
  ASSERT_TRUE(report);
  EXPECT_EQ(server.log(), "0\nmine\n") << text_of(at("init.log"));
  EXPECT_EQ(end_of(init_), 0);
}

TEST_F(WalledPod, TheRunnersDeathIsTheJobsDeath) {
  FakeServer server(job_of("echo begun; sleep 60"));
  start_walled_runner(server);
  start_walled_init();
  server.wait_for_log("begun\n");
  kill_runner();
  EXPECT_EQ(end_of(init_), 1);
  start_walled_runner(server);
  EXPECT_EQ(report_of(server)->reason, Reason::runner_lost);
}

}  // namespace
}  // namespace mayfly
