// mayfly-init: the first process inside a job's sandbox. See ../README.md for what it says to whom.

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "runner/init/job.h"

namespace {

using namespace mayfly;

struct Arguments {
  int control = -1;
  int log = -1;
  std::string workspace;
};

bool read_fd(const char* text, int& fd) {
  auto end = text + std::strlen(text);
  auto [at, ec] = std::from_chars(text, end, fd);
  return ec == std::errc{} && at == end && ::fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

bool read_arguments(int argc, char** argv, Arguments& a) {
  for (int i = 1; i + 1 < argc; i += 2) {
    std::string_view key = argv[i];
    if (key == "--control-fd" && read_fd(argv[i + 1], a.control)) continue;
    if (key == "--log-fd" && read_fd(argv[i + 1], a.log)) continue;
    if (key == "--workspace") {
      a.workspace = argv[i + 1];
      continue;
    }
    return false;
  }
  return argc % 2 == 1 && a.control > 2 && a.log > 2 && a.control != a.log && !a.workspace.empty();
}

/// Whatever else was left open by who started us is not for the job.
void close_others(const Arguments& a) {
  auto low = static_cast<unsigned>(std::min(a.control, a.log));
  auto high = static_cast<unsigned>(std::max(a.control, a.log));
  if (low > 3) ::close_range(3, low - 1, 0);
  if (high > low + 1) ::close_range(low + 1, high - 1, 0);
  ::close_range(high + 1, ~0u, 0);
}

Env inherited_env() {
  Env env;
  for (char** variable = environ; *variable; ++variable) {
    std::string_view text = *variable;
    if (auto equals = text.find('='); equals != text.npos && equals > 0) env.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return env;
}

void warn_of_weak_secrets(LogWriter& log, const InitJob& job, const MaskPatterns& patterns) {
  std::size_t i = 0;
  std::size_t next = 0;
  for (auto& [name, value] : job.secrets) {
    if (next < patterns.refused().size() && patterns.refused()[next] == i++) {
      ++next;
      log.say(0, "the secret '" + name + "' is " + (value.size() < 4 ? "shorter than 4 characters" : "too long") + " and is not masked",
              steady_now());
    }
  }
}

InitDone run_job(Events& events, StepStarter& starter, const Arguments& arguments) {
  events.wait([&] { return events.job || events.cancel; });
  if (events.cancel) return {.outcome = Outcome::canceled, .detail = "the job was canceled before its first step"};
  std::vector<std::string> secrets;
  for (auto& [name, value] : events.job->secrets) secrets.push_back(value);
  auto patterns = MaskPatterns::make(secrets);
  LogWriter log(arguments.log, patterns, events.job->log_limit);
  events.set_log(&log);
  warn_of_weak_secrets(log, *events.job, *patterns);
  auto env = inherited_env();
  auto tmp = env.contains("TMPDIR") ? env.at("TMPDIR") : "/tmp";
  Job job(events, starter, log, *std::move(events.job), {.workspace = arguments.workspace, .env = std::move(env), .tmp = std::move(tmp)});
  auto done = job.run();
  events.set_log(nullptr);
  return done;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  if (!read_arguments(argc, argv, arguments)) {
    std::fputs("mayfly-init: started by mayfly-runner with --control-fd N --log-fd N --workspace DIR\n", stderr);
    return 2;
  }
  close_others(arguments);
  StepStarter starter;
  ::prctl(PR_SET_DUMPABLE, 0);
  adopt_orphans();
  Events events(arguments.control);
  auto done = run_job(events, starter, arguments);
  events.send(done);
  events.wait([&] { return events.all_sent(); });
  return 0;
}
