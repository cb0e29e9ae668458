#include "adapters/host_runners/runner_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "adapters/sandbox/unique_fd.h"
#include "base/json.h"

namespace mayfly {
namespace {

/// Reads fields of one object and remembers the first that is missing or of another type.
class Reader final {
 public:
  explicit Reader(const json::value& object) : object_(object) {}

  std::string string(const char* key) { return keep(key, find_string(object_, key)); }
  std::int64_t integer(const char* key) { return keep(key, find_int(object_, key)); }
  bool boolean(const char* key) { return keep(key, find_bool(object_, key)); }

  AttemptId attempt(const char* key) {
    auto id = AttemptId::parse(string(key));
    if (!id) wrong(key);
    return id.value_or(AttemptId{});
  }

  std::vector<std::string> strings(const char* key) {
    std::vector<std::string> values;
    auto* list = find(object_, key);
    if (!list || !list->is_array()) return wrong(key), values;
    for (auto& item : list->get_array()) {
      if (item.is_string())
        values.emplace_back(item.get_string());
      else
        wrong(key);
    }
    return values;
  }

  std::map<std::string, std::string> texts(const char* key) {
    std::map<std::string, std::string> values;
    auto* object = find(object_, key);
    if (!object || !object->is_object()) return wrong(key), values;
    for (auto& [name, value] : object->get_object())
      if (value.is_string()) values.emplace(name, value.get_string());
      else wrong(key);
    return values;
  }

  void wrong(const char* key) {
    if (wrong_.empty()) wrong_ = key;
  }
  template <class T>
  Result<T> result(const char* file, T value) const {
    if (wrong_.empty()) return value;
    return fail(Errc::corrupt, std::string(file) + ": the field '" + wrong_ + "' is missing or not what it should be");
  }

 private:
  template <class T>
  T keep(const char* key, std::optional<T> value) {
    if (!value) wrong(key);
    return value ? *std::move(value) : T{};
  }

  const json::value& object_;
  std::string wrong_;
};

json::object object_of(const std::map<std::string, std::string>& texts) {
  json::object out;
  for (auto& [key, value] : texts) out.emplace(key, value);
  return out;
}

Result<json::value> parse(const char* file, std::string_view text) {
  auto value = parse_json(text);
  if (!value) return fail(Errc::corrupt, std::string(file) + ": " + value.error().message);
  return value;
}

}  // namespace

std::string to_json(const RunnerFile& file) {
  auto& spec = file.spec;
  json::array directories(file.image_directories.begin(), file.image_directories.end()), networks(file.allowed_networks.begin(), file.allowed_networks.end());
  json::object out{
      {"attempt", spec.attempt.str()}, {"fence", spec.fence.value}, {"api_url", spec.api_url}, {"image", spec.image}, {"cpu_milli", spec.cpu_milli},
      {"memory_bytes", spec.memory_bytes}, {"disk_bytes", spec.disk_bytes}, {"pids", spec.pids}, {"network", spec.network},
      {"timeout_us", spec.timeout.count()}, {"cache_dir", file.cache_dir}, {"image_directories", std::move(directories)},
      {"allowed_networks", std::move(networks)}, {"log_files", file.log_files}, {"runsc", file.runsc},
      {"isolation", spec.isolation}, {"services", services_to_json(spec.services)},
      {"registries", json::array(file.registries.registries.begin(), file.registries.registries.end())}, {"registry_mirrors", object_of(file.registries.mirrors)},
      {"registry_auth", file.registries.auth_file}, {"image_store_bytes", file.registries.store_bytes}, {"user_namespaces", file.user_namespaces}};
  if (auto& place = file.docker)
    out["docker"] = {{"socket", place->socket}, {"pool", place->pool}, {"home", place->home}, {"default_image", place->default_image}, {"network", place->network}, {"runtime", place->runtime}};
  return json::serialize(out);
}

Result<RunnerFile> runner_file_from_json(std::string_view text) {
  TRY_ASSIGN(auto value, parse(runner_file_name, text));
  Reader in(value);
  RunnerFile file;
  auto& spec = file.spec;
  spec.attempt = in.attempt("attempt");
  spec.fence = Fence{in.integer("fence")};
  spec.api_url = in.string("api_url");
  spec.image = in.string("image");
  spec.cpu_milli = in.integer("cpu_milli");
  spec.memory_bytes = in.integer("memory_bytes");
  spec.disk_bytes = in.integer("disk_bytes");
  spec.pids = in.integer("pids");
  spec.network = in.boolean("network");
  spec.timeout = Duration{in.integer("timeout_us")};
  file.cache_dir = in.string("cache_dir");
  file.image_directories = in.strings("image_directories");
  file.allowed_networks = in.strings("allowed_networks");
  file.log_files = in.string("log_files");
  file.runsc = in.string("runsc");
  spec.isolation = in.string("isolation");
  auto services = services_from_json(in.string("services"));
  if (!services) in.wrong("services");
  else spec.services = *std::move(services);
  if (find(value, "docker"))
    file.docker = DockerPlace{in.string("docker.socket"), in.string("docker.pool"), in.string("docker.home"), in.string("docker.default_image"), in.string("docker.network"), in.string("docker.runtime")};
  file.registries = {in.strings("registries"), in.texts("registry_mirrors"), in.string("registry_auth"), in.integer("image_store_bytes")};
  file.user_namespaces = in.boolean("user_namespaces");
  return in.result(runner_file_name, std::move(file));
}

std::string to_json(const EndedFile& file) {
  return json::serialize(json::object{{"reason", to_string(file.reason)}, {"detail", file.detail}});
}

Result<EndedFile> ended_file_from_json(std::string_view text) {
  TRY_ASSIGN(auto value, parse(ended_file_name, text));
  Reader in(value);
  auto reason = reason_from(in.string("reason"));
  if (!reason) in.wrong("reason");
  return in.result(ended_file_name, EndedFile{reason.value_or(Reason::none), in.string("detail")});
}

std::string to_json(const RunnerProcess& process) {
  return json::serialize(json::object{{"pid", process.pid}, {"start_ticks", process.start_ticks}, {"boot_id", process.boot_id}});
}

Result<RunnerProcess> runner_process_from_json(std::string_view text) {
  TRY_ASSIGN(auto value, parse(process_file_name, text));
  Reader in(value);
  RunnerProcess process{pid_t(in.integer("pid")), std::uint64_t(in.integer("start_ticks")), in.string("boot_id")};
  if (process.pid <= 0) in.wrong("pid");
  return in.result(process_file_name, std::move(process));
}

Result<void> write_file_atomically(const std::string& path, std::string_view text) {
  auto partial = path + ".partial";
  UniqueFd fd(open(partial.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600));
  if (!fd || write(fd.get(), text.data(), text.size()) != ssize_t(text.size()) || rename(partial.c_str(), path.c_str()) != 0)
    return fail(Errc::unavailable, "cannot write " + path + ": " + std::strerror(errno));
  return {};
}

Result<std::string> read_small_file(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return fail(errno == ENOENT ? Errc::not_found : Errc::unavailable, "cannot open " + path + ": " + std::strerror(errno));
  std::string text(max_runner_file_bytes + 1, '\0');
  auto n = read(fd.get(), text.data(), text.size());
  if (n < 0) return fail(Errc::unavailable, "cannot read " + path + ": " + std::strerror(errno));
  if (std::size_t(n) > max_runner_file_bytes) return fail(Errc::too_large, path + " is larger than " + std::to_string(max_runner_file_bytes) + " bytes");
  text.resize(std::size_t(n));
  return text;
}

}  // namespace mayfly
