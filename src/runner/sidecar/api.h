#pragma once
// The server as a runner sees it (domain/runner/protocol.h). It may be gone for minutes at any time: every call is repeated,
// with growing pauses, until it is answered or a limit has passed, and each of them may be. There may be several gateways to
// the same server: when one does not answer, the next is asked at once, and kept to while it does.

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "async/task.h"
#include "base/digest.h"
#include "base/ids.h"
#include "domain/runner/protocol.h"
#include "domain/runner/shell.h"
#include "net/client.h"
#include "ports/clock.h"

namespace mayfly {

struct RetryLimits {
  Duration first_pause = std::chrono::milliseconds(50);
  Duration longest_pause = std::chrono::seconds(5);
  Duration give_up_after = std::chrono::minutes(10);
  Duration call_limit = std::chrono::seconds(30);      // of one exchange without a large body
  Duration transfer_limit = std::chrono::minutes(30);  // of one with
};

/// Errors of all calls: Errc::fenced, the attempt is no longer ours: stop. Errc::timeout, the server was not there for
/// give_up_after. Others are the server's word and final.
class RunnerApi final {
 public:
  /// All of them outlive this. `urls`: gateways to one server, separated by commas.
  RunnerApi(http::Client& client, Clock& clock, Entropy& entropy, std::string_view urls, AttemptId attempt, RetryLimits limits = {});

  /// Errc::conflict: another runner was first.
  Task<Result<StartAnswer>> start(StartRequest request);
  /// What start() gave; every later call carries it.
  void identify(std::string attempt_token, Fence fence);

  /// Long poll, one exchange: Errc::unavailable instead of repeating.
  Task<Result<HeartbeatAnswer>> heartbeat(HeartbeatRequest request);
  /// Without frames it is a question: what is wanted next?
  Task<Result<LogsAnswer>> logs(std::string frames);
  Task<Result<void>> steps(StepsReport report);
  /// The `size` bytes that `fd` holds from its beginning: to the blob store itself where the server names one and it can be
  /// reached, else through the server.
  Task<Result<void>> upload(std::string kind, std::string path, int fd, std::int64_t size, Sha256 digest);
  /// Writes to `fd`, which is emptied first; checks size and digest. Errc::corrupt if they differ.
  Task<Result<void>> download(NeededArtifact artifact, int fd);
  /// Runs `use` on the runner's end of a shell, once a gateway has answered; not repeated after that.
  Task<Result<void>> shell(std::string shell, http::WebSocketUse use);
  Task<Result<void>> shell_ended(std::string shell, ShellReport report);
  /// Errc::invalid, among others: the server lacks bytes of the log.
  Task<Result<void>> finish(FinishReport report);

  /// For git, which talks to the same server by itself: this attempt's addresses, the one that works first, and what to show there.
  std::vector<std::string> addresses() const;
  const std::string& token() const { return token_; }
  Fence fence() const { return fence_; }

  const RetryLimits& limits() const { return limits_; }

 private:
  using MakeRequest = std::function<http::ClientRequest()>;
  Task<Result<http::ClientResponse>> call(MakeRequest make);
  bool try_next(std::size_t failed);
  Task<Result<void>> download_once(const NeededArtifact& artifact, int fd, bool direct);
  Task<Result<bool>> upload_direct(const NewUpload& upload, int fd);
  Task<Result<void>> upload_through(const NewUpload& upload, int fd);
  Task<bool> put_to_store(const PreparedUpload& where, int fd, std::int64_t size);
  http::BodySource bytes_of(int fd, std::int64_t size) const;
  Task<Result<void>> pause(int failures, Time give_up, const Error& last);
  http::ClientRequest request(std::string method, std::string path, std::string body) const;

  http::Client& client_;
  Clock& clock_;
  Entropy& entropy_;
  std::vector<std::string> bases_;   // "http://host/runner/v1/attempts/<id>"
  std::size_t current_ = 0;          // of bases_
  std::size_t failed_in_a_row_ = 0;  // of them
  bool store_reached_ = true;
  RetryLimits limits_;
  std::string token_;
  Fence fence_;
};

}  // namespace mayfly
