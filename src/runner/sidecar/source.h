#pragma once
// The commit a job is about, in its workspace: a working tree and a .git with that commit in it. Blocking.

#include <string>
#include <vector>

#include "adapters/git/git_process.h"
#include "base/result.h"
#include "domain/runner/protocol.h"

namespace mayfly {

/// The server's own way of giving source: see domain/runner/protocol.h.
struct SourceWire {
  std::vector<std::string> urls = {};   // of the repository, one a gateway
  std::string token = {};               // reaches git in memory alone
  Fence fence = {};
};

struct SourceRequest {
  SourceRef source;
  std::string workspace;      // exists; empty but for what mkfs leaves there
  SourceWire wire = {};       // no urls: there is none
  std::string origin;         // what `origin` is called in the job's repository; may be empty
  std::chrono::milliseconds time_limit = std::chrono::minutes(10);
};

/// Checks the commit out. From a mirror of ours (a directory of this machine that holds the commit) it costs two git processes
/// side by side, one that writes the tree and one that packs the commit's objects; from anywhere else a fetch: over the wire where the
/// repository is a directory that is not on this machine, or here only in part. Submodules are not
/// fetched here but by the job, which may reach less (see submodule_step). Errc::not_found: no such commit. Errc::canceled: stopped.
Result<void> check_out(const SourceRequest& request, const StopFlag& stop);

/// What a step runs to bring submodules in.
std::string submodule_script(const CheckoutSpec& checkout);

}  // namespace mayfly
