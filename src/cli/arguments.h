#pragma once
// What was typed, as values: one struct a command. arguments.cpp is the only file that knows the library which reads the
// command line.

#include <expected>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/time.h"
#include "cli/cli.h"
#include "cli/world.h"

namespace mayfly::cli {

/// Of every command that talks to a server.
struct Connection {
  std::string server = {};      // as typed; empty: MAYFLY_SERVER, else the default
  std::string token_file = {};  // as typed; empty: MAYFLY_TOKEN, else the token `mayfly up` left
};

using Inputs = std::map<std::string, std::string>;

struct ProjectAdd {
  std::string name = {};
  std::string repo_url = {};
  std::string organization = {};
  std::string webhook_secret = {};
  std::string webhook_secret_file = {};  // "-" is standard input
  int weight = 0;                        // 0: the server's default
};
struct ProjectList {};
struct Trigger {
  std::string project = {};
  std::string ref = {};
  std::string sha = {};
  Inputs inputs = {};
  std::optional<Duration> hold = {};
  bool follow = false;
};
struct Builds {
  std::string project = {};
  std::string status = {};
  std::string ref = {};
  int limit = 20;
};
struct ShowBuild {
  std::string build = {};
  bool watch = false;
};
struct Logs {
  std::string build = {};
  std::string job = {};
  bool follow = false;
};
struct Shell {
  std::string target = {};                // a job's id, or a build
  std::string job = {};                   // of the build; empty: the one that runs
  std::vector<std::string> command = {};  // what stands behind `--`
  std::optional<int> attempt = {};
  bool plain = false;
  bool release = false;
};
struct Cancel {
  std::string build = {};
};
struct Retry {
  std::string build = {};
  std::vector<std::string> jobs = {};
  std::optional<Duration> hold = {};
  bool follow = false;
};
struct ListArtifacts {
  std::string build = {};
};
struct GetArtifact {
  std::string build = {};
  std::string path = {};
  std::string output = {};  // empty: the path's last part in the working directory; "-": standard output
};
struct SecretSet {
  std::string project = {};
  std::string name = {};
};
struct SecretList {
  std::string project = {};
};
struct SecretRemove {
  std::string project = {};
  std::string name = {};
};
struct PoolList {};
struct PoolDrain {
  std::string name = {};
};
struct PoolResume {
  std::string name = {};
};
struct TokenCreate {
  std::string name = {};
  std::string role = "viewer";
  std::optional<Duration> lifetime = {};
};
struct Lint {
  std::vector<std::string> files = {};
};
/// What `plan` and `run` pretend happened.
struct EventOptions {
  std::string event = "push";
  std::string ref = {};       // empty: the branch that is checked out
  std::string sha = {};       // empty: HEAD
  std::string base_ref = {};
  Inputs inputs = {};
};
struct ShowPlan {
  EventOptions event = {};
  std::vector<std::string> changed = {};
};
/// `mayfly run`.
struct RunHere {
  std::vector<std::string> jobs = {};
  EventOptions event = {};
  int slots = 0;
  std::vector<std::string> secrets = {};  // names of this process's environment variables
  bool shell_on_failure = false;
  std::string artifacts = {};             // directory for what the jobs make; empty: not kept
};
struct Version {};

using Command = std::variant<UpOptions, ServeOptions, ProjectAdd, ProjectList, Trigger, Builds, ShowBuild, Logs, Shell, Cancel, Retry, ListArtifacts, GetArtifact,
                             SecretSet, SecretList, SecretRemove, PoolList, PoolDrain, PoolResume, TokenCreate, Lint, ShowPlan, RunHere, Version>;

struct Invocation {
  Connection connection = {};
  bool json = false;
  Command command = {};
};

/// What to print instead of running a command: help (0), or what was wrong (2).
struct Usage {
  int exit_code = 0;
  std::string text;
};

std::expected<Invocation, Usage> parse_arguments(const std::vector<std::string>& arguments, const Environment& environment);

/// Where `mayfly up` keeps everything: $MAYFLY_DATA, else $XDG_STATE_HOME/mayfly, else ~/.local/state/mayfly.
std::string default_data_dir(const Environment& environment);

}  // namespace mayfly::cli
