#pragma once
// The job's way out: slirp4netns, a TCP/IP stack in an unprivileged process between the job's network namespace and ordinary
// sockets of the host. Chosen over veth pairs because it needs no route, no forwarding and no firewall rule on the host, and
// works unprivileged; it starts beside bubblewrap, so it costs no latency.

#include <string>

#include "async/task.h"
#include "base/result.h"
#include "adapters/sandbox/unique_fd.h"

namespace mayfly {

class Uplink final {
 public:
  /// Starts slirp4netns for the network namespace of process `pid`. Errc::unsupported if it is not installed.
  static Result<Uplink> start(pid_t pid);
  ~Uplink();
  Uplink(Uplink&& other) noexcept;
  Uplink& operator=(Uplink&&) = delete;

  /// Readable once the network is up, or will never be.
  int ready_fd() const { return ready_.get(); }
  /// To be asked when ready_fd() is readable.
  Result<void> outcome();

 private:
  Uplink() = default;

  pid_t pid_ = -1;
  UniqueFd ready_;
  UniqueFd alive_;   // slirp4netns ends when this closes, also with a runner that was killed
  UniqueFd output_;
  bool up_ = false;
};

}  // namespace mayfly
