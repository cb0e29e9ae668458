#include "runner/pod/runner.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "adapters/host_runners/runner_files.h"
#include "adapters/system/system_clock.h"
#include "adapters/system/system_entropy.h"
#include "base/log.h"
#include "runner/pod/sandbox.h"
#include "runner/sidecar/sidecar.h"

namespace mayfly {
namespace {

namespace asio = boost::asio;
namespace fs = std::filesystem;

constexpr const char* handed_over_file = "handed-over";
constexpr const char* crashed = "the runner ended while the job ran, and was started again: what the job had done is lost";

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::optional<PodPlaces> read_places(int argc, char** argv) {
  PodPlaces places;
  if (argc % 2 != 0) return std::nullopt;
  for (int i = 2; i < argc; i += 2) {
    std::string_view key = argv[i];
    if (key == "--meeting") places.meeting = argv[i + 1];
    else if (key == "--state") places.state = argv[i + 1];
    else if (key == "--workspace") places.workspace = argv[i + 1];
    else if (key == "--last-word") places.last_word = argv[i + 1];
    else return std::nullopt;
  }
  return places;
}

Result<RunnerFile> read_task() {
  auto text = variable(pod::runner_file_variable);
  if (text.empty()) return fail(Errc::invalid, std::string(pod::runner_file_variable) + " is not set", "mayfly-runner --pod is started by a pool's keeper");
  return runner_file_from_json(text);
}

/// The token is replaced, by renaming, before it expires.
Result<std::string> read_identity() {
  auto path = variable(pod::identity_file_variable);
  if (path.empty()) path = pod::identity_file;
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string token(max_identity_bytes + 1, '\0');
  auto n = fd ? ::read(fd.get(), token.data(), token.size()) : -1;
  if (n <= 0) return fail(Errc::unavailable, "cannot read the pod's identity at '" + path + "'");
  if (n > ssize_t(max_identity_bytes)) return fail(Errc::too_large, "the pod's identity at '" + path + "' is over " + std::to_string(max_identity_bytes) + " bytes");
  token.resize(static_cast<std::size_t>(n));
  while (token.ends_with('\n')) token.pop_back();
  return token;
}

std::string runner_id() { return variable(pod::node_variable) + "/" + variable(pod::pod_variable) + "/" + variable(pod::pod_uid_variable); }

/// What an earlier process of this pod's runner left.
struct Past {
  bool handed_over = false;
  bool ended = false;
};

class PodRunner final {
 public:
  PodRunner(PodPlaces places, RunnerFile task) : places_(std::move(places)), task_(std::move(task)), clock_(io_.get_executor()), signals_(io_, SIGTERM, SIGINT) {}

  int run() {
    auto door = PodDoor::open(io_.get_executor(), places_.meeting);
    if (!door) {
      complain(door.error());
      return exit_code_;
    }
    door_ = *std::move(door);
    Scope scope(io_.get_executor());
    scope.spawn(course());
    io_.run();
    return exit_code_;
  }

 private:
  std::string state(const char* file) const { return places_.state + "/" + file; }

  Past look_back() const { return {.handed_over = fs::exists(state(handed_over_file)), .ended = fs::exists(state(ended_file_name))}; }

  void complain(const Error& error) {
    log_error("the runner cannot do its work", {{"error", error.message}});
    exit_code_ = 1;
  }

  Task<void> course() {
    auto past = look_back();
    if (past.handed_over || past.ended) door_->hang_up();   // there is nothing for a job's container any more
    Result<void> done;
    if (!past.ended) done = co_await run_attempt(past);
    door_->hang_up();
    if (done) co_await farewell();
    else complain(done.error());
    door_.reset();
    signals_.cancel();   // nothing is waited for any more
  }

  /// A predecessor may have begun; of what it did nothing was shown to the job.
  Result<void> clean() const {
    std::error_code ec;
    fs::remove(state("log"), ec);
    for (fs::directory_iterator at(places_.workspace, ec), end; !ec && at != end; at.increment(ec)) fs::remove_all(at->path(), ec);
    if (ec) return fail(Errc::unavailable, "cannot empty '" + places_.workspace + "': " + ec.message());
    return {};
  }

  SidecarSpec spec(const Past& past, std::string identity) const {
    SidecarSpec spec;
    auto& runner = task_.spec;
    spec.runner = runner;
    spec.sandbox = {.attempt = runner.attempt, .image = runner.image, .network = runner.network, .cpu_milli = runner.cpu_milli, .memory_bytes = runner.memory_bytes,
                    .disk_bytes = runner.disk_bytes, .pids = runner.pids, .isolation = runner.isolation, .services = runner.services, .attempt_dir = places_.state, .init_path = pod::installed_init};
    spec.runner_id = runner_id();
    spec.identity = std::move(identity);
    spec.platform_patience = keeper_patience;
    if (past.handed_over) spec.lost = crashed;
    return spec;
  }

  /// Errors: nothing was asked of the server yet; started again, it may go better.
  Task<Result<void>> run_attempt(Past past) {
    if (!past.handed_over) CO_TRY(clean());
    CO_TRY_ASSIGN(auto identity, read_identity());
    SystemEntropy entropy;
    auto offload = make_thread_offload(1);
    http::Client client(io_.get_executor());
    RunnerApi api(client, clock_, entropy, task_.spec.api_url, task_.spec.attempt);
    auto launch = [this](Loop, SandboxSpec what) -> Task<Result<std::unique_ptr<Sandbox>>> {
      auto note = [path = state(handed_over_file)] { return write_file_atomically(path, ""); };
      co_return std::make_unique<PodSandbox>(*door_, clock_, what, places_.workspace, note);
    };
    Sidecar sidecar(io_.get_executor(), clock_, *offload, api, launch, spec(past, std::move(identity)));
    Scope scope(io_.get_executor());
    scope.spawn(evict_on_signal(sidecar));
    auto end = co_await sidecar.run();
    scope.cancel();
    co_await scope.join();
    leave_last_word(end);
    co_return Result<void>{};
  }

  Task<void> evict_on_signal(Sidecar& sidecar) {
    for (;;) {
      co_await next_signal();
      sidecar.evict(pod_grace);
    }
  }

  Task<void> next_signal() {
    boost::system::error_code ec;
    co_await signals_.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    co_await throw_if_canceled();
    told_to_go_ = true;
  }

  void leave_last_word(const SidecarEnd& end) {
    EndedFile word{end.reason, end.detail};
    if (!end.refused) tell_platform(word);
    if (auto kept = write_file_atomically(state(ended_file_name), to_json(word)); !kept) log_warn("cannot note the end", {{"error", kept.error().message}});
  }

  void tell_platform(EndedFile word) const {
    word.detail.resize(std::min(word.detail.size(), max_last_word_bytes / 8));   // six bytes a character, if it is escaped
    auto text = to_json(word);
    UniqueFd fd(::open(places_.last_word.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!fd || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) log_warn("cannot leave the last word", {{"at", places_.last_word}});
  }

  /// A native sidecar that ends before its pod is started again.
  Task<void> farewell() {
    if (told_to_go_) co_return;
    Scope waiting(io_.get_executor());
    auto limit = clock_.make_timer();
    auto wait = [](PodRunner& self, Timer& limit) -> Task<void> {
      co_await self.next_signal();
      limit.cancel();
    };
    waiting.spawn(wait(*this, *limit));
    co_await limit->wait_until(clock_.now() + farewell_limit);
    waiting.cancel();
    co_await waiting.join();
  }

  PodPlaces places_;
  RunnerFile task_;
  asio::io_context io_{1};
  SystemClock clock_;
  asio::signal_set signals_;
  std::unique_ptr<PodDoor> door_;
  bool told_to_go_ = false;
  int exit_code_ = 0;
};

}  // namespace

int run_in_pod(int argc, char** argv) {
  auto places = read_places(argc, argv);
  if (!places) {
    std::fputs("mayfly-runner: --pod takes --meeting DIR, --state DIR, --workspace DIR, --last-word FILE\n", stderr);
    return 2;
  }
  ::prctl(PR_SET_DUMPABLE, 0);
  std::signal(SIGPIPE, SIG_IGN);
  auto task = read_task();
  if (!task) {
    log_error("cannot read what to run", {{"error", task.error().message}});
    return 1;
  }
  return PodRunner(*std::move(places), *std::move(task)).run();
}

}  // namespace mayfly
