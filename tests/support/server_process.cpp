#include "support/server_process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <stdexcept>
#include <thread>

namespace mayfly {
namespace {

using namespace std::chrono_literals;

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(std::uint16_t(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

bool ends_within(pid_t pid, std::chrono::milliseconds limit) {
  for (auto until = std::chrono::steady_clock::now() + limit; std::chrono::steady_clock::now() < until;) {
    if (waitpid(pid, nullptr, WNOHANG) == pid) return true;
    std::this_thread::sleep_for(2ms);
  }
  return false;
}

}  // namespace

ServerProcess::ServerProcess(std::vector<std::string> arguments) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
  std::vector<char*> argv;
  for (auto& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0);
    dup2(fds[1], 1);
    execvp(argv[0], argv.data());
    _exit(127);
  }
  close(fds[1]);
  output_ = fds[0];
  if (pid_ < 0) throw std::runtime_error("cannot start " + arguments[0]);
}

ServerProcess::~ServerProcess() {
  kill(pid_, SIGTERM);
  if (!ends_within(pid_, 5s)) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  kill(-pid_, SIGKILL);
  close(output_);
}

std::string ServerProcess::line() {
  std::string out;
  for (char c = 0;;) {
    pollfd ready{output_, POLLIN, 0};
    if (poll(&ready, 1, 10'000) <= 0) throw std::runtime_error("the server said nothing for ten seconds");
    if (read(output_, &c, 1) != 1) throw std::runtime_error("the server ended");
    if (c == '\n') return out;
    out += c;
  }
}

int free_port() {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  auto address = loopback(0);
  socklen_t size = sizeof address;
  bool bound = bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 && getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  close(fd);
  if (!bound) throw std::runtime_error("no free port");
  return ntohs(address.sin_port);
}

void wait_for_port(int port) {
  for (auto until = std::chrono::steady_clock::now() + 10s; std::chrono::steady_clock::now() < until;) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    auto address = loopback(port);
    bool open = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    close(fd);
    if (open) return;
    std::this_thread::sleep_for(2ms);
  }
  throw std::runtime_error("nothing listens on port " + std::to_string(port));
}

}  // namespace mayfly
