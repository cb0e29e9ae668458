#pragma once
// What `mayfly serve` is told: a YAML file, and the same keys as MAYFLY_… in the environment, which come first. Unknown
// keys and values that cannot be are refused with their place.

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "adapters/kubernetes/options.h"
#include "adapters/sandbox/registry_options.h"
#include "app/docker_config.h"
#include "base/result.h"
#include "domain/pipeline/isolation.h"
#include "roles/common/rate_table.h"

namespace mayfly {

/// A place where runners start: this machine, or what a section names.
struct PoolConfig {
  std::string name = "local";
  std::string data_dir = {};                         // of its runners; shared by all processes that keep this pool
  int slots = 0;                                     // how many 1-cpu jobs at once; 0: one a core
  std::vector<std::string> labels = {};
  std::vector<std::string> image_directories = {};   // where images other than the host's root may lie
  std::vector<std::string> allowed_networks = {};    // private networks jobs may reach
  RegistryOptions registries = {};                   // how images by name are fetched
  bool user_namespaces = false;                      // jobs may make some, for rootless builders of images
  Isolation isolation_floor = Isolation::sandbox;    // no job runs under less
  Isolation fork_isolation_floor = Isolation::sandbox;   // nor, under less than this, one of a fork's build
  std::string runsc = {};                            // gVisor's program; empty: looked up in PATH
  std::string log_files = {};                        // a folder where runners leave their logs for another shipper
  std::optional<KubernetesOptions> kubernetes = {};  // runners are Jobs of this cluster
  std::optional<DockerConfig> docker = {};           // jobs are containers of this engine
};

struct S3Config {
  std::string endpoint = {};
  std::string public_endpoint = {};  // as users of signed URLs reach it; empty: endpoint
  std::string region = "us-east-1";
  std::string bucket = "mayfly";
  std::string prefix = {};
  std::string access_key = {};
  std::string secret_key = {};
};

struct KafkaConfig {
  std::string brokers = {};          // "host:port,host:port"
  std::string topic_prefix = {};
  int partitions = 12;
  int replication = 1;
  std::vector<std::pair<std::string, std::string>> properties = {};   // more of librdkafka's: security.protocol, sasl.*, ssl.*
};

struct NodeConfig {
  std::string node = {};             // the name of this process; default: the machine's and the process's number
  std::vector<std::string> roles = {"gateway", "builds", "scheduler", "runners", "logs"};
  std::string listen = "127.0.0.1:8080";
  std::string public_url = {};       // how people reach the gateways; default: this process
  std::string runner_url = {};       // how runners reach them, several with commas between; default: public_url
  std::string data_dir = {};         // mirrors of repositories
  std::string log_level = "info";
  std::string database = {};         // postgresql://…
  std::string redis = {};            // redis://… or rediss://…
  std::string redis_authorities = {}; // PEM, for rediss://; empty: the system's
  KafkaConfig kafka = {};
  S3Config s3 = {};
  std::string runner_key = {};       // the same on every node: signs runners' tokens
  std::string sealing_key_file = {}; // the same 32 bytes on every node: seals secrets
  std::string owner_token = {};      // an owner's token, made when it is not known yet
  std::vector<PoolConfig> pools = {};
  RateTable rates = {};              // "limits": token, organization, deliveries: "1000/s burst 10000", or "none"

  bool has(std::string_view role) const;
};

/// Looks a variable of the environment up.
using Environment = std::function<std::optional<std::string>(const std::string&)>;

/// `text` of `file`, then the environment. Errc::invalid: every mistake as file:line:column, a line each.
Result<NodeConfig> parse_config(const std::string& file, std::string_view text, const Environment& environment);

/// Roles separated by commas. Errc::invalid names one that does not exist.
Result<std::vector<std::string>> parse_roles(std::string_view text);

/// Errc::invalid names every key that the chosen roles need and that is not set.
Result<void> check_config(const NodeConfig& config);

}  // namespace mayfly
