#pragma once
// A program that serves a test: started, told apart by what it prints first, ended with the test whatever happens.

#include <sys/types.h>

#include <string>
#include <vector>

namespace mayfly {

class ServerProcess final {
 public:
  /// Throws std::runtime_error when the program cannot be started.
  explicit ServerProcess(std::vector<std::string> arguments);
  /// SIGTERM, and SIGKILL when it has not ended within five seconds.
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  pid_t pid() const { return pid_; }
  /// The next line of its standard output, without its end. Throws when the program ends or says nothing for ten seconds.
  std::string line();

 private:
  pid_t pid_ = -1;
  int output_ = -1;
};

/// A TCP port of 127.0.0.1 that nothing listens on just now.
int free_port();

/// Waits until something accepts connections on the port; throws after ten seconds.
void wait_for_port(int port);

}  // namespace mayfly
