#pragma once
// The command line of the program `mayfly`: what was typed becomes one command's options, the command runs, and its
// verdict becomes the exit code. What only the composition root can do (starting the server) is handed in.

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "async/signal.h"
#include "async/task.h"
#include "base/result.h"
#include "domain/pipeline/plan.h"

namespace mayfly {

/// `mayfly up`.
struct UpOptions {
  std::string data_dir = {};               // never empty: --data, else $MAYFLY_DATA, else the user's state directory
  std::string listen = "127.0.0.1:8080";
  int slots = 0;                           // how many 1-cpu jobs at once; 0: one a core
  std::vector<std::string> image_directories = {};  // where `image: oci:…` and directories may lie; none: only the host's root
  bool user_namespaces = false;                     // jobs may make some, for rootless builders of images
  std::vector<std::string> registries = {};         // asked besides those with public names; http://HOST:PORT without TLS
  std::vector<std::string> registry_mirrors = {};   // "docker.io=http://127.0.0.1:5000"
  std::string registry_auth = {};                   // credentials for registries, as `docker login` writes them
  std::vector<std::string> allowed_networks = {};   // private networks jobs may reach, "10.1.0.0/16"; none: only the internet
  Isolation isolation_floor = Isolation::sandbox;       // no job runs under less
  Isolation fork_isolation_floor = Isolation::sandbox;  // nor, under less than this, one of a fork's build
  std::string docker = {};                 // an engine whose containers jobs are; empty: jobs are sandboxes of this machine
  std::string docker_image = {};           // there, of jobs that name none
  std::string docker_gvisor = {};          // there, the engine's runtime for the isolation gvisor; empty: it is not offered
  std::string log_level = "info";          // debug | info | warn | error
};

/// `mayfly serve`. Every key of the file may also be a variable of the environment: see docs/configuration.md.
struct ServeOptions {
  std::string config_file = {};            // may be empty: everything is in the environment
  std::string roles = {};                  // separated by commas; empty: as configured
  std::string listen = {};                 // empty: as configured
  bool check = false;                      // only say whether the configuration can be used
};

namespace cli {

struct World;

/// A build that nobody pushed.
struct LocalBuild {
  std::string repository = {};         // a directory git can fetch from
  TriggerEvent event = {};             // its sha is in the repository
  std::vector<std::string> jobs = {};  // with what they need; empty: all
  std::map<std::string, std::string> secrets = {};
  Duration hold = {};                  // of jobs that fail, for a shell
};

/// A server in this process, for as long as a command runs.
class LocalServer {
 public:
  virtual ~LocalServer() = default;
  virtual std::string url() const = 0;
  virtual std::string token() const = 0;
  /// Makes the one project, named `local_project`, and its first build; returns the build's id.
  virtual Task<Result<std::string>> build(LocalBuild wanted) = 0;
  /// Raised once, by the first SIGINT or SIGTERM; another one ends the process.
  virtual Signal& interrupted() = 0;
};

inline constexpr const char* local_project = "local";

struct LocalOptions {
  std::string data_dir = {};
  int slots = 0;
};

/// What the app layer does for commands; each returns the process's exit code.
struct Programs {
  std::function<int(UpOptions)> up = {};
  std::function<int(ServeOptions)> serve = {};
  /// Starts a server, runs `use` beside it and stops the server again.
  std::function<int(LocalOptions, std::function<Task<int>(Loop, LocalServer&)> use)> with_server = {};
};

// Exit codes.
inline constexpr int done = 0;
inline constexpr int said_no = 1;      // the build or check failed
inline constexpr int used_wrongly = 2;
inline constexpr int unreachable = 3;  // the server could not be reached

int run(int argc, char** argv, const Programs& programs);

/// The same in another world: `arguments` without the program's name.
int run(const std::vector<std::string>& arguments, World& world, const Programs& programs);

}  // namespace cli
}  // namespace mayfly
