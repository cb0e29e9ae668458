#include "runner/docker/launcher.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <sstream>

#include "adapters/docker/engine.h"
#include "adapters/docker/pull.h"
#include "base/log.h"
#include "base/text.h"
#include "runner/docker/container_plan.h"
#include "runner/docker/engine_network.h"
#include "runner/docker/engine_thread.h"
#include "runner/docker/streams.h"
#include "runner/docker/weaken.h"
#include "runner/sandbox/init_file.h"
#include "runner/sandbox/root.h"
#include "runner/sandbox/uids.h"

namespace mayfly {
namespace {

constexpr Duration first_look = std::chrono::milliseconds(5);      // at a container whose streams have ended
constexpr Duration slowest_look = std::chrono::milliseconds(250);
constexpr Duration kill_after_hang_up = std::chrono::seconds(2);   // of a container that goes on without its streams
constexpr Duration service_look = std::chrono::milliseconds(250);
constexpr Duration service_watch = std::chrono::seconds(1);
constexpr Duration service_patience = std::chrono::minutes(5);     // until it is ready
constexpr std::size_t max_service_line = 1000;
constexpr int service_lines = 20;

Time now() { return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()); }

std::unexpected<Error> failed(const std::string& what) { return fail(Errc::unavailable, "cannot " + what + ": " + std::strerror(errno)); }

Result<void> make_directory(const std::string& path, mode_t mode, uid_t uid, gid_t gid) {
  if (mkdir(path.c_str(), 0700) != 0 || chmod(path.c_str(), mode) != 0 || (geteuid() == 0 && chown(path.c_str(), uid, gid) != 0)) return failed("make " + path);
  return {};
}

Result<void> make_file(const std::string& path, const std::string& text) {
  TRY(write_file_atomically(path, text));
  if (chmod(path.c_str(), 0444) != 0) return failed("make " + path);
  return {};
}

std::string accounts(uid_t uid) {
  return std::string("root:x:0:0:root:/root:/bin/sh\n") + job_user + ":x:" + std::to_string(uid) + ":" + std::to_string(uid) + ":Mayfly job:" + job_home +
         ":/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n";
}

std::string groups(gid_t gid) { return std::string("root:x:0:\n") + job_user + ":x:" + std::to_string(gid) + ":\nnogroup:x:65534:\n"; }

/// Said by an engine, a storage driver or a runtime in many ways.
Error told_apart(Error error) {
  if (error.message.contains("no space left on device")) error.code = Errc::too_large;
  return error;
}

struct Ending {
  Result<SandboxExit> exit;
  bool out_of_memory = false;
};

class DockerSandbox final : public Sandbox {
 public:
  DockerSandbox(Loop loop, SandboxSpec spec, DockerPlace place, std::function<void(docker::ContainerSpec&)> weaken)
      : loop_(loop), spec_(std::move(spec)), place_(std::move(place)), weaken_(std::move(weaken)), services_ready_(std::make_shared<Promised<std::optional<ServiceFailure>>>(loop)),
        service_ended_(std::make_shared<Promised<std::optional<ServiceFailure>>>(loop)), ending_(std::make_shared<Promised<Ending>>(loop)), engine_(thread_.loop(), place_.socket), timers_(make_system_timers(thread_.loop())) {}

  ~DockerSandbox() override {
    thread_.stop();
    streams_.reset();
    if (may_be_there_) thread_.run_last(remove_all());
  }

  Task<Result<void>> launch() {
    auto launched = std::make_shared<Promised<Result<void>>>(loop_);
    std::stop_callback stopped(spec_.stop, [this, launched] { tell(launched, Result<void>(fail(Errc::canceled, "nobody wants the container any more"))); });
    thread_.spawn([this, launched] { return bring_up_and_serve(launched); });
    co_await launched->wait();
    co_return launched->value();
  }

  const SandboxPaths& paths() const override { return paths_; }

  /// Its rules stand before the container is said to be launched.
  Task<Result<void>> network_ready() override { co_return Result<void>{}; }

  Task<std::optional<ServiceFailure>> start_services() override {
    if (spec_.services.empty()) co_return std::nullopt;
    std::stop_callback stopped(spec_.stop, [this] { tell(services_ready_, std::optional(ServiceFailure{.name = spec_.services.front().name, .reason = Reason::canceled, .what = "nobody wants the services any more"})); });
    thread_.spawn([this] { return bring_up_services(); });
    co_await services_ready_->wait();
    co_return services_ready_->value();
  }

  Task<std::optional<ServiceFailure>> service_ended() override {
    if (spec_.services.empty()) co_return std::nullopt;
    thread_.spawn([this] { return watch_services(); });
    co_await service_ended_->wait();
    co_return service_ended_->value();
  }

  Task<Result<SandboxExit>> wait() override {
    co_await ending_->wait();
    co_return ending_->value().exit;
  }

  void kill() override {
    if (!ending_->is_set()) thread_.spawn([this] { return kill_soon(); });
  }

  bool out_of_memory() const override { return ending_->is_set() && ending_->value().out_of_memory; }
  bool disk_full() const override { return false; }

 private:
  template <class T>
  void tell(const std::shared_ptr<Promised<T>>& whom, T value) {
    post_to(loop_, [whom, value = std::move(value)]() mutable { whom->set(std::move(value)); });
  }

  // What follows runs on the engine's thread.

  Task<void> bring_up_and_serve(std::shared_ptr<Promised<Result<void>>> launched) {
    auto up = co_await bring_up();
    if (!up) up = std::unexpected(told_apart(up.error()));
    tell(launched, up);
    if (up) co_await serve();
  }

  Task<Result<void>> bring_up() {
    CO_TRY_ASSIGN(auto name, image_of(spec_.image, place_));
    CO_TRY_ASSIGN(auto image, co_await have_image(name));
    seat_.image = image.id;
    CO_TRY(choose_owner());
    CO_TRY(make_files());
    CO_TRY(co_await choose_network());
    may_be_there_ = true;
    auto wanted = job_container(spec_, place_, seat_);
    if (weaken_) weaken_(wanted);
    auto created = co_await engine_.create(std::move(wanted));
    if (!created) {
      if (created.error().code == Errc::conflict) may_be_there_ = false;  // another runner's, and not ours to end
      co_return std::unexpected(created.error());
    }
    container_ = *created;
    CO_TRY_ASSIGN(auto tunnel, co_await engine_.attach(container_));
    streams_ = std::make_unique<ContainerStreams>(thread_.loop(), std::move(tunnel), spec_.control_fd, spec_.log_fd);
    CO_TRY(co_await engine_.start(container_));
    if (guarded_) CO_TRY(guard_network(place_.socket, *guarded_));
    co_return Result<void>{};
  }

  /// What is there is taken as it is: names that move are the registry's business, and a pull for each job the engine's ruin.
  Task<Result<docker::Image>> have_image(docker::ImageName name) {
    auto known = co_await engine_.image(to_string(name));
    if (known || known.error().code != Errc::not_found) co_return known;
    auto began = now();
    say("pulling the image " + to_string(name));
    CO_TRY(co_await pull(name));
    say("pulled the image " + to_string(name) + " in " + format_duration(std::chrono::duration_cast<std::chrono::seconds>(now() - began)));
    co_return co_await engine_.image(to_string(name));
  }

  Task<Result<void>> pull(docker::ImageName name) {
    for (int tries = 1;; ++tries) {
      docker::PullProgress progress(to_string(name), now());
      auto take = [&](std::string_view line) -> Result<void> {
        TRY(progress.take(line));
        if (auto sentence = progress.say(now())) say(*sentence);
        return {};
      };
      auto pulled = co_await engine_.pull(name, take);
      if (pulled) co_return pulled;
      auto error = pulled.error();
      bool passes = error.code == Errc::unavailable || error.code == Errc::rate_limited || error.code == Errc::timeout;
      if (!passes) co_return std::unexpected(error);
      if (tries == pull_tries) co_return fail(Errc::timeout, error.message + " (" + std::to_string(tries) + " tries)", error.hint);
      auto pause = std::chrono::seconds(1 << tries);
      say(error.message + "; the next try is in " + format_duration(pause));
      co_await rest(pause);
    }
  }

  Result<void> choose_owner() {
    seat_.uid = getuid();
    seat_.gid = getgid();
    if (geteuid() != 0) return {};
    TRY_ASSIGN(auto uid, JobUid::claim(spec_.attempt));
    uid_.emplace(std::move(uid));
    seat_.uid = seat_.gid = uid_->value();
    return {};
  }

  Result<void> make_files() {
    auto base = spec_.attempt_dir + "/container";
    auto& files = seat_.files;
    files = {.workspace = base + "/workspace", .home = base + "/home", .tmp = base + "/tmp", .var_tmp = base + "/var-tmp", .passwd = base + "/passwd", .group = base + "/group", .resolv_conf = {}, .init = {}};
    TRY(make_directory(base, 0711, 0, 0));
    for (auto& path : {files.workspace, files.home}) TRY(make_directory(path, 0755, seat_.uid, seat_.gid));
    for (auto& path : {files.tmp, files.var_tmp}) TRY(make_directory(path, 01777, seat_.uid, seat_.gid));
    TRY(make_file(files.passwd, accounts(seat_.uid)));
    TRY(make_file(files.group, groups(seat_.gid)));
    // gVisor reads what it executes as the job's own user; there init makes itself undumpable, which its /proc respects.
    files.init = spec_.init_path;
    if (spec_.isolation != "gvisor") {
      TRY_ASSIGN(files.init, exec_only_init(spec_.init_path, spec_.cache_dir));
    }
    paths_ = {files.workspace, job_workspace, seat_.uid, seat_.gid};
    return {};
  }

  Task<Result<void>> choose_network() {
    if (!spec_.network) co_return Result<void>{};
    if (!place_.network.empty()) {
      seat_.network = place_.network;
      co_return Result<void>{};
    }
    auto resolvers = usable_resolvers();
    CO_TRY_ASSIGN(guarded_, describe_network(spec_.allowed_networks, resolvers));
    if (geteuid() != 0) co_return guard_network(place_.socket, *guarded_);  // which says what is missing
    CO_TRY(co_await engine_.ensure_network(guarded_->name, guarded_->bridge, {{"mayfly.dev/managed", "true"}}));
    seat_.network = guarded_->name;
    seat_.files.resolv_conf = spec_.attempt_dir + "/container/resolv.conf";
    co_return make_file(seat_.files.resolv_conf, resolver_file(resolvers));
  }

  Task<void> serve() {
    auto streamed = co_await stream();
    auto ending = co_await find_ending(streamed);
    tell(ending_, std::move(ending));
  }

  /// They go however this ends, for a deadline of theirs would keep the thread waiting.
  Task<Result<void>> stream() {
    struct Guard {
      std::unique_ptr<ContainerStreams>& streams;
      ~Guard() { streams.reset(); }
    } guard{streams_};
    co_return co_await streams_->run();
  }

  /// The streams are over: so is the container, or it is made to be, or its engine is gone.
  Task<Ending> find_ending(Result<void> streamed) {
    auto began = now();
    auto heard = began;
    for (auto pause = first_look;; pause = std::min(2 * pause, slowest_look)) {
      auto seen = co_await engine_.inspect(container_);
      if (seen && !seen->running) co_return ending_of(*seen);
      if (!seen && seen.error().code == Errc::not_found) co_return lost("its container was removed by somebody");
      if (seen) heard = now();
      else if (now() - heard > engine_patience) co_return lost("the Docker engine is gone: " + seen.error().message);
      if (seen && now() - began > kill_after_hang_up) (void)co_await engine_.kill(container_);
      if (now() - began > container_kill_patience) co_return lost("its container does not die" + (streamed ? std::string() : ": " + streamed.error().message));
      co_await rest(pause);
    }
  }

  Ending ending_of(const docker::Container& container) const {
    auto detail = container.error;
    bool shot = container.exit_code == 128 + SIGKILL && !killed_ && !container.out_of_memory;
    if (detail.empty() && shot) detail = "its container was killed by somebody";
    if (detail.empty() && container.exit_code != 0) detail = "its container ended with " + std::to_string(container.exit_code);
    return {SandboxExit{container.exit_code, detail}, container.out_of_memory};
  }

  static Ending lost(std::string why) { return {fail(Errc::unavailable, std::move(why)), false}; }

  Task<void> bring_up_services() {
    std::optional<ServiceFailure> failure;
    for (auto& service : spec_.services)
      if (!failure) failure = co_await bring_up_service(service);
    for (auto& service : spec_.services)
      if (!failure) failure = co_await wait_for_service(service);
    tell(services_ready_, std::move(failure));
  }

  Task<std::optional<ServiceFailure>> bring_up_service(ServiceSpec service) {
    auto started = co_await start_service(service);
    if (started) co_return std::nullopt;
    auto error = told_apart(started.error());
    bool passes = error.code == Errc::unavailable || error.code == Errc::timeout || error.code == Errc::too_large;
    auto reason = error.code == Errc::not_found || error.code == Errc::forbidden || error.code == Errc::timeout ? Reason::image_pull : error.code == Errc::unsupported ? Reason::refused : Reason::service;
    co_return ServiceFailure{.name = service.name, .reason = reason, .again = passes, .what = "the service '" + service.name + "' could not be started: " + error.message};
  }

  Task<Result<void>> start_service(ServiceSpec service) {
    auto seat = seat_;
    CO_TRY_ASSIGN(auto name, image_of(service.image, place_));
    CO_TRY_ASSIGN(auto image, co_await have_image(name));
    seat.image = image.id;
    CO_TRY_ASSIGN(auto id, co_await engine_.create(service_container(spec_, place_, seat, service)));
    co_return co_await engine_.start(id);
  }

  Task<std::optional<ServiceFailure>> wait_for_service(ServiceSpec service) {
    for (auto until = now() + service_patience;;) {
      auto seen = co_await engine_.inspect(service_name(spec_.attempt, service.name));
      if (!seen) co_return ServiceFailure{.name = service.name, .again = true, .what = "the service '" + service.name + "' is lost: " + seen.error().message};
      if (!seen->running) co_return co_await failure_of(service, *seen);
      if (service.ready.empty() || seen->health == "healthy") co_return std::nullopt;
      if (now() > until) {
        auto failure = co_await failure_of(service, *seen);
        failure.what = "the service '" + service.name + "' was not ready in " + format_duration(service_patience) + ": " + seen->health_said;
        co_return failure;
      }
      co_await rest(service_look);
    }
  }

  Task<ServiceFailure> failure_of(ServiceSpec service, docker::Container seen) {
    ServiceFailure failure{.name = service.name, .what = "the service '" + service.name + "' ended with " + std::to_string(seen.exit_code)};
    if (seen.out_of_memory) failure.what = "the service '" + service.name + "' ran out of memory";
    auto said = co_await engine_.tail(service_name(spec_.attempt, service.name), service_lines);
    std::istringstream lines(said ? clean_text(*said) : std::string());
    for (std::string line; std::getline(lines, line);) failure.last_lines.push_back(line.substr(0, max_service_line));
    co_return failure;
  }

  /// While the job runs. An engine that does not answer is the job's end, too, and told there.
  Task<void> watch_services() {
    for (;;) {
      for (auto& service : spec_.services) {
        auto seen = co_await engine_.inspect(service_name(spec_.attempt, service.name));
        if (!seen || seen->running) continue;
        tell(service_ended_, std::optional(co_await failure_of(service, *seen)));
        co_return;
      }
      co_await rest(service_watch);
    }
  }

  Task<void> kill_soon() {
    killed_ = true;
    if (streams_) streams_->set_deadline(now() + container_kill_patience);
    if (!container_.empty()) (void)co_await engine_.kill(container_);
  }

  Task<void> remove_all() {
    auto all = co_await engine_.list({"mayfly.dev/attempt=" + spec_.attempt.str(), "mayfly.dev/home=" + place_.home});
    if (!all) {
      log_warn("the job's containers could not be removed: the pool's keeper will", {{"attempt", spec_.attempt.str()}, {"error", all.error().message}});
      co_return;
    }
    for (auto& container : *all) {
      auto removed = co_await engine_.remove(container.id);
      if (!removed) log_warn("a container could not be removed: the pool's keeper will", {{"attempt", spec_.attempt.str()}, {"error", removed.error().message}});
    }
  }

  Task<void> rest(Duration d) {
    auto timer = timers_->make_timer();
    co_await timer->wait_until(now() + d);
  }

  void say(std::string text) {
    log_info(text, {{"attempt", spec_.attempt.str()}});
    if (spec_.say) post_to(loop_, [say = spec_.say, alive = std::weak_ptr(ending_), text = std::move(text)] { if (alive.lock()) say(text); });
  }

  Loop loop_;
  const SandboxSpec spec_;
  const DockerPlace place_;
  const std::function<void(docker::ContainerSpec&)> weaken_;
  SandboxPaths paths_;
  std::shared_ptr<Promised<std::optional<ServiceFailure>>> services_ready_, service_ended_;
  std::shared_ptr<Promised<Ending>> ending_;
  EngineThread thread_;
  docker::Engine engine_;
  std::unique_ptr<TimerSource> timers_;
  std::unique_ptr<ContainerStreams> streams_;
  std::optional<JobUid> uid_;
  ContainerSeat seat_;
  std::optional<EngineNetwork> guarded_;
  std::string container_;
  bool killed_ = false;          // by us
  bool may_be_there_ = false;    // a container of ours; read by others only once the thread has stopped
};

}  // namespace

Task<Result<std::unique_ptr<Sandbox>>> launch_in_docker_with(Loop loop, SandboxSpec spec, DockerPlace place, std::function<void(docker::ContainerSpec&)> weaken) {
  auto sandbox = std::make_unique<DockerSandbox>(std::move(loop), std::move(spec), std::move(place), std::move(weaken));
  CO_TRY(co_await sandbox->launch());
  co_return sandbox;
}

Task<Result<std::unique_ptr<Sandbox>>> launch_in_docker(Loop loop, SandboxSpec spec, DockerPlace place) {
  return launch_in_docker_with(std::move(loop), std::move(spec), std::move(place), {});
}

}  // namespace mayfly
