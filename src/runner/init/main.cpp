// mayfly-init: the first process inside a job's sandbox. See ../README.md for what it says to whom.

#include <sys/prctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "runner/init/job.h"
#include "runner/init/service.h"

namespace {

using namespace mayfly;

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

InitDone run_job(Events& events, StepStarter& starter, int log_fd, const std::string& workspace) {
  JobShells shells(events, starter);
  events.wait([&] { return events.job || events.cancel; });
  if (events.cancel) return {.outcome = Outcome::canceled, .detail = "the job was canceled before its first step"};
  std::vector<std::string> secrets;
  for (auto& [name, value] : events.job->secrets) secrets.push_back(value);
  auto patterns = MaskPatterns::make(secrets);
  LogWriter log(log_fd, patterns, events.job->log_limit, events.job->log_begin);
  events.set_log(&log);
  warn_of_weak_secrets(log, *events.job, *patterns);
  auto env = inherited_env();
  auto tmp = env.contains("TMPDIR") ? env.at("TMPDIR") : "/tmp";
  Job job(events, starter, log, shells, *std::move(events.job), {.workspace = workspace, .env = std::move(env), .tmp = std::move(tmp)});
  auto done = job.run();
  events.set_log(nullptr);
  return done;
}

}  // namespace

int main(int argc, char** argv) {
  if (auto service = service_descriptor(argc, argv)) return run_service(*service);
  auto options = parse_init_options(argc, argv);
  if (!options) {
    std::fputs(init_usage, stderr);
    return 2;
  }
  auto failed = [](const Error& error) {
    std::fprintf(stderr, "mayfly-init: %s\n", error.message.c_str());
    return error.code == Errc::invalid ? 2 : 3;
  };
  if (options->kind == InitOptions::Kind::install) {
    auto installed = install_init(options->directory);
    return installed ? 0 : failed(installed.error());
  }
  auto channel = meet_sidecar(*options);
  if (!channel) return failed(channel.error());
  close_all_but(*channel);
  StepStarter starter;
  ::prctl(PR_SET_DUMPABLE, 0);
  adopt_orphans();
  Events events(*channel);
  auto done = run_job(events, starter, channel->log, options->workspace);
  events.send(done);
  events.wait([&] { return events.all_sent(); });
  events.await_goodbye();
  return 0;
}
