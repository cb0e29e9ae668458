// What isolation costs: a bare bubblewrap beside a whole sandbox, and where the difference goes; a bare runsc beside a whole job
// under gVisor, where MAYFLY_TEST_RUNSC or PATH has one. Run as root.
#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <thread>

#include "adapters/sandbox/tools.h"
#include "runner/sandbox/init_file.h"
#include "runner/sandbox/preparation.h"
#include "runner/sandbox/seccomp.h"

extern char** environ;

namespace mayfly {
namespace {

using Clock = std::chrono::steady_clock;

/// Of this process and of its children that have ended: what does not depend on who else is busy.
double cpu_ms() {
  double sum = 0;
  for (int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage used;
    getrusage(who, &used);
    for (auto& time : {used.ru_utime, used.ru_stime}) sum += double(time.tv_sec) * 1e3 + double(time.tv_usec) / 1e3;
  }
  return sum;
}

double ms_since(Clock::time_point start) { return std::chrono::duration<double, std::milli>(Clock::now() - start).count(); }

class Series final {
 public:
  explicit Series(std::string name) : name_(std::move(name)) {}
  void add(double ms) { values_.push_back(ms); }
  void print() {
    if (values_.empty()) return;
    std::ranges::sort(values_);
    std::printf("%-44s %8.2f %8.2f %8.2f\n", name_.c_str(), values_[values_.size() / 2], values_[values_.size() * 99 / 100], values_.front());
  }

 private:
  std::string name_;
  std::vector<double> values_;
};

template <class T>
T must(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "%s\n", result.error().message.c_str());
    std::exit(1);
  }
  return *std::move(result);
}

template <class T>
T wait_for(boost::asio::io_context& loop, Task<T> task) {
  std::optional<T> value;
  auto keep = [](Task<T> inner, std::optional<T>& out) -> Task<void> { out.emplace(co_await std::move(inner)); };
  boost::asio::co_spawn(loop, keep(std::move(task), value), [&loop](std::exception_ptr) { loop.stop(); });
  loop.restart();
  loop.run();
  return *std::move(value);
}

void run_command(std::vector<std::string> words) {
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t pid;
  if (posix_spawnp(&pid, argv[0], nullptr, nullptr, argv.data(), environ) != 0) std::exit(1);
  waitpid(pid, nullptr, 0);
}

AttemptId attempt_number(std::uint32_t number) {
  AttemptId id;
  auto unique = std::uint32_t(getpid());
  std::memcpy(id.value.bytes.data() + 8, &unique, 4);
  std::memcpy(id.value.bytes.data() + 12, &number, 4);
  return id;
}

struct Bench {
  std::string data;
  std::string init;
  std::string runsc;    // empty: none
  std::uint32_t next = 1;

  SandboxSpec spec(bool network, std::string isolation = "sandbox") {
    SandboxSpec spec;
    spec.isolation = std::move(isolation);
    spec.runsc = runsc;
    spec.attempt = attempt_number(next++);
    spec.network = network;
    spec.memory_bytes = std::int64_t(1) << 30;
    spec.disk_bytes = std::int64_t(4) << 30;
    spec.pids = 4096;
    spec.attempt_dir = data + "/runners/" + spec.attempt.str();
    spec.init_path = init;
    std::filesystem::create_directories(spec.attempt_dir);
    return spec;
  }

  void bare(Series& series) {
    auto start = Clock::now();
    run_command({"bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "true"});
    series.add(ms_since(start));
  }

  void bare_gvisor(Series& series) {
    auto start = Clock::now();
    run_command({runsc, "--root=" + data, "--platform=systrap", "--network=none", "--ignore-cgroups", "--host-settings=ignore", "--log=/dev/null", "do", "true"});
    series.add(ms_since(start));
  }

  /// To the first byte of a shell's first command, with the network up if there is one.
  void whole(SandboxSpec asked, Series& to_return, Series& to_network, Series& to_first_byte, Series& to_end, Series& teardown) {
    int control[2], log[2];
    if (pipe2(control, O_CLOEXEC) != 0 || pipe2(log, O_CLOEXEC) != 0) std::exit(1);
    asked.control_fd = control[0];
    asked.log_fd = log[1];
    boost::asio::io_context loop;
    auto start = Clock::now();
    auto sandbox = must(wait_for(loop, launch_sandbox(loop.get_executor(), asked)));
    to_return.add(ms_since(start));
    close(control[0]);
    close(log[1]);
    must(wait_for(loop, sandbox->network_ready()));
    to_network.add(ms_since(start));
    const char script[] = "echo x";
    if (write(control[1], script, sizeof script - 1) < 0) std::exit(1);
    close(control[1]);
    char byte;
    if (read(log[0], &byte, 1) != 1) std::exit(1);
    to_first_byte.add(ms_since(start));
    must(wait_for(loop, sandbox->wait()));
    to_end.add(ms_since(start));
    close(log[0]);
    start = Clock::now();
    sandbox.reset();
    teardown.add(ms_since(start));
  }

  void parts(std::vector<Series>& series) {
    auto asked = spec(false);
    auto cache = data + "/sandbox";
    auto at = Clock::now();
    auto lap = [&](std::size_t index) {
      series[index].add(ms_since(at));
      at = Clock::now();
    };
    auto uid = must(JobUid::claim(asked.attempt));
    lap(0);
    auto init_file = must(exec_only_init(init, cache));
    lap(1);
    {
      auto disk = must(AttemptDisk::create(asked.attempt_dir, cache, asked.disk_bytes));
      lap(2);
      must(compose_root({.disk = disk.path(), .image_root = "", .init = init_file, .resolv_conf = "", .hidden = {}, .owner = {uid.value(), uid.value()}}));
      lap(3);
      auto group = must(JobCgroup::create(CgroupMounts::find(), asked.attempt, {asked.memory_bytes, asked.cpu_milli, asked.pids}));
      lap(4);
      must(make_seccomp_filter());
      lap(5);
      group.remove();
      lap(6);
    }
    lap(7);
  }
};

/// The same five moments of a whole start, under a name.
struct Moments {
  explicit Moments(const std::string& name)
      : all{Series(name + ": launch_sandbox returns"), Series(name + ": network_ready"), Series(name + ": first byte of `echo`"), Series(name + ": ended and reaped"),
            Series(name + ": given back")} {}
  Series all[5];
  void print() {
    for (auto& series : all) series.print();
  }
};

void run_whole(Bench& bench, SandboxSpec spec, Moments& into) { bench.whole(std::move(spec), into.all[0], into.all[1], into.all[2], into.all[3], into.all[4]); }

void run(int rounds, const std::string& init) {
  char pattern[] = "/tmp/mayfly-bench-XXXXXX";
  auto* named = std::getenv("MAYFLY_TEST_RUNSC");
  Bench bench{mkdtemp(pattern), init, find_program(named && *named ? named : "runsc")};
  bool gvisor = !bench.runsc.empty();
  Series bare("bare bwrap --unshare-all true"), bare_gvisor("bare runsc do true");
  Moments none("no network"), net("network"), gvisor_none("gvisor, no network"), gvisor_net("gvisor, network");
  std::vector<Series> parts;
  for (auto name : {"part: uid", "part: init", "part: disk (4 GiB)", "part: root", "part: cgroups", "part: seccomp", "part: cgroups removed", "part: disk removed"})
    parts.emplace_back(name);
  std::printf("%-44s %8s %8s %8s\n", "ms", "p50", "p99", "min");
  Series cpu[] = {Series("cpu: bare bwrap"), Series("cpu: no network, all of it"), Series("cpu: network, all of it"), Series("cpu: bare runsc"), Series("cpu: gvisor, no network, all of it")};
  auto metered = [](Series& series, auto work) {
    auto before = cpu_ms();
    work();
    series.add(cpu_ms() - before);
  };
  for (int i = 0; i < rounds; ++i) {
    metered(cpu[0], [&] { bench.bare(bare); });
    metered(cpu[1], [&] { run_whole(bench, bench.spec(false), none); });
    metered(cpu[2], [&] { run_whole(bench, bench.spec(true), net); });
    if (gvisor) {
      metered(cpu[3], [&] { bench.bare_gvisor(bare_gvisor); });
      metered(cpu[4], [&] { run_whole(bench, bench.spec(false, "gvisor"), gvisor_none); });
      run_whole(bench, bench.spec(true, "gvisor"), gvisor_net);
    }
    bench.parts(parts);
  }
  bare.print();
  if (gvisor) bare_gvisor.print();
  for (auto& series : cpu) series.print();
  none.print();
  net.print();
  if (gvisor) gvisor_none.print(), gvisor_net.print();
  else std::puts("gvisor: not measured, there is no runsc (scripts/servers up runsc)");
  for (auto& series : parts) series.print();
  std::filesystem::remove_all(bench.data);
}

}  // namespace
}  // namespace mayfly

int main(int argc, char** argv) { mayfly::run(argc > 1 ? std::atoi(argv[1]) : 100, MAYFLY_TEST_INIT); }
