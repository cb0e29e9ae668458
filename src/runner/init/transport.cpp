#include "runner/init/transport.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string_view>

#include "runner/init/events.h"

namespace mayfly {
namespace {

constexpr Duration meeting_pause = std::chrono::milliseconds(20);
constexpr std::size_t handed_over = 2;   // descriptors: control, log

volatile sig_atomic_t told_to_stop = 0;

std::unexpected<Error> failed(Errc code, const std::string& what) { return fail(code, what + ": " + std::strerror(errno)); }

bool read_number(std::string_view text, int& number) {
  auto [at, ec] = std::from_chars(text.data(), text.data() + text.size(), number);
  return ec == std::errc{} && at == text.data() + text.size();
}

/// Once per option; false for what is none, or lacks its value.
bool read_option(const char* const*& at, std::set<std::string_view>& seen, InitOptions& o) {
  std::string_view key = *at++;
  if (!seen.insert(key).second) return false;
  if (key == "--control-stdio") return true;
  if (!*at) return false;
  std::string_view value = *at++;
  if (key == "--control-fd") return read_number(value, o.control);
  if (key == "--log-fd") return read_number(value, o.log);
  if (key == "--dir" || key == "--install") o.directory = value;
  else if (key == "--log") o.log_file = value;
  else if (key == "--workspace") o.workspace = value;
  else return false;
  return !value.empty();
}

bool cloexec(int fd) { return ::fcntl(fd, F_SETFD, FD_CLOEXEC) == 0; }

Result<Channel> by_descriptors(const InitOptions& o) {
  if (!cloexec(o.control) || !cloexec(o.log)) return failed(Errc::invalid, "the descriptors of the sidecar are not open");
  return Channel{o.control, o.control, o.log, -1};
}

/// Standard input and output become /dev/null, so that nothing but messages can travel there; standard error too, if it is the log.
Result<Channel> by_standard(const InitOptions& o) {
  Channel channel;
  bool to_standard_error = o.log_file == standard_error_log;
  channel.log = to_standard_error ? ::fcntl(2, F_DUPFD_CLOEXEC, 3) : ::open(o.log_file.c_str(), O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
  if (channel.log < 0) return failed(Errc::not_found, "cannot open the log file '" + o.log_file + "'");
  channel.in = ::fcntl(0, F_DUPFD_CLOEXEC, 3);
  channel.out = ::fcntl(1, F_DUPFD_CLOEXEC, 3);
  int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (channel.in < 0 || channel.out < 0 || null < 0 || ::dup2(null, 0) < 0 || ::dup2(null, 1) < 0 || (to_standard_error && ::dup2(null, 2) < 0))
    return failed(Errc::unavailable, "cannot take over standard input and output");
  ::close(null);
  return channel;
}

Duration left(Time until) { return std::max(Duration::zero(), until - steady_now()); }

int connect_once(const sockaddr_un& to) {
  int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && ::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) return fd;
  if (fd >= 0) ::close(fd);
  return -1;
}

Result<int> connect_to_sidecar(const std::string& path, Time until) {
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  if (path.size() >= sizeof to.sun_path) return fail(Errc::invalid, "the path '" + path + "' is too long for a socket");
  path.copy(to.sun_path, path.size());
  for (;;) {
    if (int fd = connect_once(to); fd >= 0) return fd;
    if (told_to_stop) return fail(Errc::canceled, "stopped before a runner came");
    if (left(until) == Duration::zero()) return failed(Errc::unavailable, "no runner listens at '" + path + "'");
    ::poll(nullptr, 0, static_cast<int>(meeting_pause / std::chrono::milliseconds(1)));
  }
}

/// Waits for the message that carries control and log.
Result<Channel> take_over(int lifeline, Time until) {
  pollfd p{lifeline, POLLIN, 0};
  while (::poll(&p, 1, static_cast<int>(left(until) / std::chrono::milliseconds(1))) != 1) {
    if (told_to_stop) return fail(Errc::canceled, "stopped before the runner had a job");
    if (left(until) == Duration::zero()) return fail(Errc::unavailable, "the runner is silent");
  }
  char byte;
  iovec data{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(handed_over * sizeof(int))> space{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = space.data();
  message.msg_controllen = space.size();
  auto n = ::recvmsg(lifeline, &message, MSG_CMSG_CLOEXEC);
  if (n <= 0) return fail(Errc::unavailable, "the runner has no job for this container: another one runs it, or it is over");
  auto* rights = CMSG_FIRSTHDR(&message);
  if (!rights || rights->cmsg_type != SCM_RIGHTS || rights->cmsg_len != CMSG_LEN(handed_over * sizeof(int)))
    return fail(Errc::invalid, "the runner did not hand over what it should");
  std::array<int, handed_over> fds;
  std::memcpy(fds.data(), CMSG_DATA(rights), sizeof fds);
  return Channel{fds[0], fds[0], fds[1], lifeline};
}

Result<Channel> by_directory(const InitOptions& o) {
  struct sigaction stop {};
  stop.sa_handler = [](int) { told_to_stop = 1; };
  ::sigaction(SIGTERM, &stop, nullptr);   // process 1 would not hear it otherwise
  auto until = steady_now() + o.patience;
  TRY_ASSIGN(int lifeline, connect_to_sidecar(o.directory + "/" + control_socket_name, until));
  return take_over(lifeline, until);
}

bool copy_bytes(int from, int to, off_t size) {
  for (off_t done = 0; done < size;) {
    auto n = ::sendfile(to, from, nullptr, static_cast<std::size_t>(size - done));
    if (n <= 0) return false;
    done += n;
  }
  return true;
}

}  // namespace

std::optional<InitOptions> parse_init_options(int argc, const char* const* argv) {
  InitOptions o;
  std::set<std::string_view> seen;
  for (auto at = argv + std::min(argc, 1); *at;)
    if (!read_option(at, seen, o)) return std::nullopt;
  using Kind = InitOptions::Kind;
  if (seen == std::set<std::string_view>{"--install"}) o.kind = Kind::install;
  else if (seen == std::set<std::string_view>{"--dir", "--workspace"}) o.kind = Kind::directory;
  else if (seen == std::set<std::string_view>{"--control-stdio", "--log", "--workspace"}) o.kind = Kind::standard;
  else if (seen == std::set<std::string_view>{"--control-fd", "--log-fd", "--workspace"} && o.control > 2 && o.log > 2 && o.control != o.log) o.kind = Kind::descriptors;
  else return std::nullopt;
  return o;
}

Result<Channel> meet_sidecar(const InitOptions& o) {
  if (o.kind == InitOptions::Kind::directory) return by_directory(o);
  return o.kind == InitOptions::Kind::standard ? by_standard(o) : by_descriptors(o);
}

void close_all_but(const Channel& channel) {
  unsigned next = 3;
  for (int fd : std::set{channel.in, channel.out, channel.log, channel.lifeline}) {
    if (fd < 3) continue;
    auto keep = static_cast<unsigned>(fd);
    if (keep > next) ::close_range(next, keep - 1, 0);
    next = keep + 1;
  }
  ::close_range(next, ~0u, 0);
}

Result<void> install_init(const std::string& directory) {
  int from = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  struct stat info;
  if (from < 0 || ::fstat(from, &info) != 0) return failed(Errc::unavailable, "cannot read this program");
  std::string partial = directory + "/.init-XXXXXX", path = directory + "/" + installed_init_name;
  int to = ::mkostemp(partial.data(), O_CLOEXEC);
  if (to < 0) return failed(Errc::unavailable, "cannot write to '" + directory + "'");
  bool copied = copy_bytes(from, to, info.st_size) && ::fchmod(to, 0111) == 0;
  copied = ::close(to) == 0 && copied;   // before it is executed: an open file cannot be
  ::close(from);
  if (copied && ::rename(partial.c_str(), path.c_str()) == 0) return {};
  auto error = failed(Errc::unavailable, "cannot install '" + path + "'");
  ::unlink(partial.c_str());
  return error;
}

}  // namespace mayfly
