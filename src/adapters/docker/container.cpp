#include "adapters/docker/container.h"

#include "base/json.h"

namespace mayfly::docker {
namespace {

constexpr std::int64_t shared_memory_bytes = 256 << 20;   // of /dev/shm; browsers need more than the engine's 64 MB

json::array texts(const std::vector<std::string>& list) { return json::array(list.begin(), list.end()); }

json::object named(const Labels& labels) {
  json::object out;
  for (auto& [name, value] : labels) out[name] = value;
  return out;
}

Labels labels_of(const json::value* value) {
  Labels out;
  if (!value || !value->is_object()) return out;
  for (auto& [name, text] : value->get_object())
    if (text.is_string()) out.emplace(name, std::string(text.get_string()));
  return out;
}

json::object limit(const char* name, std::int64_t value) { return {{"Name", name}, {"Soft", value}, {"Hard", value}}; }

json::object log_config(std::int64_t keep) {
  if (keep <= 0) return {{"Type", "none"}};
  return {{"Type", "json-file"}, {"Config", {{"max-size", std::to_string(keep)}, {"max-file", "1"}}}};
}

json::object host_config(const ContainerSpec& spec) {
  json::array mounts, limits{limit("core", 0)};
  for (auto& mount : spec.mounts)
    mounts.push_back({{"Type", "bind"}, {"Source", mount.source}, {"Target", mount.target}, {"ReadOnly", mount.read_only}, {"BindOptions", {{"Propagation", "rprivate"}}}});
  if (spec.processes_of_user > 0) limits.push_back(limit("nproc", spec.processes_of_user));
  json::object tmpfs;
  for (auto& place : spec.tmpfs) tmpfs[place] = "nosuid,nodev,mode=1777";
  json::object out{
      {"Mounts", std::move(mounts)}, {"Tmpfs", std::move(tmpfs)}, {"NetworkMode", spec.network}, {"CapDrop", json::array{"ALL"}}, {"CapAdd", texts(spec.capabilities)},
      {"SecurityOpt", json::array{"no-new-privileges"}}, {"ReadonlyRootfs", spec.read_only_root}, {"RestartPolicy", {{"Name", "no"}}}, {"UsernsMode", "host"},
      {"IpcMode", "private"}, {"Ulimits", std::move(limits)}, {"LogConfig", log_config(spec.keep_log_bytes)}, {"ExtraHosts", texts(spec.extra_hosts)},
      {"ShmSize", shared_memory_bytes}};
  if (!spec.runtime.empty()) out["Runtime"] = spec.runtime;
  if (spec.memory_bytes > 0) out["Memory"] = out["MemorySwap"] = spec.memory_bytes;
  if (spec.cpu_milli > 0) out["NanoCpus"] = spec.cpu_milli * 1'000'000;
  if (spec.pids > 0) out["PidsLimit"] = spec.pids;
  if (spec.disk_bytes > 0) out["StorageOpt"] = json::object{{"size", std::to_string(spec.disk_bytes)}};
  return out;
}

std::unexpected<Error> strange(const char* what) { return fail(Errc::corrupt, std::string("the engine's word about ") + what + " is not what the API says"); }

}  // namespace

std::string to_json(const ContainerSpec& spec) {
  json::object out{{"Image", spec.image}, {"Labels", named(spec.labels)}, {"Env", texts(spec.env)}, {"User", spec.user}, {"WorkingDir", spec.working_directory},
                   {"Hostname", spec.hostname}, {"Tty", false}, {"OpenStdin", spec.standard_input}, {"StdinOnce", spec.standard_input},
                   {"AttachStdin", spec.standard_input}, {"AttachStdout", spec.standard_input}, {"AttachStderr", spec.standard_input},
                   {"HostConfig", host_config(spec)}};
  if (!spec.entrypoint.empty()) {
    out["Entrypoint"] = texts(spec.entrypoint);
    out["Cmd"] = json::array{};
  }
  auto nanoseconds = [](Duration d) { return std::chrono::nanoseconds(d).count(); };
  if (spec.health)
    out["Healthcheck"] = json::object{{"Test", json::array{"CMD-SHELL", spec.health->command}}, {"Interval", nanoseconds(spec.health->interval)},
                                      {"Timeout", nanoseconds(spec.health->timeout)}, {"Retries", 1'000'000}};
  else
    out["Healthcheck"] = json::object{{"Test", json::array{"NONE"}}};
  return json::serialize(out);
}

Result<Container> container_from_json(std::string_view text) {
  auto value = parse_json(text);
  if (!value) return strange("a container");
  Container out;
  auto id = find_string(*value, "Id");
  auto running = find_bool(*value, "State.Running");
  if (!id || !running) return strange("a container");
  out.id = *id;
  out.running = *running;
  out.pid = int(find_int(*value, "State.Pid").value_or(0));
  out.exit_code = int(find_int(*value, "State.ExitCode").value_or(0));
  out.out_of_memory = find_bool(*value, "State.OOMKilled").value_or(false);
  out.error = find_string(*value, "State.Error").value_or("");
  out.health = find_string(*value, "State.Health.Status").value_or("");
  if (auto* checks = find(*value, "State.Health.Log"); checks && checks->is_array() && !checks->get_array().empty())
    out.health_said = find_string(checks->get_array().back(), "Output").value_or("");
  out.labels = labels_of(find(*value, "Config.Labels"));
  return out;
}

Result<std::vector<ListedContainer>> containers_from_json(std::string_view text) {
  auto value = parse_json(text);
  if (!value || !value->is_array()) return strange("its containers");
  std::vector<ListedContainer> out;
  for (auto& item : value->get_array()) {
    auto id = find_string(item, "Id");
    if (!id) return strange("its containers");
    out.push_back({*id, find_string(item, "State").value_or("") == "running", labels_of(item.is_object() ? item.get_object().if_contains("Labels") : nullptr)});
  }
  return out;
}

}  // namespace mayfly::docker
