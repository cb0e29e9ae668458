#include "runner/init/terminal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace mayfly {
namespace {

/// By the master's own descriptor where the kernel can; else by the name, which needs /dev/pts to be this terminal's.
int open_slave(int master) {
  constexpr int flags = O_RDWR | O_NOCTTY | O_CLOEXEC;
#ifdef TIOCGPTPEER
  int slave = ::ioctl(master, TIOCGPTPEER, flags);
  if (slave >= 0) return slave;
#endif
  unsigned number = 0;
  if (::ioctl(master, TIOCGPTN, &number) != 0) return -1;
  char name[32];
  std::snprintf(name, sizeof name, "/dev/pts/%u", number);
  return ::open(name, flags);
}

}  // namespace

Result<Terminal> open_terminal(const ShellSize& size) {
  Terminal t;
  t.master = ::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  int unlock = 0;
  if (t.master >= 0 && ::ioctl(t.master, TIOCSPTLCK, &unlock) == 0) t.slave = open_slave(t.master);
  if (t.slave < 0) {
    std::string why = std::strerror(errno);
    if (t.master >= 0) ::close(t.master);
    return fail(Errc::unavailable, "the job has no terminal to give: " + why, "try without one: mayfly shell JOB -- COMMAND </dev/null | cat");
  }
  termios mode;
  if (::tcgetattr(t.slave, &mode) == 0) {
    mode.c_iflag |= IUTF8;
    ::tcsetattr(t.slave, TCSANOW, &mode);
  }
  resize_terminal(t.master, size);
  return t;
}

void resize_terminal(int master, const ShellSize& size) {
  winsize w{};
  w.ws_col = static_cast<unsigned short>(size.columns);
  w.ws_row = static_cast<unsigned short>(size.rows);
  ::ioctl(master, TIOCSWINSZ, &w);
}

}  // namespace mayfly
