#include "runner/sandbox/uids.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace mayfly {
namespace {

constexpr uid_t candidates = 64;

bool take(int fd, uid_t uid) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  int length = std::snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "mayfly-uid-%u", uid);
  return bind(fd, reinterpret_cast<sockaddr*>(&name), socklen_t(offsetof(sockaddr_un, sun_path) + 1 + std::size_t(length))) == 0;
}

}  // namespace

Result<JobUid> JobUid::claim(AttemptId attempt) {
  UniqueFd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail(Errc::unavailable, std::string("sandbox: no socket: ") + std::strerror(errno));
  uid_t start = uid_t(std::hash<AttemptId>{}(attempt) % job_uid_count);
  for (uid_t i = 0; i < candidates; ++i) {
    uid_t uid = first_job_uid + (start + i) % job_uid_count;
    if (take(fd.get(), uid)) return JobUid(uid, std::move(fd));
  }
  return fail(Errc::unavailable, "sandbox: no free uid for the job among " + std::to_string(candidates), "another program binds the names @mayfly-uid-*");
}

}  // namespace mayfly
