// The language, one table a map.
#include "domain/pipeline/forms.h"
#include "domain/pipeline/shape.h"

namespace mayfly {
namespace {

using Kind = Shape::Kind;
using Words = std::string_view;

constexpr Pattern name_pattern{"a name of letters, digits, '_' and '-' that begins with a letter (at most 64)", "^[A-Za-z_][A-Za-z0-9_-]{0,63}$", is_name, true};
constexpr Pattern host_pattern{"a host name of small letters, digits and '-' that begins with a letter (at most 63)", "^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$", is_host_name, true};
constexpr Pattern command_pattern{"a command of 1 to 4096 bytes", "^[\\s\\S]{1,4096}$", is_service_command};
constexpr Pattern environment_pattern{"a name of letters, digits and '_' that begins with a letter", "^[A-Za-z_][A-Za-z0-9_]{0,127}$", is_environment_name, true};
constexpr Pattern label_pattern{"a label of letters, digits and -_./:= (at most 64)", "^[A-Za-z0-9_./:=-]{1,64}$", is_label, true};
constexpr Pattern filter_pattern{"a glob of 1 to 256 bytes, `!` before it takes back", "^(?!!$)[\\s\\S]{1,256}$", is_filter};
constexpr Pattern path_pattern{"a path or glob within the workspace: relative, without '..'", "^(?!/)(?!([\\s\\S]*/)?\\.\\.(/|$))[\\s\\S]{1,256}$", is_relative_path};
constexpr Pattern shell_pattern{"sh, bash or an absolute path", "^(sh|bash|/[A-Za-z0-9_./+-]{1,255})$", is_shell, true};
constexpr Pattern cron_pattern{"five cron fields such as \"0 3 * * *\"", "^[A-Za-z0-9_*/,-]+( [A-Za-z0-9_*/,-]+){4}$", is_cron, true};
constexpr Pattern zone_pattern{"a time zone such as Europe/Berlin", "^[A-Za-z_][A-Za-z0-9_+/-]{0,63}$", is_time_zone, true};

// ---- scalars
constexpr Shape nothing{.kind = Kind::nothing, .what = "nothing"};
constexpr Shape boolean{.kind = Kind::boolean, .what = "true or false"};
constexpr Shape text{.what = "text"};
constexpr Shape template_text{.what = "text", .expressions = true};
constexpr Shape value{.what = "text", .expressions = true, .may_be_empty = true};
constexpr Shape script{.what = "a command", .expressions = true};
constexpr Shape name{.what = "a name", .pattern = &name_pattern};
constexpr Shape secret_name{.what = "a name", .pattern = &environment_pattern};
constexpr Shape label{.what = "a label", .expressions = true, .pattern = &label_pattern};
constexpr Shape filter{.what = "a glob", .pattern = &filter_pattern};
constexpr Shape path{.what = "a path", .expressions = true, .pattern = &path_pattern};
constexpr Shape shell{.what = "a shell", .pattern = &shell_pattern};
constexpr Shape cron{.what = "a schedule", .pattern = &cron_pattern};
constexpr Shape zone{.what = "a time zone", .pattern = &zone_pattern};
constexpr Shape condition{.kind = Kind::condition, .what = "a condition such as ref == 'refs/heads/main'"};
constexpr Shape timeout{.kind = Kind::duration, .what = "a duration such as 20m", .least = 1, .most = 7 * 24 * 3600, .range = "from 1s to 7d"};
constexpr Shape expiry{.kind = Kind::duration, .what = "a duration such as 14d", .least = 60, .most = std::int64_t(10) * 366 * 24 * 3600, .range = "from 1m to 3660d"};
constexpr Shape memory{.kind = Kind::size, .what = "a size such as 4Gi", .least = 4 << 20, .most = std::int64_t(16) << 40, .range = "from 4Mi to 16Ti"};
constexpr Shape disk{.kind = Kind::size, .what = "a size such as 10Gi", .least = 1 << 20, .most = std::int64_t(256) << 40, .range = "from 1Mi to 256Ti"};
constexpr Shape cpu{.kind = Kind::cpu, .what = "a number of cores such as 2, 0.5 or 500m", .least = 10, .most = 1'024'000, .range = "from 10m to 1024"};

constexpr Words priorities[] = {"low", "normal", "high"};
constexpr Shape priority{.kind = Kind::word, .what = "a priority", .words = priorities};
constexpr Words isolations[] = {"sandbox", "runc", "gvisor", "kata"};
constexpr Shape isolation{.kind = Kind::word, .what = "an isolation", .words = isolations};
constexpr Words networks[] = {"none", "outbound"};
constexpr Shape network{.kind = Kind::word, .what = "a network", .words = networks};
constexpr Words whens[] = {"success", "failure", "always"};
constexpr Shape when{.kind = Kind::word, .what = "when to keep them", .words = whens};
constexpr Words policies[] = {"queue", "cancel-running", "cancel-pending"};
constexpr Shape policy{.kind = Kind::word, .what = "a policy", .words = policies};
constexpr Words fork_policies[] = {"approve", "never", "trusted"};
constexpr Shape forks{.kind = Kind::word, .what = "a policy for forks", .words = fork_policies};
constexpr Words input_types[] = {"string", "boolean", "number", "choice"};
constexpr Shape input_type{.kind = Kind::word, .what = "a type", .words = input_types};
constexpr Words event_names[] = {"push", "pull_request", "schedule", "manual"};
constexpr Shape event_word{.kind = Kind::word, .what = "an event", .words = event_names};
constexpr Words retry_reasons[] = {"infrastructure", "failure", "timeout", "oom"};
constexpr Shape retry_reason{.kind = Kind::word, .what = "a reason to retry", .words = retry_reasons};

// ---- lists and free maps
constexpr Shape filters{.kind = Kind::list, .what = "a list of globs", .least = 1, .most = 100, .items = &filter};
constexpr Shape paths{.kind = Kind::list, .what = "a list of paths", .least = 1, .most = 1000, .items = &path};
constexpr Shape texts{.kind = Kind::list, .what = "a list", .least = 1, .most = 1000, .items = &text};
constexpr Shape template_texts{.kind = Kind::list, .what = "a list", .least = 0, .most = 1000, .items = &template_text};
constexpr Shape names{.kind = Kind::list, .what = "a list of jobs", .least = 0, .most = 10'000, .items = &name};
constexpr Shape secret_names{.kind = Kind::list, .what = "a list of names", .least = 0, .most = 100, .items = &secret_name};
constexpr Shape labels{.kind = Kind::list, .what = "a list of labels", .least = 0, .most = 32, .items = &label};
constexpr Shape retry_reasons_list{.kind = Kind::list, .what = "a list of reasons", .least = 1, .most = 4, .items = &retry_reason};
constexpr Shape env{.kind = Kind::map, .what = "a map of names to values", .most = 1000, .items = &value, .keys = &environment_pattern, .key_noun = "variable"};

constexpr const Shape* name_or_names_options[] = {&name, &names};
constexpr Shape name_or_names{.kind = Kind::either, .what = "a list of jobs", .options = name_or_names_options};
constexpr const Shape* label_or_labels_options[] = {&label, &labels};
constexpr Shape label_or_labels{.kind = Kind::either, .what = "a list of labels", .options = label_or_labels_options};
constexpr const Shape* path_or_paths_options[] = {&path, &paths};
constexpr Shape path_or_paths{.kind = Kind::either, .what = "a list of paths", .options = path_or_paths_options};
constexpr const Shape* text_or_texts_options[] = {&text, &texts};
constexpr Shape text_or_texts{.kind = Kind::either, .what = "text or a list", .options = text_or_texts_options};

// ---- on
constexpr ForeignKey filter_foreign[] = {
    {"branches-ignore", "write branches: [\"**\", \"!name\"]"}, {"tags-ignore", "write tags: [\"**\", \"!name\"]"},
    {"paths-ignore", "write paths: [\"**\", \"!name\"]"},       {"types", "every new head of a pull request is built"},
};
constexpr Field push_fields[] = {
    {"branches", &filters, "Branches to build; without it and `tags` every branch and tag."},
    {"tags", &filters, "Tags to build."},
    {"paths", &filters, "Build only if one of these changed; the jobs report `skipped` otherwise."},
};
constexpr Shape push_map{.kind = Kind::map, .what = "filters", .fields = push_fields, .foreign = filter_foreign};
constexpr const Shape* push_options[] = {&nothing, &push_map};
constexpr Shape push{.kind = Kind::either, .what = "a map of branches, tags and paths", .options = push_options};

constexpr Field pull_fields[] = {
    {"branches", &filters, "Branches the pull request wants to go to."},
    {"paths", &filters, "Build only if one of these changed; the jobs report `skipped` otherwise."},
    {"forks", &forks, "Pull requests from forks: wait for approval, are never built, or are trusted."},
};
constexpr Shape pull_map{.kind = Kind::map, .what = "filters", .fields = pull_fields, .foreign = filter_foreign};
constexpr const Shape* pull_options[] = {&nothing, &pull_map};
constexpr Shape pull_request{.kind = Kind::either, .what = "a map of branches, paths and forks", .options = pull_options};

constexpr Field schedule_fields[] = {
    {"cron", &cron, "Minute, hour, day of month, month, day of week.", true},
    {"tz", &zone, "IANA time zone; UTC without it."},
};
constexpr Shape schedule_item{.kind = Kind::map, .what = "a map of cron and tz", .fields = schedule_fields};
constexpr Shape schedule{.kind = Kind::list, .what = "a list of {cron, tz}", .least = 1, .most = 100, .items = &schedule_item};

constexpr Shape input_options{.kind = Kind::list, .what = "a list of values", .least = 1, .most = 100, .items = &text};
constexpr Field input_fields[] = {
    {"type", &input_type, "string (without it), boolean, number or choice."},
    {"options", &input_options, "The values of a choice."},
    {"default", &text, "The value when none is given."},
    {"required", &boolean, "Whether a value must be given."},
    {"description", &text, "Shown to whoever starts the build."},
};
constexpr Shape input_map{.kind = Kind::map, .what = "an input", .fields = input_fields};
constexpr const Shape* input_shapes[] = {&nothing, &input_map};
constexpr Shape input{.kind = Kind::either, .what = "a map of type, options, default and required", .options = input_shapes};
constexpr Shape inputs{.kind = Kind::map, .what = "a map of inputs", .most = 100, .items = &input, .keys = &name_pattern, .key_noun = "input"};
constexpr Field manual_fields[] = {{"inputs", &inputs, "What whoever starts the build may choose."}};
constexpr Shape manual_map{.kind = Kind::map, .what = "a map of inputs", .fields = manual_fields};
constexpr const Shape* manual_options[] = {&nothing, &manual_map};
constexpr Shape manual{.kind = Kind::either, .what = "a map of inputs", .options = manual_options};

constexpr ForeignKey on_foreign[] = {
    {"workflow_dispatch", "write manual"}, {"merge_request", "write pull_request"}, {"pull_request_target", "write pull_request"},
    {"cron", "write schedule: [{cron: \"…\"}]"},
};
constexpr Field on_fields[] = {
    {"push", &push, "Pushes of branches and tags."},
    {"pull_request", &pull_request, "Opened and updated pull requests."},
    {"schedule", &schedule, "Times."},
    {"manual", &manual, "Builds started by people and programs."},
};
constexpr Shape on_map{.kind = Kind::map, .what = "a map of events", .fields = on_fields, .key_noun = "event", .foreign = on_foreign};
constexpr Shape event_list{.kind = Kind::list, .what = "a list of events", .least = 1, .most = 4, .items = &event_word};
constexpr const Shape* on_options[] = {&event_word, &event_list, &on_map};
constexpr Shape on{.kind = Kind::either, .what = "an event, a list of events or a map", .options = on_options};

// ---- parts of jobs
constexpr Shape retry_count{.kind = Kind::integer, .what = "a number of retries from 0 to 10", .least = 0, .most = 10, .range = "from 0 to 10"};
constexpr Field retry_fields[] = {
    {"max", &retry_count, "Extra attempts; infrastructure failures are retried free besides.", true},
    {"on", &retry_reasons_list, "What to retry: failure, timeout, oom (infrastructure always is)."},
};
constexpr Shape retry_map{.kind = Kind::map, .what = "a map of max and on", .fields = retry_fields};
constexpr const Shape* retry_options[] = {&retry_count, &retry_map};
constexpr Shape retry{.kind = Kind::either, .what = "a number or a map of max and on", .options = retry_options};

constexpr Field resource_fields[] = {
    {"cpu", &cpu, "Cores."},
    {"memory", &memory, "Memory; a job that needs more is killed."},
    {"disk", &disk, "Room for what the job writes."},
};
constexpr Shape resources{.kind = Kind::map, .what = "a map of cpu, memory and disk", .fields = resource_fields};

constexpr Shape depth{.kind = Kind::integer, .what = "a number of commits, 0 for all", .least = 0, .most = 1'000'000, .range = "from 0 (all) to 1000000"};
constexpr Field checkout_fields[] = {
    {"depth", &depth, "Commits of history; 0 is all of it."},
    {"submodules", &boolean, "Whether submodules are checked out too."},
};
constexpr Shape checkout_map{.kind = Kind::map, .what = "a map of depth and submodules", .fields = checkout_fields};
constexpr const Shape* checkout_options[] = {&boolean, &checkout_map};
constexpr Shape checkout{.kind = Kind::either, .what = "false or a map of depth and submodules", .options = checkout_options};

constexpr ForeignKey step_foreign[] = {
    {"uses", "there are no actions: write the commands under run"}, {"with", "write env"},
    {"timeout-minutes", "write timeout: 20m"},                      {"continue-on-error", "write `command || true`, or allow_failure on the job"},
    {"working-directory", "write `cd DIR` in run"},                 {"id", "write KEY=value to $CI_OUTPUT or $CI_ENV"},
    {"script", "write run"},                                        {"command", "write run"},
    {"commands", "write run"},
};
constexpr Field step_fields[] = {
    {"run", &script, "The command, or several lines of them, run with `sh -e`.", true},
    {"name", &template_text, "Shown instead of the command."},
    {"shell", &shell, "sh, bash or a path; without it bash if the image has it, else sh."},
    {"env", &env, "Environment of this step."},
    {"timeout", &timeout, "The step is stopped after this."},
    {"if", &condition, "Whether it runs; without it, when all before it succeeded."},
};
constexpr Shape step{.kind = Kind::map, .what = "a step: a map with run", .fields = step_fields, .foreign = step_foreign};
constexpr Shape steps{.kind = Kind::list, .what = "a list of steps", .least = 1, .most = 1000, .items = &step};

constexpr Shape axis{.kind = Kind::list, .what = "a list of values", .least = 1, .most = 1000, .items = &template_text};
constexpr Shape combination{.kind = Kind::map, .what = "a map of axes to values", .most = 32, .items = &template_text, .keys = &name_pattern, .key_noun = "axis"};
constexpr Shape combinations{.kind = Kind::list, .what = "a list of combinations", .least = 0, .most = 1000, .items = &combination};
constexpr Shape parallel{.kind = Kind::integer, .what = "a number from 1", .least = 1, .most = 10'000, .range = "from 1 to 10000"};
constexpr ForeignKey matrix_foreign[] = {{"max-parallel", "write max_parallel"}, {"fail-fast", "write fail_fast"}};
constexpr Field matrix_fields[] = {
    {"exclude", &combinations, "Combinations to leave out."},
    {"include", &combinations, "Values to add to combinations, or combinations to add."},
    {"max_parallel", &parallel, "How many of them run at once."},
    {"fail_fast", &boolean, "Whether one failure cancels the others; true without it."},
};
constexpr Shape matrix{.kind = Kind::map, .what = "a map of axes to lists of values", .most = 32, .items = &axis, .fields = matrix_fields, .keys = &name_pattern,
                       .key_noun = "axis", .foreign = matrix_foreign};

constexpr Shape service_command{.what = "a command", .pattern = &command_pattern};
constexpr ForeignKey service_foreign[] = {
    {"options", "write ready for the check"},  {"ports", "every port of a service is reachable by its name"}, {"alias", "its key is its name"},
    {"command", "write run"},                  {"entrypoint", "write run"},                                    {"variables", "write env"},
    {"volumes", "a service has its own files"}, {"credentials", "they are the pool's or the project's, never the pipeline's"},
};
constexpr Field service_fields[] = {
    {"image", &template_text, "Its image.", true},
    {"env", &env, "Its environment."},
    {"run", &service_command, "A command run with sh instead of the image's own."},
    {"ready", &service_command, "A command run in it until it succeeds; the job's first step waits for that."},
};
constexpr Shape service{.kind = Kind::map, .what = "a map of image, env and ready", .fields = service_fields, .foreign = service_foreign};
constexpr Shape services{.kind = Kind::map, .what = "a map of services", .most = 16, .items = &service, .keys = &host_pattern, .key_noun = "service"};

constexpr Field artifact_fields[] = {
    {"paths", &paths, "Globs under the workspace.", true},
    {"expire", &expiry, "How long they are kept."},
    {"when", &when, "success (without it), failure or always."},
};
constexpr Shape artifacts{.kind = Kind::map, .what = "a map of paths, expire and when", .fields = artifact_fields};

constexpr Field report_fields[] = {{"junit", &path_or_paths, "JUnit XML files.", true}};
constexpr Shape reports{.kind = Kind::map, .what = "a map of reports", .fields = report_fields};

constexpr ForeignKey cache_foreign[] = {{"restore-keys", "write restore: [\"prefix-\"]"}, {"path", "write paths: [DIR]"}};
constexpr Field cache_fields[] = {
    {"key", &template_text, "Names the entry.", true},
    {"restore", &template_texts, "Beginnings of other keys to fall back to."},
    {"paths", &paths, "What is kept.", true},
};
constexpr Shape cache_entry{.kind = Kind::map, .what = "a map of key, restore and paths", .fields = cache_fields, .foreign = cache_foreign};
constexpr Shape cache{.kind = Kind::list, .what = "a list of {key, restore, paths}", .least = 1, .most = 32, .items = &cache_entry};

constexpr Field environment_fields[] = {
    {"name", &template_text, "Its name.", true},
    {"approve", &texts, "Teams or people who must agree."},
};
constexpr Shape environment_map{.kind = Kind::map, .what = "a map of name and approve", .fields = environment_fields};
constexpr const Shape* environment_options[] = {&template_text, &environment_map};
constexpr Shape environment{.kind = Kind::either, .what = "a name or a map of name and approve", .options = environment_options};

constexpr Field id_token_fields[] = {{"aud", &text_or_texts, "Who may accept it.", true}};
constexpr Shape id_token{.kind = Kind::map, .what = "a map with aud", .fields = id_token_fields};
constexpr Shape id_tokens{.kind = Kind::map, .what = "a map of names to {aud}", .most = 32, .items = &id_token, .keys = &environment_pattern, .key_noun = "token"};

constexpr Field concurrency_fields[] = {
    {"group", &template_text, "Builds of one group do not run at once.", true},
    {"policy", &policy, "queue (without it), cancel-running or cancel-pending."},
};
constexpr ForeignKey concurrency_foreign[] = {{"cancel-in-progress", "write policy: cancel-running"}};
constexpr Shape concurrency_map{.kind = Kind::map, .what = "a map of group and policy", .fields = concurrency_fields, .foreign = concurrency_foreign};
constexpr const Shape* concurrency_options[] = {&template_text, &concurrency_map};
constexpr Shape concurrency{.kind = Kind::either, .what = "a group or a map of group and policy", .options = concurrency_options};

// ---- jobs and the file
constexpr Words run_or_steps[] = {"run", "steps"};
constexpr ForeignKey job_foreign[] = {
    {"runs-on", "write runs_on for labels of a pool, image for a system"}, {"strategy", "write matrix directly under the job"},
    {"container", "write image"},                                          {"uses", "there are no reusable workflows"},
    {"with", "write env"},                                                 {"timeout-minutes", "write timeout: 20m"},
    {"continue-on-error", "write allow_failure: true"},                    {"script", "write run"},
    {"before_script", "put the commands first in run or steps"},           {"after_script", "write finally: [{run: …}]"},
    {"stage", "write needs: [JOB]"},                                       {"dependencies", "write needs: [JOB]"},
    {"rules", "write if"},                                                 {"only", "write if"},
    {"except", "write if"},                                                {"tags", "write runs_on"},
    {"variables", "write env"},                                            {"parallel", "write matrix"},
    {"when", "write if: always()"},                                        {"permissions", "jobs get no token of the forge"},
    {"name", "a job is named by its key"},
};
constexpr Field job_fields[] = {
    {"run", &script, "One step: a command, or several lines of them."},
    {"steps", &steps, "Steps, one after the other in one workspace."},
    {"finally", &steps, "Steps that run whatever happened."},
    {"needs", &name_or_names, "Jobs that must have succeeded before."},
    {"if", &condition, "Whether the job runs, decided when its needs have ended."},
    {"matrix", &matrix, "Runs the job once for every combination of values."},
    {"image", &template_text, "host, oci:PATH[:TAG], a directory, or a registry's image."},
    {"isolation", &isolation, "How strongly the runner is walled off."},
    {"network", &network, "outbound (without it) or none."},
    {"resources", &resources, "What the runner gets."},
    {"runs_on", &label_or_labels, "Labels a pool must have."},
    {"env", &env, "Environment of its steps."},
    {"secrets", &secret_names, "Secrets its steps find in the environment."},
    {"shell", &shell, "The shell of its steps."},
    {"timeout", &timeout, "The job is stopped after this; 60m without it."},
    {"retry", &retry, "Extra attempts."},
    {"allow_failure", &boolean, "Whether the build may succeed although this failed."},
    {"artifacts", &artifacts, "Files to keep."},
    {"outputs", &paths, "Files handed to the jobs that need this one."},
    {"reports", &reports, "Test reports shown on the build."},
    {"checkout", &checkout, "false: an empty workspace."},
    {"priority", &priority, "low, normal or high."},
    {"services", &services, "Servers beside the job, reached by their names."},
    {"cache", &cache, "Directories kept between builds."},
    {"inputs", &paths, "With `outputs`: the job is skipped when nothing of this changed."},
    {"environment", &environment, "What it deploys to, and who must agree."},
    {"id_tokens", &id_tokens, "OIDC tokens for other systems."},
    {"interruptible", &boolean, "Whether a newer build may cancel it."},
};
constexpr Shape job{.kind = Kind::map, .what = "a job: a map with run or steps", .fields = job_fields, .exactly_one = run_or_steps, .foreign = job_foreign};
constexpr Shape jobs{.kind = Kind::map, .what = "a map of jobs", .least = 1, .items = &job, .keys = &name_pattern, .key_noun = "job"};

constexpr Field default_fields[] = {
    {"image", &template_text, "Image of jobs without one."},       {"timeout", &timeout, "Timeout of jobs without one."},
    {"retry", &retry, "Retries of jobs without them."},             {"shell", &shell, "Shell of steps without one."},
    {"resources", &resources, "Resources of jobs without them."},   {"network", &network, "Network of jobs without one."},
    {"isolation", &isolation, "Isolation of jobs without one."},    {"runs_on", &label_or_labels, "Labels of jobs without them."},
    {"checkout", &checkout, "Checkout of jobs without one."},
};
constexpr ForeignKey default_foreign[] = {{"run", "write shell directly under defaults"}, {"env", "write env at the top of the file"}};
constexpr Shape defaults{.kind = Kind::map, .what = "a map of defaults", .fields = default_fields, .foreign = default_foreign};

constexpr Shape version{.kind = Kind::integer, .what = "1, the version of this language", .least = 1, .most = 1, .range = "1"};
constexpr ForeignKey file_foreign[] = {
    {"permissions", "jobs get no token of the forge"}, {"stages", "write needs: [JOB] in the jobs"}, {"variables", "write env"},
    {"image", "write defaults: {image: …}"},           {"workflow", "write on"},                     {"include", "every file of .ci/ is read: split there"},
    {"steps", "write jobs: {NAME: {steps: …}}"},       {"run-name", "write name"},                   {"default", "write defaults"},
    {"services", "write services in the job"},         {"cache", "write cache in the job"},
};
constexpr Field file_fields[] = {
    {"version", &version, "1"},
    {"name", &text, "Name of the pipeline."},
    {"on", &on, "What starts a build; without it pushes of branches, pull requests and people."},
    {"env", &env, "Environment of every step."},
    {"defaults", &defaults, "For jobs that do not say otherwise."},
    {"concurrency", &concurrency, "Which builds do not run at once."},
    {"priority", &priority, "low, normal or high."},
    {"jobs", &jobs, "The jobs, by name.", true},
};

}  // namespace

constexpr Shape pipeline_shape{.kind = Kind::map, .what = "a map with jobs", .fields = file_fields, .foreign = file_foreign};

}  // namespace mayfly
