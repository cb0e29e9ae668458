#pragma once
// A host uid for each attempt that runs, so that two jobs are strangers to each other even where namespaces do not stand
// between them (keyrings, rlimits, files).

#include <sys/types.h>

#include "base/ids.h"
#include "base/result.h"
#include "adapters/sandbox/unique_fd.h"

namespace mayfly {

/// Between the uids of systemd's containers and the end of what 32-bit signed programs bear; nobody allots these.
inline constexpr uid_t first_job_uid = 1'880'000'000;
inline constexpr uid_t job_uid_count = 1 << 20;
inline constexpr uid_t image_uid = first_job_uid + job_uid_count;   // owns the files of all images, fetches and unpacks them, and nothing else

/// A uid (and the gid of the same number) that no other attempt on this machine holds until the object goes. The claim is a
/// socket name in the abstract namespace: atomic, shared by every Mayfly here, and given up by the kernel with the process.
class JobUid final {
 public:
  static Result<JobUid> claim(AttemptId attempt);
  uid_t value() const { return uid_; }

 private:
  JobUid(uid_t uid, UniqueFd claim) : uid_(uid), claim_(std::move(claim)) {}

  uid_t uid_;
  UniqueFd claim_;
};

}  // namespace mayfly
