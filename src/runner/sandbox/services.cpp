#include "runner/sandbox/services.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>

#include "base/log.h"

namespace mayfly {

namespace asio = boost::asio;

namespace {

constexpr auto await = asio::as_tuple(asio::use_awaitable);
constexpr unsigned max_preparing = 4;   // services whose images are fetched and unpacked at once
constexpr std::size_t max_said_bytes = 1000;

std::string size_of(std::int64_t bytes) { return bytes % (1 << 30) == 0 ? std::to_string(bytes >> 30) + " GiB" : std::to_string(bytes >> 20) + " MiB"; }

UniqueFd namespace_of(pid_t pid, const char* kind) { return UniqueFd(open(("/proc/" + std::to_string(pid) + "/ns/" + kind).c_str(), O_RDONLY | O_CLOEXEC)); }

}  // namespace

struct Services::One {
  One(Loop loop, const ServiceSpec& s) : spec(s), socket(std::move(loop)) {}
  ~One() { end(); }
  One(const One&) = delete;

  void end() {
    boost::system::error_code ignored;
    socket.close(ignored);
    if (!process || reaped) return;
    ::kill(process->pid, SIGKILL);
    while (waitpid(process->pid, nullptr, 0) < 0 && errno == EINTR) {}
    reaped = true;
  }

  const ServiceSpec& spec;
  asio::local::stream_protocol::socket socket;
  std::optional<ServiceParts> parts;
  std::optional<SpawnedJob> process;
  std::string incoming;
  bool reaped = false;
};

Services::Services(Loop loop, SandboxSpec spec, Defences defences, const SandboxParts& job, pid_t pid)
    : loop_(std::move(loop)), spec_(std::move(spec)), defences_(defences), job_(job), workers_(make_thread_offload(std::min<unsigned>(max_preparing, unsigned(spec_.services.size())))) {
  if (job.process.own_user_namespace) user_namespace_ = namespace_of(pid, "user");
  if (job.process.own_network) network_ = namespace_of(pid, "net");
  for (auto& service : spec_.services) all_.emplace_back(loop_, service);
}

Services::~Services() = default;

void Services::kill() {
  for (auto& one : all_) one.end();
}

Task<std::optional<ServiceFailure>> Services::start() {
  std::optional<ServiceFailure> failure;
  std::stop_source stop;
  std::stop_callback stopped(spec_.stop, [&stop] { stop.request_stop(); });
  Scope all(loop_);
  for (auto& one : all_) all.spawn(bring_up(one, all, stop, failure));
  co_await all.join();
  co_return failure;
}

/// The first failure ends the others' start.
Task<void> Services::bring_up(One& one, Scope& all, std::stop_source& stop, std::optional<ServiceFailure>& failure) {
  auto began = std::chrono::steady_clock::now();
  auto failed = co_await start_one(one, stop.get_token());
  if (failed) {
    if (!failure) failure = std::move(failed);
    stop.request_stop();
    all.cancel();
    co_return;
  }
  auto took = std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - began);
  if (spec_.say) spec_.say("the service '" + one.spec.name + "' is ready after " + format_duration(took));
}

Task<std::optional<ServiceFailure>> Services::start_one(One& one, std::stop_token stop) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) co_return not_started(one.spec, {Errc::unavailable, std::string("no socket: ") + std::strerror(errno), ""});
  one.socket.assign(asio::local::stream_protocol(), pair[0]);
  auto spec = spec_;
  spec.stop = stop;
  auto parts = co_await offload(*workers_, [&, control = pair[1]] { return prepare_service(spec, one.spec, defences_, job_, UniqueFd(control)); });
  co_await throw_if_canceled();
  if (!parts) co_return not_started(one.spec, parts.error());
  one.parts = *std::move(parts);
  one.parts->process.join_user_namespace = user_namespace_.get();
  one.parts->process.join_network = network_.get();
  auto spawned = spawn_job(one.parts->process);
  if (!spawned) co_return not_started(one.spec, spawned.error());
  one.process.emplace(*std::move(spawned));
  one.parts->control.reset();
  one.parts->output_writer.reset();
  one.parts->seccomp.reset();
  auto line = to_line(ServiceStart{.argv = one.parts->command, .env = one.parts->env, .directory = one.parts->directory, .ready = one.spec.ready});
  co_await asio::async_write(one.socket, asio::buffer(line), await);   // what is wrong shows when it is to answer
  co_await throw_if_canceled();
  auto report = co_await next_report(one);
  if (report && report->what == ServiceReport::What::ready) co_return std::nullopt;
  co_return failed(one, report, false);
}

Task<std::optional<ServiceFailure>> Services::ended() {
  std::optional<ServiceFailure> failure;
  Scope all(loop_);
  for (auto& one : all_) all.spawn(watch(one, all, failure));
  co_await all.join();
  co_return failure;
}

Task<void> Services::watch(One& one, Scope& all, std::optional<ServiceFailure>& failure) {
  auto report = co_await next_report(one);
  if (!failure) failure = failed(one, report, true);
  all.cancel();
}

Task<Result<ServiceReport>> Services::next_report(One& one) {
  char buffer[16384];
  for (;;) {
    if (auto end = one.incoming.find('\n'); end != one.incoming.npos) {
      auto report = service_report_from(std::string_view(one.incoming).substr(0, end));
      one.incoming.erase(0, end + 1);
      co_return report;
    }
    if (one.incoming.size() > max_service_report_bytes) co_return fail(Errc::too_large, "what it says of itself is over the limit");
    auto [ec, n] = co_await one.socket.async_read_some(asio::buffer(buffer), await);
    co_await throw_if_canceled();
    if (ec) co_return fail(Errc::unavailable, "its sandbox has ended");
    one.incoming.append(buffer, n);
  }
}

ServiceFailure Services::failed(One& one, const Result<ServiceReport>& report, bool while_job_ran) {
  ServiceFailure out{.name = one.spec.name, .what = "the service '" + one.spec.name + "' "};
  auto when = while_job_ran ? " while the job ran" : " before it was ready";
  bool out_of_memory = job_.cgroup->out_of_memory() && (!report || report->killed);
  if (out_of_memory) {
    out.what += "was killed" + std::string(when) + ": it and the job ran out of memory, their limit is " + size_of(spec_.memory_bytes);
  } else if (!report) {
    std::string said(max_said_bytes, '\0');
    auto n = read(one.parts->output_reader.get(), said.data(), said.size());
    said.resize(n > 0 ? std::size_t(n) : 0);
    while (said.ends_with('\n')) said.pop_back();
    auto failure = read_failure(one.parts->process, one.process->failure.get());
    out.what += "ended" + std::string(when) + ": " + (failure ? failure->message : said.empty() ? report.error().message : said);
    out.again = failure.has_value();
  } else if (report->what == ServiceReport::What::late) {
    out.what += "was not ready within " + format_duration(service_ready_limit) + ": " + report->how;
  } else {
    out.what += report->how + when;
  }
  if (report) out.last_lines = report->last_lines;
  return out;
}

ServiceFailure Services::not_started(const ServiceSpec& service, const Error& error) const {
  bool image = error.code == Errc::not_found || error.code == Errc::unsupported || error.code == Errc::corrupt || error.message.starts_with("image: ");
  bool final = error.code == Errc::not_found || error.code == Errc::unsupported || error.code == Errc::invalid || error.code == Errc::forbidden || error.code == Errc::too_large;
  return {.name = service.name, .reason = image ? Reason::image_pull : Reason::service, .again = !final,
          .what = "the service '" + service.name + "' could not be started: " + error.message + (error.hint.empty() ? "" : " (" + error.hint + ")")};
}

}  // namespace mayfly
