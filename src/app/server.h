#pragma once
// The whole server in one process: a node with every role over the embedded adapters. `mayfly up` runs it until a signal comes,
// `mayfly run` for the length of one build.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/docker_config.h"
#include "async/task.h"
#include "adapters/sandbox/registry_options.h"
#include "base/result.h"
#include "cli/cli.h"

namespace mayfly {

class Node;

struct ServerConfig {
  std::string data_dir;                    // made when needed, mode 0700; one server a directory
  std::string listen = "127.0.0.1:8080";
  int slots = 0;                           // how many 1-cpu jobs at once; 0: one a core
  std::vector<std::string> image_directories = {};   // where images other than the host's root may lie
  std::vector<std::string> allowed_networks = {};    // private networks jobs may reach
  RegistryOptions registries = {};                   // how images by name are fetched
  bool user_namespaces = false;                      // jobs may make some, for rootless builders of images
  Isolation isolation_floor = Isolation::sandbox;
  Isolation fork_isolation_floor = Isolation::sandbox;
  std::optional<DockerConfig> docker = {};           // jobs are containers of this engine
};

class EmbeddedServer final {
 public:
  /// Opens everything; nothing runs yet. Errors say what to do.
  static Result<std::unique_ptr<EmbeddedServer>> open(Loop loop, ServerConfig config);
  ~EmbeddedServer();

  const std::string& base_url() const;     // "http://127.0.0.1:8080"
  const std::string& token() const;        // an owner's; also in DIR/token

  /// Makes a project with its secrets and a build of it, of any event; returns the build's id. Errc::unsupported: there is nothing to build.
  Task<Result<std::string>> build_once(std::string project, cli::LocalBuild wanted);

  /// Serves until stop() has drained, or the caller is canceled. Runners go on without the server.
  Task<void> run();
  void stop();

 private:
  explicit EmbeddedServer(std::unique_ptr<Node> node);
  std::unique_ptr<Node> node_;
};

}  // namespace mayfly
