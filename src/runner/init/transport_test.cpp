// How init meets its sidecar, with the real program and a sidecar played by the test.
#include "runner/init/transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <fstream>
#include <cerrno>
#include <cstring>

#include "runner/init/init_under_test.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

std::optional<InitOptions> parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "mayfly-init");
  arguments.push_back(nullptr);
  return parse_init_options(static_cast<int>(arguments.size()) - 1, arguments.data());
}

TEST(InitOptionsTest, EveryWayIsSaidByItsOwnOptions) {
  using Kind = InitOptions::Kind;
  EXPECT_EQ(parse({"--control-fd", "5", "--log-fd", "6", "--workspace", "/w"}), (InitOptions{.control = 5, .log = 6, .workspace = "/w"}));
  EXPECT_EQ(parse({"--workspace", "/w", "--dir", "/d"}), (InitOptions{.kind = Kind::directory, .directory = "/d", .workspace = "/w"}));
  EXPECT_EQ(parse({"--control-stdio", "--log", "/l", "--workspace", "/w"}), (InitOptions{.kind = Kind::standard, .log_file = "/l", .workspace = "/w"}));
  EXPECT_EQ(parse({"--install", "/d"}), (InitOptions{.kind = Kind::install, .directory = "/d"}));
}

TEST(InitOptionsTest, AMixtureOrHalfOfOneIsRefused) {
  std::vector<std::vector<const char*>> wrong{
      {}, {"--dir"}, {"--dir", "/d"}, {"--workspace", "/w"}, {"--dir", "", "--workspace", "/w"}, {"--control-stdio", "--workspace", "/w"},
      {"--log", "/l", "--workspace", "/w"}, {"--dir", "/d", "--dir", "/e", "--workspace", "/w"}, {"--dir", "/d", "--control-stdio", "--log", "/l", "--workspace", "/w"},
      {"--install", "/d", "--workspace", "/w"}, {"--control-fd", "5", "--log-fd", "5", "--workspace", "/w"}, {"--control-fd", "2", "--log-fd", "5", "--workspace", "/w"},
      {"--control-fd", "5x", "--log-fd", "6", "--workspace", "/w"}, {"--control-fd", "5", "--workspace", "/w"}, {"/d"}, {"--help"}};
  for (auto& arguments : wrong) EXPECT_FALSE(parse(arguments)) << testing::PrintToString(std::vector<std::string>(arguments.begin(), arguments.end()));
}

/// A directory two containers share, and the sidecar's side of it.
class SharedDirectory : public testing::Test {
 protected:
  SharedDirectory() {
    std::string name = std::filesystem::temp_directory_path() / "meet-XXXXXX";
    if (!::mkdtemp(name.data())) ADD_FAILURE() << "no temporary directory";
    path = name;
    std::filesystem::create_directories(path / "workspace");
  }
  ~SharedDirectory() override {
    for (int fd : {listener, lifeline, control, log}) if (fd >= 0) ::close(fd);
    if (pid > 0) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
    std::filesystem::remove_all(path);
  }

  void start_init(const char* program = MAYFLY_INIT) {
    auto directory = path.string(), workspace = (path / "workspace").string(), errors = (path / "errors").string();
    pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid != 0) return;
    int out = ::open(errors.c_str(), O_CREAT | O_WRONLY | O_APPEND, 0600);
    ::dup2(out, 2);
    ::execl(program, program, "--dir", directory.c_str(), "--workspace", workspace.c_str(), nullptr);
    ::_exit(127);
  }

  void listen() {
    listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    (path / control_socket_name).string().copy(at.sun_path, sizeof at.sun_path - 1);
    ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&at), sizeof at), 0) << std::strerror(errno);
    ASSERT_EQ(::listen(listener, 1), 0);
  }

  void accept() {
    lifeline = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    ASSERT_GE(lifeline, 0);
  }

  void hand_over() {
    int pair[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    control = pair[0];
    log = ::open((path / "log").c_str(), O_CREAT | O_RDWR | O_APPEND | O_CLOEXEC, 0600);
    int fds[2] = {pair[1], log};
    char byte = 0;
    iovec data{&byte, 1};
    alignas(cmsghdr) char space[CMSG_SPACE(sizeof fds)] = {};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = space;
    message.msg_controllen = sizeof space;
    auto* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof fds);
    std::memcpy(CMSG_DATA(rights), fds, sizeof fds);
    ASSERT_EQ(::sendmsg(lifeline, &message, 0), 1);
    ::close(pair[1]);
  }

  void send(const ToInit& message) {
    auto line = to_line(message);
    ASSERT_EQ(::write(control, line.data(), line.size()), static_cast<ssize_t>(line.size()));
  }

  /// What init says until its last word, or its end.
  std::optional<InitDone> done() {
    std::string text;
    for (char buffer[4096];;) {
      auto n = ::read(control, buffer, sizeof buffer);
      if (n <= 0) return std::nullopt;
      text.append(buffer, static_cast<std::size_t>(n));
      for (auto end = text.find('\n'); end != text.npos; end = text.find('\n')) {
        auto message = from_init_from(text.substr(0, end));
        text.erase(0, end + 1);
        if (message && std::holds_alternative<InitDone>(*message)) return std::get<InitDone>(*message);
      }
    }
  }

  bool lifeline_says_that_the_job_ended() {
    char byte;
    return ::read(lifeline, &byte, 1) == 1;
  }

  int exit_code() {
    int status = 0;
    for (int i = 0; ::waitpid(pid, &status, WNOHANG) != pid; ++i, ::usleep(1000)) {
      if (i < 20'000) continue;
      ADD_FAILURE() << "init does not end";
      return -1;
    }
    pid = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  std::string text_of(const char* file) {
    std::ifstream in(path / file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  std::filesystem::path path;
  int listener = -1, lifeline = -1, control = -1, log = -1;
  pid_t pid = -1;
};

TEST_F(SharedDirectory, InitWaitsForTheSidecarThenRunsTheJobAndStaysUntilItMayGo) {
  start_init();
  ::usleep(100'000);   // it finds nobody at first
  listen();
  accept();
  hand_over();
  send(InitJob{.steps = {{.name = "one", .run = "echo hello; ls -l /proc/$PPID/fd 2>&1; ls /proc/self/fd | wc -l"}}});
  auto last = done();
  ASSERT_TRUE(last);
  EXPECT_EQ(last->outcome, Outcome::success);
  EXPECT_TRUE(lifeline_says_that_the_job_ended());
  EXPECT_EQ(::waitpid(pid, nullptr, WNOHANG), 0) << "it is still there";
  EXPECT_THAT(text_of("log"), HasSubstr("hello"));
  ::close(std::exchange(lifeline, -1));
  EXPECT_EQ(exit_code(), 0);
}

TEST_F(SharedDirectory, ASidecarThatDiesTakesTheJobWithIt) {
  listen();
  start_init();
  accept();
  hand_over();
  auto marker = "sleep 4243." + std::to_string(::getpid());
  send(InitJob{.steps = {{.name = "one", .run = "touch started; " + marker}}});
  while (!std::filesystem::exists(path / "workspace/started")) ::usleep(1000);
  ::close(std::exchange(lifeline, -1));   // the control socket alone does not say it
  EXPECT_EQ(exit_code(), 1);
  EXPECT_TRUE(nobody_runs(marker));
}

TEST_F(SharedDirectory, InitThatIsTurnedAwayHasRunNothing) {
  listen();
  start_init();
  accept();
  ::close(std::exchange(lifeline, -1));
  EXPECT_EQ(exit_code(), 3);
  EXPECT_THAT(text_of("errors"), HasSubstr("the runner has no job for this container"));
}

TEST_F(SharedDirectory, InitWithoutAJobEndsWithItsSidecar) {
  listen();
  start_init();
  accept();
  hand_over();
  ::close(std::exchange(lifeline, -1));
  EXPECT_EQ(exit_code(), 3);
}

TEST_F(SharedDirectory, StoppingTheContainerBeforeARunnerCameEndsInit) {
  start_init();
  ::usleep(100'000);
  ::kill(pid, SIGTERM);
  EXPECT_EQ(exit_code(), 3);
}

TEST_F(SharedDirectory, NoSidecarIsWaitedForNoLongerThanThePatience) {
  auto met = meet_sidecar({.kind = InitOptions::Kind::directory, .directory = path, .workspace = "/", .patience = 150ms});
  ASSERT_FALSE(met);
  EXPECT_EQ(met.error().code, Errc::unavailable);
  EXPECT_THAT(met.error().message, HasSubstr("no runner listens at '" + path.string() + "/control.sock'"));
  listen();
  met = meet_sidecar({.kind = InitOptions::Kind::directory, .directory = path, .workspace = "/", .patience = 150ms});
  ASSERT_FALSE(met);
  EXPECT_EQ(met.error().message, "the runner is silent");
}

TEST_F(SharedDirectory, AStepCannotEndTheJobWithASignalToInit) {
  listen();
  start_init();
  accept();
  hand_over();
  send(InitJob{.steps = {{.name = "one", .run = "kill -TERM $PPID; sleep 0.2; echo alive"}}});
  auto last = done();
  ASSERT_TRUE(last);
  EXPECT_EQ(last->outcome, Outcome::success);
  EXPECT_THAT(text_of("log"), HasSubstr("alive"));
}

TEST_F(SharedDirectory, SigtermFromOutsideEndsTheJob) {
  listen();
  start_init();
  accept();
  hand_over();
  send(InitJob{.steps = {{.name = "one", .run = "touch started; sleep 60"}}});
  while (!std::filesystem::exists(path / "workspace/started")) ::usleep(1000);
  ::kill(pid, SIGTERM);
  auto last = done();
  ASSERT_TRUE(last);
  EXPECT_EQ(last->outcome, Outcome::canceled);
}

TEST_F(SharedDirectory, InstalledInitRunsAndCannotBeRead) {
  auto command = std::string(MAYFLY_STATIC_INIT) + " --install " + path.string();
  ASSERT_EQ(::system(command.c_str()), 0);
  ASSERT_EQ(::system(command.c_str()), 0) << "an init container may run again";
  struct stat info;
  ASSERT_EQ(::stat((path / installed_init_name).c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0111u);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(path), {}), 2) << "init, workspace and nothing half written";
  listen();
  start_init((path / installed_init_name).c_str());
  accept();
  hand_over();
  send(InitJob{.steps = {{.name = "one", .run = "cat /proc/$PPID/environ >/dev/null 2>&1 && echo read || echo closed"}}});
  auto last = done();
  ASSERT_TRUE(last);
  if (::getuid() != 0) EXPECT_THAT(text_of("log"), HasSubstr("closed"));
}

TEST_F(SharedDirectory, InstallingIntoNowhereSaysSo) {
  EXPECT_EQ(WEXITSTATUS(::system((std::string(MAYFLY_INIT) + " --install " + path.string() + "/none 2>" + path.string() + "/errors").c_str())), 3);
  EXPECT_THAT(text_of("errors"), HasSubstr("cannot write to"));
}

/// As a container engine's attach: three pipes.
class StandardStreams : public SharedDirectory {
 protected:
  void start_init(int standard_error = -1) {
    log = ::open((path / "log").c_str(), O_CREAT | O_RDWR | O_APPEND | O_CLOEXEC, 0600);
    int in[2], out[2];
    ASSERT_EQ(::pipe2(in, O_CLOEXEC), 0);
    ASSERT_EQ(::pipe2(out, O_CLOEXEC), 0);
    auto file = standard_error < 0 ? (path / "log").string() : standard_error_log, workspace = (path / "workspace").string();
    pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      ::dup2(in[0], 0);
      ::dup2(out[1], 1);
      if (standard_error >= 0) ::dup2(standard_error, 2);
      ::execl(MAYFLY_INIT, MAYFLY_INIT, "--control-stdio", "--log", file.c_str(), "--workspace", workspace.c_str(), nullptr);
      ::_exit(127);
    }
    ::close(in[0]);
    ::close(out[1]);
    to_init = in[1];
    control = out[0];
  }
  void tell(const ToInit& message) {
    auto line = to_line(message);
    ASSERT_EQ(::write(to_init, line.data(), line.size()), static_cast<ssize_t>(line.size()));
  }
  ~StandardStreams() override { if (to_init >= 0) ::close(to_init); }
  int to_init = -1;
};

TEST_F(StandardStreams, CarryTheMessagesAndNothingOfTheSteps) {
  start_init();
  tell(InitJob{.steps = {{.name = "one", .run = "echo '{\"done\":{\"outcome\":\"failure\"}}' >/proc/$PPID/fd/1; echo out; echo err >&2; cat"}}});
  auto last = done();
  ASSERT_TRUE(last);
  EXPECT_EQ(last->outcome, Outcome::success);
  EXPECT_THAT(text_of("log"), HasSubstr("out"));
  EXPECT_THAT(text_of("log"), HasSubstr("err"));
  char byte;
  EXPECT_EQ(::read(control, &byte, 1), 0) << "the last word was the last";
  EXPECT_EQ(exit_code(), 0);
}

TEST_F(StandardStreams, AnEngineThatDetachesEndsTheJob) {
  start_init();
  auto marker = "sleep 4244." + std::to_string(::getpid());
  tell(InitJob{.steps = {{.name = "one", .run = "touch started; " + marker}}});
  while (!std::filesystem::exists(path / "workspace/started")) ::usleep(1000);
  ::close(std::exchange(to_init, -1));
  EXPECT_EQ(exit_code(), 1);
  EXPECT_TRUE(nobody_runs(marker));
}

TEST_F(StandardStreams, AReaderThatGoesEndsTheJob) {
  start_init();
  auto marker = "sleep 4245." + std::to_string(::getpid());
  tell(InitJob{.steps = {{.name = "one", .run = "touch started; " + marker}}});
  while (!std::filesystem::exists(path / "workspace/started")) ::usleep(1000);
  ::close(std::exchange(control, -1));
  EXPECT_EQ(exit_code(), 1);
  EXPECT_TRUE(nobody_runs(marker));
}

TEST_F(StandardStreams, CarryTheLogAsWellWhereNoFileIsShared) {
  int errors[2];
  ASSERT_EQ(::pipe2(errors, O_CLOEXEC), 0);
  start_init(errors[1]);
  ::close(errors[1]);
  constexpr std::size_t much = 3 << 20;  // many pipes full
  tell(InitJob{.steps = {{.name = "one", .run = "echo forged >/proc/$PPID/fd/2; head -c " + std::to_string(much) + " /dev/zero | tr '\\0' x"}}});
  std::string frames;
  std::vector<char> piece(64 << 10);
  for (ssize_t n; (n = ::read(errors[0], piece.data(), piece.size())) > 0;) frames.append(piece.data(), static_cast<std::size_t>(n));
  ::close(errors[0]);
  std::string text;
  for (std::string_view rest = frames; !rest.empty();) {
    auto got = decode_frame(rest);
    ASSERT_TRUE(got && got->size > 0) << "something else than frames";
    ASSERT_EQ(got->frame.offset, static_cast<std::int64_t>(text.size()));
    text += got->frame.text;
    rest.remove_prefix(got->size);
  }
  EXPECT_EQ(static_cast<std::size_t>(std::ranges::count(text, 'x')), much);
  auto last = done();
  ASSERT_TRUE(last);
  EXPECT_EQ(last->log_bytes, static_cast<std::int64_t>(text.size()));
  EXPECT_EQ(exit_code(), 0);
}

TEST_F(StandardStreams, AReaderOfTheLogThatGoesEndsTheJob) {
  int errors[2];
  ASSERT_EQ(::pipe2(errors, O_CLOEXEC), 0);
  start_init(errors[1]);
  ::close(errors[1]);
  ::close(errors[0]);
  tell(InitJob{.steps = {{.name = "one", .run = "sleep 1000"}}});
  EXPECT_EQ(exit_code(), 1);
}

TEST(InitStreams, WithoutALogFileNothingRuns) {
  EXPECT_EQ(WEXITSTATUS(::system(MAYFLY_INIT " --control-stdio --log /proc/none/log --workspace / 2>/dev/null </dev/null")), 3);
}

TEST(InitTmp, AReadOnlyTmpIsReplacedByTheContainersSharedMemory) {
  InitUnderTest init(MAYFLY_INIT, {"TMPDIR=/proc/none"});
  init.send(InitJob{.steps = {{.name = "one", .run = "echo in $TMPDIR; echo x > $TMPDIR/x; echo at $HOME"}}});
  auto done = init.done();
  ASSERT_TRUE(done);
  EXPECT_EQ(done->outcome, Outcome::success);
  EXPECT_THAT(init.log(), HasSubstr("in /dev/shm/mayfly-"));
}

TEST(InitTmp, AHomeNobodyMayWriteToIsReplaced) {
  InitUnderTest init(MAYFLY_INIT, {"HOME=/proc/none"});
  init.send(InitJob{.steps = {{.name = "one", .run = "echo x > $HOME/x && echo good"}}});
  auto done = init.done();
  ASSERT_TRUE(done);
  EXPECT_EQ(init.log(), "good\n");
}

}  // namespace
}  // namespace mayfly
