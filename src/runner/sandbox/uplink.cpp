#include "runner/sandbox/uplink.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>
#include <vector>

#include "adapters/sandbox/tools.h"

namespace mayfly {
namespace {

constexpr int ready_number = 3, exit_number = 4;  // in slirp4netns
constexpr std::size_t max_said_bytes = 1000;

struct Pipe {
  UniqueFd reader, writer;
};

Result<Pipe> make_pipe(int flags) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | flags) != 0) return fail(Errc::unavailable, std::string("sandbox: no pipe: ") + std::strerror(errno));
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

/// A copy that no dup2 to a low number can overwrite before its own turn.
UniqueFd out_of_the_way(const UniqueFd& fd) { return UniqueFd(fcntl(fd.get(), F_DUPFD_CLOEXEC, 10)); }

}  // namespace

Result<Uplink> Uplink::start(pid_t pid) {
  auto program = find_program("slirp4netns");
  if (program.empty()) return fail(Errc::unsupported, "sandbox: slirp4netns is not installed, so jobs have no network here", "apt-get install slirp4netns, or write network: none");
  TRY_ASSIGN(auto ready, make_pipe(0));
  TRY_ASSIGN(auto alive, make_pipe(0));
  TRY_ASSIGN(auto output, make_pipe(O_NONBLOCK));
  auto ready_end = out_of_the_way(ready.writer), alive_end = out_of_the_way(alive.reader), output_end = out_of_the_way(output.writer);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output_end.get(), 1);
  posix_spawn_file_actions_adddup2(&actions, output_end.get(), 2);
  posix_spawn_file_actions_adddup2(&actions, ready_end.get(), ready_number);
  posix_spawn_file_actions_adddup2(&actions, alive_end.get(), exit_number);
  posix_spawn_file_actions_addclosefrom_np(&actions, exit_number + 1);
  std::vector<std::string> arguments = {program, "--configure", "--mtu=65520", "--disable-host-loopback", "--enable-sandbox", "--enable-seccomp",
                                        "--ready-fd=" + std::to_string(ready_number), "--exit-fd=" + std::to_string(exit_number), };
  // By its number slirp4netns would enter the process's user namespace first, and under gVisor that does not own the network.
  if (geteuid() == 0) arguments.insert(arguments.end(), {"--netns-type=path", "/proc/" + std::to_string(pid) + "/ns/net"});
  else arguments.push_back(std::to_string(pid));
  arguments.emplace_back("tap0");
  std::vector<char*> argv;
  for (auto& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  char* no_environment[] = {nullptr};
  Uplink uplink;
  int error = posix_spawn(&uplink.pid_, program.c_str(), &actions, nullptr, argv.data(), no_environment);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return fail(Errc::unavailable, "sandbox: cannot start slirp4netns: " + std::string(std::strerror(error)));
  uplink.ready_ = std::move(ready.reader);
  uplink.alive_ = std::move(alive.writer);
  uplink.output_ = std::move(output.reader);
  return uplink;
}

Uplink::Uplink(Uplink&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), ready_(std::move(other.ready_)), alive_(std::move(other.alive_)), output_(std::move(other.output_)), up_(other.up_) {}

Uplink::~Uplink() {
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {}
}

Result<void> Uplink::outcome() {
  char one;
  if (!up_ && read(ready_.get(), &one, 1) == 1) up_ = true;
  if (up_) return {};
  std::string said(max_said_bytes, '\0');
  auto n = read(output_.get(), said.data(), said.size());
  said.resize(n > 0 ? std::size_t(n) : 0);
  return fail(Errc::unavailable, "sandbox: the job's network did not come up: " + said,
              said.find("/dev/net/tun") != std::string::npos ? "the server's user must be able to open /dev/net/tun" : "");
}

}  // namespace mayfly
