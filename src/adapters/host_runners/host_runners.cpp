#include "adapters/host_runners/host_runners.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>

#include "adapters/host_runners/runner_process.h"
#include "adapters/sandbox/disk.h"
#include "async/signal.h"
#include "async/system_timer.h"
#include "base/log.h"
#include "domain/pipeline/plan.h"

namespace mayfly {
namespace {

namespace asio = boost::asio;
namespace fs = std::filesystem;

constexpr std::size_t max_last_words_bytes = 300;

Time now() { return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()); }

/// The end of the runner's own log: what there is to say about one that left no other word.
std::string last_words(const std::string& directory) {
  UniqueFd fd(open((directory + "/" + runner_log_name).c_str(), O_RDONLY | O_CLOEXEC));
  struct stat st;
  if (!fd || fstat(fd.get(), &st) != 0) return {};
  std::string text(max_last_words_bytes, '\0');
  auto n = pread(fd.get(), text.data(), text.size(), std::max<off_t>(0, st.st_size - off_t(text.size())));
  text.resize(n > 0 ? std::size_t(n) : 0);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.empty() ? "" : ": " + text;
}

RunnerStatus ended_status(const std::string& directory, AttemptId attempt) {
  auto text = read_small_file(directory + "/" + ended_file_name);
  if (text)
    if (auto ended = ended_file_from_json(*text)) return {attempt, false, ended->reason, ended->detail};
  return {attempt, false, Reason::runner_lost, "the runner's process is gone" + last_words(directory)};
}

/// A runner that was alive when it was looked at.
struct LiveRunner {
  RunnerStatus status;
  std::optional<UniqueFd> pidfd;
};

LiveRunner look_at(const std::string& directory, AttemptId attempt) {
  auto text = read_small_file(directory + "/" + process_file_name);
  if (text)
    if (auto process = runner_process_from_json(*text))
      if (auto pidfd = find_process(*process)) return {{attempt, true, Reason::none, ""}, std::move(pidfd)};
  return {ended_status(directory, attempt), std::nullopt};
}

void keep_log_bounded(const std::string& directory) {
  auto log = directory + "/" + runner_log_name;
  struct stat st;
  if (stat(log.c_str(), &st) == 0 && st.st_size > max_runner_log_bytes) (void)truncate(log.c_str(), 0);
}

class HostRunners final : public Executor {
 public:
  HostRunners(Loop loop, Offload& offload, HostRunnersOptions options)
      : state_(std::make_shared<State>(loop)), offload_(offload), options_(std::move(options)), runners_(options_.data_dir + "/runners"),
        timers_(make_system_timers(loop)), spares_(std::make_shared<SpareDisks>(options_.data_dir + "/sandbox", options_.spare_disks)), mounts_(CgroupMounts::find()) {
    prepare_spares(JobSpec{}.disk_bytes);
  }

  Task<Result<void>> start(RunnerSpec spec) override {
    auto attempt = spec.attempt;
    auto disk_bytes = spec.disk_bytes;
    state_->starting.insert(attempt);
    auto pidfd = co_await offload(offload_, [this, &spec] { return start_blocking(std::move(spec)); });
    state_->starting.erase(attempt);
    if (!pidfd) co_return std::unexpected(pidfd.error());
    watch(attempt, *std::move(pidfd));
    prepare_spares(disk_bytes);
    co_return Result<void>{};
  }

  Task<Result<void>> stop(AttemptId attempt, Duration grace) override {
    auto runner = co_await offload(offload_, [this, attempt] { return look_at(directory(attempt), attempt); });
    if (!runner.pidfd) co_return Result<void>{};
    auto watched = watch(attempt, *std::move(runner.pidfd));
    send(*watched, SIGTERM);
    if (co_await gone(watched, grace)) co_return Result<void>{};
    co_await offload(offload_, [this, attempt] { kill_attempt_cgroups(mounts_, attempt); });
    send(*watched, SIGKILL);
    if (co_await gone(watched, runner_kill_patience)) co_return Result<void>{};
    co_return fail(Errc::timeout, "the runner of attempt " + attempt.str() + " does not die", "a process of it may hang in the kernel: see ps");
  }

  Task<Result<std::vector<RunnerStatus>>> list() override {
    auto starting = state_->starting;  // as it was before we look: what started meanwhile is found running
    auto found = co_await offload(offload_, [this] { return look_at_all(); });
    if (!found) co_return std::unexpected(found.error());
    std::vector<RunnerStatus> all;
    for (auto& runner : *found) {
      auto attempt = runner.status.attempt;
      if (runner.pidfd) watch(attempt, *std::move(runner.pidfd));
      bool on_its_way = starting.contains(attempt) || state_->starting.contains(attempt);
      all.push_back(on_its_way ? RunnerStatus{attempt, true, Reason::none, ""} : std::move(runner.status));
    }
    co_return all;
  }

  void on_end(std::function<void(RunnerStatus)> callback) override { state_->callback = std::move(callback); }

  Task<Result<void>> forget(AttemptId attempt) override {
    co_return co_await offload(offload_, [this, attempt] { return forget_blocking(attempt); });
  }

 private:
  struct Watched {
    explicit Watched(Loop loop) : descriptor(std::move(loop)) {}
    asio::posix::stream_descriptor descriptor;
    Signal ended;
    bool gone = false;
  };

  /// Shared with the handlers that wait in the loop when the executor goes.
  struct State {
    explicit State(Loop l) : loop(std::move(l)) {}
    Loop loop;
    std::map<AttemptId, std::shared_ptr<Watched>> watched;
    std::set<AttemptId> starting;
    std::function<void(RunnerStatus)> callback;
  };

  /// For the next attempt, which will likely want what the last one did.
  void prepare_spares(std::int64_t disk_bytes) {
    if (options_.spare_disks > 0) offload_.post([spares = spares_, disk_bytes] { spares->refill(disk_bytes); });
  }

  std::string directory(AttemptId attempt) const { return runners_ + "/" + attempt.str(); }

  Result<UniqueFd> start_blocking(RunnerSpec spec) {
    auto path = directory(spec.attempt);
    std::error_code ec;
    fs::create_directories(runners_, ec);
    if (mkdir(path.c_str(), 0700) != 0) {
      if (errno == EEXIST) return fail(Errc::conflict, "attempt " + spec.attempt.str() + " was started before");
      return fail(Errc::unavailable, "cannot make " + path + ": " + std::strerror(errno));
    }
    auto disk = spares_->take(spec.disk_bytes);
    RunnerCommand command{options_.runner_program, path, std::exchange(spec.boot_token, {}), disk.get()};
    auto attempt = spec.attempt;
    auto written = write_file_atomically(path + "/" + runner_file_name, to_json(options_.describe(std::move(spec))));
    auto spawned = written ? spawn_runner(command, mounts_, attempt) : std::unexpected(written.error());
    // Nothing runs: the attempt may be started again.
    if (!spawned) (void)remove_traces(attempt);
    return spawned;
  }

  Result<std::vector<LiveRunner>> look_at_all() const {
    std::vector<LiveRunner> all;
    std::error_code ec;
    for (auto& entry : fs::directory_iterator(runners_, ec)) {
      auto attempt = AttemptId::parse(entry.path().filename().string());
      if (!attempt) continue;
      keep_log_bounded(entry.path());
      all.push_back(look_at(entry.path(), *attempt));
    }
    if (ec && ec != std::errc::no_such_file_or_directory) return fail(Errc::unavailable, "cannot list " + runners_ + ": " + ec.message());
    return all;
  }

  Result<void> forget_blocking(AttemptId attempt) const {
    if (access(directory(attempt).c_str(), F_OK) != 0) return {};
    if (look_at(directory(attempt), attempt).pidfd) return fail(Errc::conflict, "attempt " + attempt.str() + " still runs", "stop it first");
    return remove_traces(attempt);
  }

  Result<void> remove_traces(AttemptId attempt) const {
    if (!remove_attempt_cgroups(mounts_, attempt))
      return fail(Errc::unavailable, "processes of attempt " + attempt.str() + " do not die", "see mayfly/" + attempt.str() + " in /sys/fs/cgroup");
    umount2((directory(attempt) + "/disk").c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);  // of a runner without a mount namespace of its own
    std::error_code ec;
    if (!options_.log_files.empty()) fs::remove(options_.log_files + "/" + attempt.str() + ".jsonl", ec);
    fs::remove_all(directory(attempt), ec);
    if (ec) return fail(Errc::unavailable, "cannot remove " + directory(attempt) + ": " + ec.message());
    return {};
  }

  std::shared_ptr<Watched> watch(AttemptId attempt, UniqueFd pidfd) {
    auto& slot = state_->watched[attempt];
    if (slot) return slot;
    slot = std::make_shared<Watched>(state_->loop);
    slot->descriptor.assign(pidfd.release());
    auto ended = [weak = std::weak_ptr(state_), attempt, path = directory(attempt)](boost::system::error_code ec) {
      if (auto state = weak.lock(); state && !ec) on_gone(*state, attempt, path);
    };
    slot->descriptor.async_wait(asio::posix::stream_descriptor::wait_read, std::move(ended));
    return slot;
  }

  static void on_gone(State& state, AttemptId attempt, const std::string& path) {
    auto watched = std::move(state.watched.extract(attempt).mapped());
    siginfo_t info;
    waitid(idtype_t(P_PIDFD), id_t(watched->descriptor.native_handle()), &info, WEXITED | WNOHANG);  // ours; an adopted one is init's
    watched->gone = true;
    watched->ended.notify();
    bool forgotten = access(path.c_str(), F_OK) != 0;
    if (state.callback && !forgotten) state.callback(ended_status(path, attempt));
  }

  static void send(Watched& watched, int signal) {
    if (watched.descriptor.is_open()) syscall(SYS_pidfd_send_signal, watched.descriptor.native_handle(), signal, nullptr, 0);
  }

  Task<bool> gone(std::shared_ptr<Watched> watched, Duration patience) {
    auto until = now() + patience;
    while (!watched->gone && now() < until) co_await watched->ended.wait(*timers_, until);
    co_return watched->gone;
  }

  std::shared_ptr<State> state_;
  Offload& offload_;
  HostRunnersOptions options_;
  std::string runners_;
  std::unique_ptr<TimerSource> timers_;
  std::shared_ptr<SpareDisks> spares_;  // shared with work that may outlast us
  const CgroupMounts mounts_;
};

}  // namespace

std::unique_ptr<Executor> make_host_runners(Loop loop, Offload& offload, HostRunnersOptions options) {
  return std::make_unique<HostRunners>(std::move(loop), offload, std::move(options));
}

}  // namespace mayfly
