#include "app/config.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <sstream>

#include "app/kubernetes_config.h"
#include "domain/pipeline/forms.h"
#include "domain/pipeline/suggest.h"
#include "domain/pipeline/yaml.h"

namespace mayfly {
namespace {

constexpr std::size_t max_problems = 20;
constexpr std::array<std::string_view, 5> known_roles = {"gateway", "builds", "scheduler", "runners", "logs"};
constexpr int max_slots = 10'000;
constexpr int max_partitions = 1000;

bool contains(const auto& range, const auto& wanted) { return std::ranges::find(range, wanted) != std::end(range); }

/// An error text, or "" when the value was taken.
using Take = std::string (*)(NodeConfig&, const std::string&);

template <auto Member>
std::string take_text(NodeConfig& config, const std::string& value) {
  Member(config) = value;
  return {};
}

std::string take_number(int& to, const std::string& value, int least, int most) {
  auto [end, ec] = std::from_chars(value.data(), value.data() + value.size(), to);
  if (ec == std::errc{} && end == value.data() + value.size() && to >= least && to <= most) return {};
  return "a number between " + std::to_string(least) + " and " + std::to_string(most) + ", not '" + value + "'";
}

std::string take_isolation(Isolation& to, const std::string& value) {
  auto isolation = isolation_from(value);
  if (!isolation) return "sandbox, runc, gvisor or kata, not '" + value + "'";
  to = *isolation;
  return {};
}

std::string take_roles(NodeConfig& config, const std::string& value) {
  auto roles = parse_roles(value);
  if (!roles) return roles.error().message;
  config.roles = std::move(*roles);
  return {};
}

template <auto Member>
std::string take_rate(NodeConfig& config, const std::string& value) {
  auto& limit = config.rates.*Member;
  limit.reset();
  if (value == "none") return {};
  auto rate = parse_rate(value);
  if (!rate) return rate.error().message + "; " + rate.error().hint + ", or 'none'";
  limit = *rate;
  return {};
}

struct Key {
  std::string_view name;
  Take take;
};

#define MAYFLY_TEXT(member) take_text<[](NodeConfig& c) -> std::string& { return c.member; }>
constexpr Key keys[] = {
    {"node", MAYFLY_TEXT(node)},
    {"roles", take_roles},
    {"listen", MAYFLY_TEXT(listen)},
    {"public_url", MAYFLY_TEXT(public_url)},
    {"runner_url", MAYFLY_TEXT(runner_url)},
    {"data_dir", MAYFLY_TEXT(data_dir)},
    {"log_level", MAYFLY_TEXT(log_level)},
    {"database", MAYFLY_TEXT(database)},
    {"redis", MAYFLY_TEXT(redis)},
    {"redis_authorities", MAYFLY_TEXT(redis_authorities)},
    {"kafka.brokers", MAYFLY_TEXT(kafka.brokers)},
    {"kafka.topic_prefix", MAYFLY_TEXT(kafka.topic_prefix)},
    {"kafka.partitions", [](NodeConfig& c, const std::string& v) { return take_number(c.kafka.partitions, v, 1, max_partitions); }},
    {"kafka.replication", [](NodeConfig& c, const std::string& v) { return take_number(c.kafka.replication, v, 1, 9); }},
    {"s3.endpoint", MAYFLY_TEXT(s3.endpoint)},
    {"s3.public_endpoint", MAYFLY_TEXT(s3.public_endpoint)},
    {"s3.region", MAYFLY_TEXT(s3.region)},
    {"s3.bucket", MAYFLY_TEXT(s3.bucket)},
    {"s3.prefix", MAYFLY_TEXT(s3.prefix)},
    {"s3.access_key", MAYFLY_TEXT(s3.access_key)},
    {"s3.secret_key", MAYFLY_TEXT(s3.secret_key)},
    {"limits.token", take_rate<&RateTable::token>},
    {"limits.organization", take_rate<&RateTable::organization>},
    {"limits.deliveries", take_rate<&RateTable::deliveries>},
    {"runner_key", MAYFLY_TEXT(runner_key)},
    {"sealing_key_file", MAYFLY_TEXT(sealing_key_file)},
    {"owner_token", MAYFLY_TEXT(owner_token)},
};
#undef MAYFLY_TEXT

constexpr std::string_view file_suffix = "_file";   // of a key whose value stands in a file, as secrets do
constexpr std::string_view pool_keys[] = {"name", "data_dir", "slots", "labels", "images", "allow_networks", "registries", "registry_mirrors", "registry_auth", "image_store", "user_namespaces", "log_files",
                                           "isolation_floor", "fork_isolation_floor", "runsc", "docker", "kubernetes"};

const Key* find_key(std::string_view name) {
  auto at = std::ranges::find(keys, name, &Key::name);
  return at == std::end(keys) ? nullptr : at;
}

std::string variable_of(std::string_view key) {
  std::string out = "MAYFLY_";
  for (char c : key) out += c == '.' ? '_' : char(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

std::optional<std::string> contents(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::nullopt;
  std::ostringstream text;
  text << in.rdbuf();
  auto out = text.str();
  while (out.ends_with('\n')) out.pop_back();
  return out;
}

class Reader {
 public:
  explicit Reader(const std::string& file) : file_(file), problems_(max_problems) {}

  void read(std::string_view text) {
    auto document = read_yaml(file_, text, {}, problems_);
    auto& root = *document.root;
    if (root.is_scalar() && root.is_null()) return;
    if (!root.is_map()) return wrong(root, "a configuration is a map of keys, not " + std::string(root.describe()));
    for (auto& [key, value] : root.entries) {
      if (key->text == "pools") read_pools(*value);
      else if (value->is_map()) read_section(key->text, *value);
      else read_value(*key, key->text, *value);
    }
  }

  void read_environment(const Environment& environment) {
    for (auto& key : keys) {
      auto name = variable_of(key.name);
      if (auto value = environment(name)) complain({}, name, key.take(config_, *value));
      if (auto path = environment(variable_of(std::string(key.name) + std::string(file_suffix)))) take_file({}, key, *path);
    }
  }

  Result<NodeConfig> result() {
    if (problems_.empty()) return std::move(config_);
    std::string text;
    for (auto& problem : problems_.take()) text += (text.empty() ? "" : "\n") + to_string(problem);
    return fail(Errc::invalid, text);
  }

 private:
  void wrong(const YamlNode& at, std::string message, std::string hint = {}) { problems_.add(file_, at.at, std::move(message), std::move(hint)); }

  void complain(Mark at, const std::string& what, const std::string& message) {
    if (!message.empty()) problems_.add(file_, at, what + ": " + message);
  }

  void take_file(Mark at, const Key& key, const std::string& path) {
    auto value = contents(path);
    complain(at, std::string(key.name), value ? key.take(config_, *value) : "the file '" + path + "' cannot be read");
  }

  void read_section(const std::string& section, const YamlNode& map) {
    for (auto& [key, value] : map.entries) {
      if (section == "kafka" && key->text == "properties") read_kafka_properties(*value);
      else read_value(*key, section + "." + key->text, *value);
    }
  }

  void read_value(const YamlNode& at, const std::string& name, const YamlNode& value) {
    auto* key = find_key(name);
    bool in_file = !key && name.ends_with(file_suffix);
    if (in_file) key = find_key(std::string_view(name).substr(0, name.size() - file_suffix.size()));
    if (!key) return unknown(at, name);
    if (value.is_list()) {
      std::string joined;
      for (auto* item : value.items) joined += (joined.empty() ? "" : ",") + item->text;
      return complain(value.at, name, key->take(config_, joined));
    }
    if (!value.is_scalar()) return wrong(value, name + ": one value, not " + std::string(value.describe()));
    if (in_file) return take_file(value.at, *key, value.text);
    complain(value.at, name, key->take(config_, value.text));
  }

  /// Names are librdkafka's own; one that ends in _file has its value in that file.
  void read_kafka_properties(const YamlNode& map) {
    if (!map.is_map()) return wrong(map, "kafka.properties: a map, not " + std::string(map.describe()));
    for (auto& [key, value] : map.entries) {
      std::string_view name = key->text;
      std::optional<std::string> text = value->text;
      if (name.ends_with(file_suffix)) {
        name.remove_suffix(file_suffix.size());
        text = contents(value->text);
      }
      if (!value->is_scalar()) wrong(*value, "kafka.properties: one value, not " + std::string(value->describe()));
      else if (!text) wrong(*value, std::string(name) + ": the file '" + value->text + "' cannot be read");
      else config_.kafka.properties.emplace_back(name, *text);
    }
  }

  void unknown(const YamlNode& at, const std::string& name) {
    std::vector<std::string_view> known{"pools"};
    for (auto& key : keys) known.push_back(key.name);
    wrong(at, "'" + name + "' is no key", suggestion(name, known));
  }

  void read_pools(const YamlNode& list) {
    if (!list.is_list()) return wrong(list, "pools: a list, not " + std::string(list.describe()));
    for (auto* item : list.items) {
      if (!item->is_map()) {
        wrong(*item, "a pool is a map, not " + std::string(item->describe()));
        continue;
      }
      PoolConfig pool;
      for (auto& [key, value] : item->entries) read_pool_value(pool, *key, *value);
      if (pool.kubernetes) pool.kubernetes->pool = pool.name;
      bool known = std::ranges::find(config_.pools, pool.name, &PoolConfig::name) != config_.pools.end();
      if (known) wrong(*item, "there are two pools named '" + pool.name + "'");
      config_.pools.push_back(std::move(pool));
    }
  }

  void read_pool_value(PoolConfig& pool, const YamlNode& key, const YamlNode& value) {
    auto texts = [&]() -> std::vector<std::string> {
      std::vector<std::string> out;
      for (auto* item : value.items) out.push_back(item->text);
      return out;
    };
    if (key.text == "name") pool.name = value.text;
    else if (key.text == "data_dir") pool.data_dir = value.text;
    else if (key.text == "log_files") pool.log_files = value.text;
    else if (key.text == "slots") complain(value.at, "slots", take_number(pool.slots, value.text, 0, max_slots));
    else if (key.text == "runsc") pool.runsc = value.text;
    else if (key.text == "isolation_floor") complain(value.at, key.text, take_isolation(pool.isolation_floor, value.text));
    else if (key.text == "fork_isolation_floor") complain(value.at, key.text, take_isolation(pool.fork_isolation_floor, value.text));
    else if (key.text == "labels") pool.labels = texts();
    else if (key.text == "images") pool.image_directories = texts();
    else if (key.text == "registries") pool.registries.registries = texts();
    else if (key.text == "user_namespaces") {
      if (auto on = value.as_bool()) pool.user_namespaces = *on;
      else wrong(value, "'" + value.text + "' is neither true nor false");
    }
    else if (key.text == "registry_mirrors") read_mirrors(pool.registries, key, value);
    else if (key.text == "registry_auth") pool.registries.auth_file = value.text;
    else if (key.text == "image_store") read_image_store(pool.registries, value);
    else if (key.text == "allow_networks") pool.allowed_networks = texts();
    else if (key.text == "kubernetes") pool.kubernetes = read_kubernetes(value, [this](auto& at, auto message, auto hint) { wrong(at, std::move(message), std::move(hint)); });
    else if (key.text == "docker") pool.docker = read_docker(value, [this](auto& at, auto message, auto hint) { wrong(at, std::move(message), std::move(hint)); });
    else wrong(key, "'" + key.text + "' is no key of a pool", suggestion(key.text, pool_keys));
  }

  void read_mirrors(RegistryOptions& options, const YamlNode& key, const YamlNode& value) {
    for (auto& [host, mirror] : value.entries) options.mirrors[host->text] = mirror->text;
    if (!value.is_map()) wrong(key, "'registry_mirrors' is no map", "write {docker.io: \"http://127.0.0.1:5000\"}");
  }

  void read_image_store(RegistryOptions& options, const YamlNode& value) {
    auto bytes = read_size(value);
    if (bytes && *bytes >= 0) options.store_bytes = *bytes;
    else wrong(value, "'" + value.text + "' is no size", "write 20Gi");
  }

  const std::string& file_;
  Problems problems_;
  NodeConfig config_;
};

std::string machine_name() {
  char name[256] = {};
  if (::gethostname(name, sizeof name - 1) != 0) return "node";
  return name;
}

}  // namespace

bool NodeConfig::has(std::string_view role) const { return contains(roles, role); }

Result<std::vector<std::string>> parse_roles(std::string_view text) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at <= text.size();) {
    auto end = std::min(text.find(',', at), text.size());
    auto role = text.substr(at, end - at);
    if (!contains(known_roles, role))
      return fail(Errc::invalid, "'" + std::string(role) + "' is no role", suggestion(role, known_roles));
    if (!contains(out, role)) out.emplace_back(role);
    at = end + 1;
  }
  return out;
}

Result<NodeConfig> parse_config(const std::string& file, std::string_view text, const Environment& environment) {
  Reader reader(file);
  reader.read(text);
  reader.read_environment(environment);
  TRY_ASSIGN(auto config, reader.result());
  if (config.node.empty()) config.node = machine_name() + "-" + std::to_string(::getpid());
  return config;
}

Result<void> check_config(const NodeConfig& config) {
  std::vector<std::string> missing;
  auto need = [&](std::string_view key, const std::string& value) {
    if (value.empty()) missing.emplace_back(key);
  };
  need("data_dir", config.data_dir);
  need("database", config.database);
  need("redis", config.redis);
  need("kafka.brokers", config.kafka.brokers);
  need("s3.endpoint", config.s3.endpoint);
  need("s3.access_key", config.s3.access_key);
  need("s3.secret_key", config.s3.secret_key);
  need("runner_key", config.runner_key);
  need("sealing_key_file", config.sealing_key_file);
  if (config.has("gateway")) need("owner_token", config.owner_token);
  if (config.has("runners") && config.pools.empty()) missing.emplace_back("pools");
  for (auto& pool : config.pools)
    if (pool.data_dir.empty() && !pool.kubernetes) missing.emplace_back("pools: data_dir of '" + pool.name + "'");
  if (missing.empty()) return {};
  std::string text = "not set:";
  for (auto& key : missing) text += " " + key + (&key == &missing.back() ? "" : ",");
  return fail(Errc::invalid, text, "in the file, or as MAYFLY_… in the environment; a secret also as KEY_file, the name of a file that holds it");
}

}  // namespace mayfly
