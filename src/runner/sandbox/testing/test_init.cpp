// The smallest thing a sandbox can start instead of mayfly-init: runs the shell script it reads from --control-fd, with
// --log-fd as its stdout and stderr, and ends with its exit code. A script whose first line is #undumpable has it keep its memory to itself. Static, for it must run in any image.

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

int number_after(int argc, char** argv, const char* option) {
  for (int i = 1; i + 1 < argc; ++i)
    if (std::strcmp(argv[i], option) == 0) return std::atoi(argv[i + 1]);
  return -1;
}

std::string read_all(int fd) {
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;) text.append(buffer, std::size_t(n));
  return text;
}

[[noreturn]] void run_script(const std::string& script, int log) {
  dup2(log, 1);
  dup2(log, 2);
  close(log);
  execl("/bin/sh", "sh", "-c", script.c_str(), nullptr);
  std::perror("/bin/sh");
  _exit(127);
}

}  // namespace

int main(int argc, char** argv) {
  int control = number_after(argc, argv, "--control-fd"), log = number_after(argc, argv, "--log-fd");
  auto script = read_all(control);
  if (script.starts_with("#undumpable\n")) prctl(PR_SET_DUMPABLE, 0);   // as mayfly-init
  pid_t child = fork();
  if (child == 0) {
    close(control);
    run_script(script, log);
  }
  for (;;) {
    int status = 0;
    pid_t ended = wait(&status);
    if (ended == child) return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (ended < 0) return 125;
  }
}
