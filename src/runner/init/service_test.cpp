// The real mayfly-init as process 1 of a service, without a sandbox around it.
#include "runner/control/service.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>

#include "runner/init/init_under_test.h"
#include "support/temp_dir.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using What = ServiceReport::What;

class ServiceInit : public testing::Test {
 protected:
  void start(ServiceStart what) { start_line(to_line(what)); }

  void start_line(const std::string& line) {
    int pair[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    control_ = pair[0];
    auto number = std::to_string(pair[1]);
    pid_ = fork();
    if (pid_ == 0) {
      fcntl(pair[1], F_SETFD, 0);
      execl(MAYFLY_INIT, MAYFLY_INIT, "--service-fd", number.c_str(), nullptr);
      _exit(127);
    }
    close(pair[1]);
    ASSERT_EQ(send(control_, line.data(), line.size(), MSG_NOSIGNAL), ssize_t(line.size()));
  }

  /// The next report; nothing when init has hung up.
  std::optional<ServiceReport> next() {
    std::string line;
    for (char c; !line.ends_with('\n');) {
      pollfd p{control_, POLLIN, 0};
      if (poll(&p, 1, 60'000) != 1 || read(control_, &c, 1) != 1) return std::nullopt;
      line += c;
    }
    auto report = service_report_from(line);
    EXPECT_TRUE(report) << line;
    return report ? std::optional(*report) : std::nullopt;
  }

  int exit_code() {
    int status = 0;
    EXPECT_EQ(waitpid(pid_, &status, 0), pid_);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  void TearDown() override {
    if (control_ >= 0) close(control_);
    if (pid_ > 0) waitpid(pid_, nullptr, 0);
  }

  ServiceStart shell(const std::string& script, std::string ready = "") {
    return {.argv = {"sh", "-c", script}, .env = {{"PATH", "/usr/bin:/bin"}, {"MARK", mark_}}, .directory = dir_.path(), .ready = std::move(ready)};
  }

  TempDir dir_;
  std::string mark_ = "service-" + std::to_string(getpid());
  int control_ = -1;
  pid_t pid_ = -1;
};

TEST_F(ServiceInit, SaysReadyWhenReadySucceedsAndThenTheEnd) {
  start(shell("sleep 0.3; touch up; until [ -e stop ]; do sleep 0.01; done; echo bye; exit 7", "test -e up"));
  auto ready = next();
  ASSERT_TRUE(ready);
  EXPECT_EQ(ready->what, What::ready);
  EXPECT_TRUE(std::filesystem::exists(dir_.file("up")));
  std::ofstream(dir_.file("stop")) << "";
  auto ended = next();
  ASSERT_TRUE(ended);
  EXPECT_EQ(*ended, (ServiceReport{.what = What::ended, .how = "exited with 7", .last_lines = {"bye"}}));
  EXPECT_EQ(exit_code(), 0);
}

TEST_F(ServiceInit, IsReadyAtOnceWithoutAQuestion) {
  start(shell("sleep 1000 # " + mark_));
  auto ready = next();
  ASSERT_TRUE(ready);
  EXPECT_EQ(ready->what, What::ready);
  close(std::exchange(control_, -1));
  EXPECT_EQ(exit_code(), 1) << "it ends when nobody listens";
  EXPECT_TRUE(nobody_runs("sleep 1000 # " + mark_));
}

TEST_F(ServiceInit, EndsBeforeItIsReadyWithItsLastLines) {
  start(shell("for i in $(seq 60); do echo line $i; done; echo no such database >&2; exit 1", "false"));
  auto ended = next();
  ASSERT_TRUE(ended);
  EXPECT_EQ(ended->what, What::ended);
  EXPECT_EQ(ended->how, "exited with 1");
  ASSERT_EQ(ended->last_lines.size(), max_service_lines);
  EXPECT_THAT(ended->last_lines, testing::Contains("line 60"));
  EXPECT_THAT(ended->last_lines, testing::Not(testing::Contains("line 5")));
}

TEST_F(ServiceInit, IsLateWhenReadyNeverSucceeds) {
  auto what = shell("echo still starting; sleep 1000", "echo connection refused; exit 2");
  what.ready_limit = 400ms;
  start(what);
  auto late = next();
  ASSERT_TRUE(late);
  EXPECT_EQ(*late, (ServiceReport{.what = What::late, .how = "its `ready` exited with 2: connection refused", .last_lines = {"still starting"}}));
  EXPECT_EQ(exit_code(), 0);
}

TEST_F(ServiceInit, AReadyThatHangsDoesNotHideTheEnd) {
  start(shell("exit 3", "sleep 1000"));
  auto ended = next();
  ASSERT_TRUE(ended);
  EXPECT_EQ(ended->how, "exited with 3");
}

TEST_F(ServiceInit, TellsAKillApart) {
  start(shell("kill -9 $$"));
  EXPECT_EQ(next()->what, What::ready);
  auto ended = next();
  ASSERT_TRUE(ended);
  EXPECT_TRUE(ended->killed);
  EXPECT_EQ(ended->how, "was ended by signal 9 (Killed)");
}

TEST_F(ServiceInit, OutputItNeverReadsDoesNotStopIt) {
  start(shell("yes | head -c 3000000; exec touch through; ", "test -e through"));
  auto first = next();
  ASSERT_TRUE(first);
  EXPECT_TRUE(std::filesystem::exists(dir_.file("through")));
}

TEST_F(ServiceInit, AProgramThatIsNotThereIsSaid) {
  start({.argv = {"no-such-program"}, .env = {}, .ready = "false"});
  auto ended = next();
  ASSERT_TRUE(ended);
  EXPECT_EQ(ended->how, "exited with 127");
  EXPECT_THAT(ended->last_lines, ElementsAre(HasSubstr("no-such-program")));
}

TEST_F(ServiceInit, ServicesOwnEnvironmentOnly) {
  setenv("MAYFLY_SECRET", "hunter2", 1);
  start(shell("env; exit 1", "false"));
  unsetenv("MAYFLY_SECRET");
  auto ended = next();
  ASSERT_TRUE(ended);
  EXPECT_THAT(ended->last_lines, testing::Contains("MARK=" + mark_));
  EXPECT_THAT(ended->last_lines, testing::Not(testing::Contains(HasSubstr("hunter2"))));
}

TEST_F(ServiceInit, RefusesWhatIsNoStart) {
  start_line("{\"argv\":[]}\n");
  EXPECT_FALSE(next());
  EXPECT_EQ(exit_code(), 2);
}

TEST(ServiceMessages, GoOutAndComeBackTheSame) {
  ServiceStart start{.argv = {"a", "b c"}, .env = {{"K", "v"}}, .directory = "/d", .ready = "r", .ready_limit = 3s};
  EXPECT_EQ(service_start_from(to_line(start)), start);
  ServiceReport report{.what = What::late, .how = "h", .killed = true, .last_lines = {"x", "ä"}};
  EXPECT_EQ(service_report_from(to_line(report)), report);
}

TEST(ServiceMessages, AreBounded) {
  ServiceReport full{.what = What::ended, .how = std::string(max_service_line_bytes, 'x'), .last_lines = std::vector<std::string>(max_service_lines, "x")};
  EXPECT_TRUE(service_report_from(to_line(full)));
  auto one_more = full;
  one_more.last_lines.push_back("x");
  EXPECT_FALSE(service_report_from(to_line(one_more)));
  one_more = full;
  one_more.how += "x";
  EXPECT_FALSE(service_report_from(to_line(one_more)));
  EXPECT_FALSE(service_report_from("{\"what\":\"perhaps\",\"how\":\"\",\"killed\":false}"));
}

}  // namespace
}  // namespace mayfly
