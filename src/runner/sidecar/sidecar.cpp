#include "runner/sidecar/sidecar.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "runner/sidecar/attempt.h"

namespace mayfly {

Sidecar::Sidecar(Loop loop, Clock& clock, Offload& offload, RunnerApi& api, LaunchSandbox launch, SidecarSpec spec)
    : loop_(std::move(loop)), clock_(clock), offload_(offload), api_(api), launch_(std::move(launch)), spec_(std::move(spec)), born_at_(clock.now()) {}

Sidecar::~Sidecar() = default;

void Sidecar::cancel(Duration grace) {
  stop_.request_stop();
  if (attempt_) attempt_->cancel(grace);
  else early_cancel_ = grace;
}

void Sidecar::evict(Duration grace) {
  stop_.request_stop();
  if (attempt_) attempt_->evict(grace);
  else early_eviction_ = grace;
}

Task<SidecarEnd> Sidecar::run() {
  auto path = spec_.sandbox.attempt_dir + "/log";
  auto log = spec_.lost.empty() ? LogFile::create(path) : LogFile::open(path);
  if (!log) {
    bool second = log.error().code == Errc::conflict;
    co_return SidecarEnd{second ? Reason::exit_code : Reason::runner_lost, log.error().message};
  }
  log_.emplace(*std::move(log));
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
    co_return SidecarEnd{Reason::runner_lost, std::string("cannot make a socket: ") + std::strerror(errno)};
  link_ = std::make_unique<ControlLink>(loop_, pair[0]);
  init_end_ = UniqueFd(pair[1]);
  spec_.sandbox.control_fd = init_end_.get();
  spec_.sandbox.log_fd = log_->append_fd();
  spec_.sandbox.stop = stop_.get_token();
  spec_.sandbox.say = [this](std::string line) {
    if (auto said = log_->say(line, clock_.now()); !said) log_warn("a line could not be logged", {{"error", said.error().message}});
  };
  auto end = co_await run_both();
  sandbox_.reset();
  co_return end;
}

/// The sandbox starts while the boot token travels: whichever is slower is all that is waited for.
Task<SidecarEnd> Sidecar::run_both() {
  Scope scope(loop_);
  if (spec_.lost.empty()) scope.spawn(launch());
  else init_end_.reset();
  auto end = co_await run_attempt();
  stop_.request_stop();
  co_await scope.join();
  co_return end;
}

Task<void> Sidecar::launch() {
  auto launched = co_await launch_(loop_, spec_.sandbox);
  init_end_.reset();
  sandbox_.emplace(std::move(launched));
  launched_.notify();
}

Task<SidecarEnd> Sidecar::run_attempt() {
  StartRequest request;
  request.boot_token = std::exchange(spec_.runner.boot_token, {});
  request.identity = std::exchange(spec_.identity, {});
  request.runner_id = spec_.runner_id;
  request.isolation = isolation_from(spec_.sandbox.isolation);
  request.born_at = born_at_;
  auto answer = co_await api_.start(std::move(request));
  if (!answer) {
    auto& error = answer.error();
    log_warn("the attempt was not given to this runner", {{"attempt", spec_.runner.attempt.str()}, {"why", error.message}});
    bool refused = error.code == Errc::conflict;
    bool lost = error.code == Errc::timeout || error.code == Errc::unauthenticated;
    co_return SidecarEnd{lost ? Reason::runner_lost : Reason::exit_code, "not started: " + error.message, refused};
  }
  api_.identify(answer->attempt_token, answer->fence);
  attempt_ = std::make_unique<Attempt>(AttemptParts{loop_, clock_, offload_, api_, *log_, *link_, sandbox_, launched_, spec_, stop_}, *std::move(answer));
  if (early_cancel_) attempt_->cancel(*early_cancel_);
  if (early_eviction_) attempt_->evict(*early_eviction_);
  co_return co_await attempt_->run();
}

}  // namespace mayfly
