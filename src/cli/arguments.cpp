#include "cli/arguments.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <optional>
#include <utility>

#include "domain/pipeline/suggest.h"
#include "domain/runner/shell.h"


namespace mayfly::cli {
namespace {

/// The command line's grammar, filled in as it is read. One method a command, in the order of the help.
class Grammar final {
 public:
  explicit Grammar(const Environment& environment) : environment_(environment), app_("A push becomes a finished build.", "mayfly") {
    app_.require_subcommand(1);
    app_.set_help_flag("-h,--help", "Show this help");
    app_.set_version_flag("--version", MAYFLY_VERSION);
    connect(app_);
    app_.footer("Start here:\n  mayfly up                                        the server, on this machine\n"
                "  mayfly project add web --repo https://github.com/acme/web.git\n"
                "  mayfly trigger web --follow\n\n"
                "Exit codes: 0 done, 1 the build or check failed, 2 used wrongly, 3 the server could not be reached.");
    up();
    serve();
    project();
    trigger();
    builds();
    build();
    logs();
    shell();
    cancel();
    retry();
    artifacts();
    secret();
    pool();
    token();
    lint();
    plan();
    run();
    version();
  }

  std::expected<Invocation, Usage> parse(std::vector<std::string> arguments) {
    if (auto wrong = unknown_command(arguments)) return std::unexpected(*wrong);
    take_command(arguments);
    std::ranges::reverse(arguments);
    try {
      app_.parse(std::move(arguments));
    } catch (const CLI::ParseError& e) {
      return std::unexpected(usage(e));
    }
    return std::move(invocation_);
  }

 private:
  template <class T>
  CLI::App& command(CLI::App& parent, const std::string& name, const std::string& about, T& options, const std::string& example) {
    auto& sub = *parent.add_subcommand(name, about);
    sub.footer("Example:\n  " + example);
    sub.set_help_flag("-h,--help", "Show this help");
    sub.parse_complete_callback([this, &options, &sub] {
      if (sub.get_subcommands().empty()) invocation_.command = options;
    });
    return sub;
  }

  /// --server, --token-file and --json. Allowed before and after the command's name.
  void connect(CLI::App& sub) {
    sub.add_option("--server", invocation_.connection.server, "The server's URL (else MAYFLY_SERVER, else http://127.0.0.1:8080)")
        ->group("Server");
    sub.add_option("--token-file", invocation_.connection.token_file,
                   "File that holds the token (else MAYFLY_TOKEN, else the one `mayfly up` left)")
        ->group("Server");
    json(sub);
  }
  void json(CLI::App& sub) { sub.add_flag("--json", invocation_.json, "Print JSON for machines")->group("Server"); }

  void inputs(CLI::App& sub, Inputs& into) {
    sub.add_option_function<std::vector<std::string>>(
           "--input",
           [&into](const std::vector<std::string>& pairs) {
             for (auto& pair : pairs) {
               auto equals = pair.find('=');
               if (equals == std::string::npos || equals == 0)
                 throw CLI::ValidationError("--input", "'" + pair + "' is not KEY=VALUE");
               into[pair.substr(0, equals)] = pair.substr(equals + 1);
             }
           },
           "KEY=VALUE for the pipeline's inputs; may be repeated")
        ->allow_extra_args(false);
  }

  void build_argument(CLI::App& sub, std::string& into) {
    sub.add_option("BUILD", into, "A build's id, PROJECT#NUMBER, or PROJECT for its latest build")->required();
  }

  void isolation(CLI::App& sub, const char* name, Isolation& into, const char* help) {
    std::vector<std::string> words;
    for (auto& word : isolation_words) words.emplace_back(word.text);
    sub.add_option_function<std::string>(name, [&into](const std::string& word) { into = isolation_from(word).value_or(into); }, help)
        ->check(CLI::IsMember(std::move(words)));
  }

  void up() {
    auto& sub = command(app_, "up", "Run the server: every role in one process", up_, "mayfly up --listen 127.0.0.1:8080");
    up_.data_dir = default_data_dir(environment_);
    sub.add_option("--data", up_.data_dir, "Where everything is kept (else MAYFLY_DATA)")->capture_default_str();
    sub.add_option("--listen", up_.listen, "Address to serve: HOST:PORT or unix:PATH")->capture_default_str();
    sub.add_option("--slots", up_.slots, "How many jobs of one cpu run at once (0: one a core)")
        ->check(CLI::Range(0, 10'000))
        ->capture_default_str();
    sub.add_option("--images", up_.image_directories, "A directory in which `image: oci:PATH` and directory images may lie; may be given again")
        ->type_name("DIR")->check(CLI::ExistingDirectory);
    sub.add_flag("--user-namespaces", up_.user_namespaces, "Jobs may make user namespaces, as rootless builders of images must; weaker isolation");
    sub.add_option("--registry", up_.registries, "A registry whose images jobs may name besides public ones; http://HOST:PORT is asked without TLS; may be given again")
        ->type_name("HOST");
    sub.add_option("--registry-mirror", up_.registry_mirrors, "Asked first for another's images, like docker.io=http://127.0.0.1:5000; may be given again")
        ->type_name("HOST=URL");
    sub.add_option("--registry-auth", up_.registry_auth, "A file of credentials for registries, as `docker login` writes it")
        ->type_name("FILE")->check(CLI::ExistingFile);
    sub.add_option("--allow-network", up_.allowed_networks, "A private network that jobs may reach, like 10.1.0.0/16; may be given again")
        ->type_name("CIDR");
    sub.add_option_function<std::string>("--docker", [this](const std::string& socket) { up_.docker = socket.empty() ? "unix:///var/run/docker.sock" : socket; },
                                         "Jobs are containers of a Docker engine (else unix:///var/run/docker.sock)")
        ->type_name("SOCKET")->expected(0, 1);
    sub.add_option("--docker-image", up_.docker_image, "The image of jobs that name none, where they are containers")->type_name("IMAGE");
    sub.add_option("--docker-gvisor", up_.docker_gvisor, "The engine's runtime for jobs that want the isolation gvisor")->type_name("RUNTIME");
    isolation(sub, "--isolation-floor", up_.isolation_floor, "No job runs under weaker isolation");
    isolation(sub, "--fork-isolation-floor", up_.fork_isolation_floor, "Nor, under weaker than this, a job of a fork's build");
    sub.add_option("--log-level", up_.log_level, "debug, info, warn or error")
        ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
        ->capture_default_str();
  }

  void serve() {
    auto& sub = command(app_, "serve", "Run some roles over PostgreSQL, Kafka, Redis and S3", serve_,
                        "mayfly serve --config mayfly.yaml --roles gateway,builds");
    sub.add_option("--config", serve_.config_file, "The configuration; every key also as MAYFLY_… in the environment")
        ->type_name("FILE")->check(CLI::ExistingFile);
    sub.add_option("--roles", serve_.roles, "gateway, builds, scheduler, runners, logs; some of them with commas between (else as configured)")
        ->type_name("ROLES");
    sub.add_option("--listen", serve_.listen, "Address to serve: HOST:PORT or unix:PATH (else as configured)");
    sub.add_flag("--check", serve_.check, "Only say whether the configuration can be used");
  }

  void project() {
    auto& parent = *app_.add_subcommand("project", "Connected repositories: add, list");
    parent.require_subcommand(1);
    parent.footer("Example:\n  mayfly project add web --repo https://github.com/acme/web.git");
    auto& add = command(parent, "add", "Connect a repository", project_add_,
                        "mayfly project add web --repo https://github.com/acme/web.git --webhook-secret-file secret.txt");
    connect(add);
    add.add_option("NAME", project_add_.name, "What to call it here")->required();
    add.add_option("--repo", project_add_.repo_url, "Any URL or directory git can fetch from")->required();
    add.add_option("--organization", project_add_.organization, "Who shares are given to");
    auto* secret = add.add_option("--webhook-secret", project_add_.webhook_secret,
                                  "What the forge signs its webhooks with (other users of this machine can see it: prefer the file)");
    add.add_option("--webhook-secret-file", project_add_.webhook_secret_file, "File that holds it; - is standard input")->excludes(secret);
    add.add_option("--weight", project_add_.weight, "Its share beside the organization's other projects")->check(CLI::Range(1, 1000));
    connect(command(parent, "list", "List projects", project_list_, "mayfly project list"));
  }

  void trigger() {
    auto& sub = command(app_, "trigger", "Build a ref now", trigger_, "mayfly trigger web --ref main --input target=staging --follow");
    connect(sub);
    sub.add_option("PROJECT", trigger_.project, "The project's name or id")->required();
    sub.add_option("--ref", trigger_.ref, "Branch, tag or full ref (else main)");
    sub.add_option("--sha", trigger_.sha, "Commit to build (else what the ref names now)");
    inputs(sub, trigger_.inputs);
    hold(sub, trigger_.hold);
    sub.add_flag("-f,--follow", trigger_.follow, "Watch the build to its end; exit 1 unless it succeeds");
  }

  void builds() {
    auto& sub = command(app_, "builds", "List builds, newest first", builds_, "mayfly builds web --status failed");
    connect(sub);
    sub.add_option("PROJECT", builds_.project, "Only this project's");
    sub.add_option("--status", builds_.status, "queued, running, succeeded, failed or canceled")
        ->check(CLI::IsMember({"queued", "running", "succeeded", "failed", "canceled"}));
    sub.add_option("--ref", builds_.ref, "Only of this ref");
    sub.add_option("--limit", builds_.limit, "At most this many")->check(CLI::Range(1, 100'000))->capture_default_str();
  }

  void build() {
    auto& sub = command(app_, "build", "Show a build", build_, "mayfly build web#42 --watch");
    connect(sub);
    build_argument(sub, build_.build);
    sub.add_flag("-w,--watch", build_.watch, "Watch it to its end; exit 1 unless it succeeds");
  }

  void logs() {
    auto& sub = command(app_, "logs", "Print a build's or a job's log", logs_, "mayfly logs web#42 'test (postgres:15, 1)' -f");
    connect(sub);
    build_argument(sub, logs_.build);
    sub.add_option("JOB", logs_.job, "A job's name or id (else every job, each line with its job's name)");
    sub.add_flag("-f,--follow", logs_.follow, "Stay until the log ends; a broken connection resumes where it stopped");
  }

  void hold(CLI::App& sub, std::optional<Duration>& into) {
    sub.add_option_function<std::string>(
           "--hold",
           [&into](const std::string& text) {
             auto time = parse_duration(text);
             if (!time || *time < std::chrono::minutes(1) || *time > max_hold || *time % std::chrono::minutes(1) != Duration::zero())
               throw CLI::ValidationError("--hold", "'" + text + "' is not a time of whole minutes, 1m to " + format_duration(max_hold));
             into = *time;
           },
           "When a step fails, keep the job as it is for so long, for `mayfly shell`: 15m. Only an owner may")
        ->type_name("TIME");
  }

  void shell() {
    auto& sub = command(app_, "shell", "Open a shell in a running job, or run one command there", shell_,
                        "mayfly shell web#42 test\n  mayfly shell web#42 test -- cat report.txt\n  mayfly retry web#42 test --hold 15m\n  mayfly shell --release web#43 test\n\n"
                        "Exit code: that of the shell or command; 255 if it had none. At the beginning of a line ~. leaves a shell that does not answer.");
    connect(sub);
    sub.add_option("JOB", shell_.target, "A job's id, or its build as `mayfly logs` takes it")->required();
    sub.add_option("NAME", shell_.job, "The job's name in that build (else the one that runs)");
    sub.add_option("--attempt", shell_.attempt, "Only if this attempt of the job runs")->check(CLI::Range(1, 1'000'000));
    sub.add_flag("-T,--no-terminal", shell_.plain, "No terminal in the job: output as it is, standard error apart");
    sub.add_flag("--release", shell_.release, "Let a job that is held go on");
  }

  void cancel() {
    auto& sub = command(app_, "cancel", "Cancel a build", cancel_, "mayfly cancel web#42");
    connect(sub);
    build_argument(sub, cancel_.build);
  }

  void retry() {
    auto& sub = command(app_, "retry", "Build the same commit again; jobs that had succeeded are not run again", retry_,
                        "mayfly retry web#42 test");
    connect(sub);
    build_argument(sub, retry_.build);
    sub.add_option("JOB", retry_.jobs, "Only these jobs, by name (else those that did not succeed)");
    hold(sub, retry_.hold);
    sub.add_flag("-f,--follow", retry_.follow, "Watch the new build to its end; exit 1 unless it succeeds");
  }

  void artifacts() {
    auto& list = command(app_, "artifacts", "List or download what a build made", list_artifacts_,
                         "mayfly artifacts web#42\n  mayfly artifacts get web#42 app.tgz -o /tmp/app.tgz");
    connect(list);
    list.add_option("BUILD", list_artifacts_.build, "A build's id, PROJECT#NUMBER, or PROJECT for its latest build");
    list.final_callback([&list, this] {
      if (list.get_subcommands().empty() && list_artifacts_.build.empty()) throw CLI::RequiredError("BUILD");
    });
    auto& get = command(list, "get", "Download an artifact and check its digest; a broken download goes on where it stopped",
                        get_artifact_, "mayfly artifacts get web#42 app.tgz -o /tmp/app.tgz");
    connect(get);
    build_argument(get, get_artifact_.build);
    get.add_option("PATH", get_artifact_.path, "The artifact's path, or JOB:PATH where several jobs made it")->required();
    get.add_option("-o,--output", get_artifact_.output, "File to write (else the path's last part; - is standard output)");
  }

  void secret() {
    auto& parent = *app_.add_subcommand("secret", "A project's secrets: set, list, rm");
    parent.require_subcommand(1);
    parent.footer("Example:\n  mayfly secret set web NPM_TOKEN < token.txt");
    auto& set = command(parent, "set", "Store a secret; its value is read from standard input", secret_set_,
                        "mayfly secret set web NPM_TOKEN < token.txt");
    connect(set);
    set.add_option("PROJECT", secret_set_.project, "The project's name or id")->required();
    set.add_option("NAME", secret_set_.name, "The name jobs ask for in `secrets`")->required();
    auto& list = command(parent, "list", "List the names of a project's secrets", secret_list_, "mayfly secret list web");
    connect(list);
    list.add_option("PROJECT", secret_list_.project, "The project's name or id")->required();
    auto& rm = command(parent, "rm", "Remove a secret", secret_remove_, "mayfly secret rm web NPM_TOKEN");
    connect(rm);
    rm.add_option("PROJECT", secret_remove_.project, "The project's name or id")->required();
    rm.add_option("NAME", secret_remove_.name, "The secret's name")->required();
  }

  void pool() {
    auto& parent = *app_.add_subcommand("pool", "Where runners start: list, drain, resume");
    parent.require_subcommand(1);
    parent.footer("Example:\n  mayfly pool drain cluster-a");
    connect(command(parent, "list", "List pools: what they have, what of it is used, and what waits for them", pool_list_, "mayfly pool list"));
    auto& drain = command(parent, "drain", "Start nothing new in a pool; what runs there may end. It stays so until it is resumed", pool_drain_,
                          "mayfly pool drain cluster-a");
    connect(drain);
    drain.add_option("NAME", pool_drain_.name, "The pool's name")->required();
    auto& resume = command(parent, "resume", "Start runners in a pool again", pool_resume_, "mayfly pool resume cluster-a");
    connect(resume);
    resume.add_option("NAME", pool_resume_.name, "The pool's name")->required();
  }

  void token() {
    auto& parent = *app_.add_subcommand("token", "Tokens that call this server");
    parent.require_subcommand(1);
    parent.footer("Example:\n  mayfly token create ci-dashboard --role viewer");
    auto& create = command(parent, "create", "Make a token and print it; the server keeps only its hash", token_create_,
                           "mayfly token create ci-dashboard --role viewer --expires 30d");
    connect(create);
    create.add_option("NAME", token_create_.name, "What it is for")->required();
    create.add_option("--role", token_create_.role, "viewer, developer, maintainer or owner, where each may what the one before it may; shipper only sends logs")
        ->check(CLI::IsMember({"viewer", "developer", "maintainer", "owner", "shipper"}))
        ->capture_default_str();
    create.add_option_function<std::string>(
        "--expires",
        [this](const std::string& text) {
          auto lifetime = parse_duration(text);
          if (!lifetime) throw CLI::ValidationError("--expires", "'" + text + "' is not a time like 12h or 30d");
          token_create_.lifetime = *lifetime;
        },
        "How long it lives: 12h, 30d (else for ever)");
  }

  void lint() {
    auto& sub = command(app_, "lint", "Check pipeline files: everything wrong in them, with its place", lint_, "mayfly lint .ci.yaml");
    json(sub);
    sub.add_option("FILE", lint_.files, "Files to check (else .ci.yaml, else .ci/*.yaml)");
  }

  void event(CLI::App& sub, EventOptions& into) {
    sub.add_option("--event", into.event, "push, pull_request, schedule or manual")
        ->check(CLI::IsMember({"push", "pull_request", "schedule", "manual"}))
        ->capture_default_str();
    sub.add_option("--ref", into.ref, "As if this branch, tag or full ref was pushed (else the branch checked out)");
    sub.add_option("--sha", into.sha, "As if at this commit (else HEAD)");
    sub.add_option("--base-ref", into.base_ref, "Of a pull request: the branch it wants to go to");
    inputs(sub, into.inputs);
  }

  void plan() {
    auto& sub = command(app_, "plan", "Show which jobs would run for an event, and why", plan_,
                        "mayfly plan --event pull_request --base-ref main --changed src/app.c");
    json(sub);
    event(sub, plan_.event);
    sub.add_option("--changed", plan_.changed, "Paths the event changed (else every path filter matches)");
  }

  void run() {
    auto& sub = command(app_, "run", "Run the pipeline of this checkout, as it is on disk, on this machine: the same planner, runner and sandbox", run_,
                        "mayfly run\n  mayfly run test --artifacts out");
    json(sub);
    sub.add_option("JOB", run_.jobs, "Only these jobs, and what they need");
    event(sub, run_.event);
    sub.add_option("--slots", run_.slots, "How many jobs of one cpu run at once (0: one a core)")->check(CLI::Range(0, 10'000));
    sub.add_option("--secret", run_.secrets, "Give the jobs this secret: the value of the environment variable of that name; may be repeated")
        ->allow_extra_args(false);
    sub.add_option("--artifacts", run_.artifacts, "Directory for the artifacts");
    sub.add_flag("--shell-on-failure", run_.shell_on_failure, "When a step fails, open a shell in its sandbox; the job goes on when that is left");
  }

  void version() { json(command(app_, "version", "Show the version", version_, "mayfly version")); }

  /// What stands behind `--` of `mayfly shell` is not ours to read.
  void take_command(std::vector<std::string>& arguments) {
    auto dashes = std::ranges::find(arguments, "--");
    if (dashes == arguments.end() || std::find(arguments.begin(), dashes, "shell") == dashes) return;
    shell_.command.assign(dashes + 1, arguments.end());
    arguments.erase(dashes, arguments.end());
  }

  /// A first word that is no command gets the nearest one named.
  std::optional<Usage> unknown_command(const std::vector<std::string>& arguments) const {
    if (arguments.empty() || arguments.front().starts_with("-")) return std::nullopt;
    std::vector<std::string> names;
    for (auto* sub : app_.get_subcommands({})) names.push_back(sub->get_name());
    if (std::ranges::find(names, arguments.front()) != names.end()) return std::nullopt;
    std::vector<std::string_view> known(names.begin(), names.end());
    return Usage{2, "mayfly: no command '" + arguments.front() + "': " + suggestion(arguments.front(), known) + "\nRun mayfly --help for all of them.\n"};
  }

  const CLI::App& innermost() const {
    const CLI::App* app = &app_;
    for (auto subs = app->get_subcommands(); !subs.empty(); subs = app->get_subcommands()) app = subs.back();
    return *app;
  }

  static std::string full_name(const CLI::App& app) {
    return app.get_parent() ? full_name(*app.get_parent()) + " " + app.get_name() : app.get_name();
  }

  /// The library adds the command's own name to those of its parents.
  static std::string help(const CLI::App& app) { return app.help(app.get_parent() ? full_name(*app.get_parent()) : ""); }

  Usage usage(const CLI::ParseError& e) const {
    auto& app = innermost();
    if (e.get_name() == "CallForHelp") return {0, help(app)};
    if (e.get_name() == "CallForVersion") return {0, "mayfly " MAYFLY_VERSION "\n"};
    if (auto* parent = &app; e.get_name() == "RequiredError" && !parent->get_subcommands({}).empty() && parent->get_name() != "artifacts")
      return {2, help(*parent)};
    return {2, full_name(app) + ": " + e.what() + "\nRun " + full_name(app) + " --help for how to use it.\n"};
  }

  const Environment& environment_;
  CLI::App app_;
  Invocation invocation_;
  UpOptions up_;
  ServeOptions serve_;
  ProjectAdd project_add_;
  ProjectList project_list_;
  Trigger trigger_;
  Builds builds_;
  ShowBuild build_;
  Logs logs_;
  Shell shell_;
  Cancel cancel_;
  Retry retry_;
  ListArtifacts list_artifacts_;
  GetArtifact get_artifact_;
  SecretSet secret_set_;
  SecretList secret_list_;
  SecretRemove secret_remove_;
  PoolList pool_list_;
  PoolDrain pool_drain_;
  PoolResume pool_resume_;
  TokenCreate token_create_;
  Lint lint_;
  ShowPlan plan_;
  RunHere run_;
  Version version_;
};

}  // namespace

std::string default_data_dir(const Environment& environment) {
  if (auto data = environment("MAYFLY_DATA"); data && !data->empty()) return *data;
  if (auto state = environment("XDG_STATE_HOME"); state && !state->empty()) return *state + "/mayfly";
  return environment("HOME").value_or("") + "/.local/state/mayfly";
}

std::expected<Invocation, Usage> parse_arguments(const std::vector<std::string>& arguments, const Environment& environment) {
  return Grammar(environment).parse(arguments);
}

}  // namespace mayfly::cli
