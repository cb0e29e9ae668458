#include "adapters/kubernetes/manifest.h"

#include <algorithm>

#include "adapters/host_runners/runner_files.h"
#include "base/json.h"
#include "domain/runner/pod.h"

namespace mayfly::kubernetes {
namespace {

constexpr int termination_grace_seconds = 30;
constexpr int ready_period_seconds = 1;
constexpr int identity_seconds = 3600;
constexpr std::int64_t runner_disk_bytes = std::int64_t(2) << 30;   // a log of 1 GiB, and files on their way
constexpr std::int64_t bin_bytes = std::int64_t(64) << 20;

std::int64_t seconds(Duration d) { return std::chrono::ceil<std::chrono::seconds>(d).count(); }

bool is_label_value(std::string_view text) {
  auto is_word = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); };
  return !text.empty() && text.size() <= 63 && is_word(text.front()) && is_word(text.back()) &&
         std::ranges::all_of(text, [&](char c) { return is_word(c) || c == '-' || c == '_' || c == '.'; });
}

json::array words(std::initializer_list<std::string_view> list) {
  json::array out;
  for (auto word : list) out.emplace_back(word);
  return out;
}

std::string without_scheme(const std::string& image) {
  constexpr std::string_view registry = "docker://";
  return image.starts_with(registry) ? image.substr(registry.size()) : image;
}

json::object variable(std::string_view name, std::string_view value) { return {{"name", name}, {"value", value}}; }

json::object field_variable(std::string_view name, std::string_view path) {
  return {{"name", name}, {"valueFrom", json::object{{"fieldRef", json::object{{"fieldPath", path}}}}}};
}

json::object mount(std::string_view name, std::string_view path, bool read_only = false) {
  json::object out{{"name", name}, {"mountPath", path}};
  if (read_only) out["readOnly"] = true;
  return out;
}

json::object empty_directory(std::string_view name, std::int64_t bytes) {
  json::object directory;
  if (bytes > 0) directory["sizeLimit"] = std::to_string(bytes);
  return {{"name", name}, {"emptyDir", std::move(directory)}};
}

json::object resources(std::int64_t cpu_milli, std::int64_t memory_bytes, std::int64_t disk_bytes) {
  json::object amounts{{"cpu", std::to_string(cpu_milli) + "m"}};
  if (memory_bytes > 0) amounts["memory"] = std::to_string(memory_bytes);
  if (disk_bytes > 0) amounts["ephemeral-storage"] = std::to_string(disk_bytes);
  return {{"requests", amounts}, {"limits", amounts}};
}

json::object security(bool read_only_root) {
  return {{"allowPrivilegeEscalation", false}, {"capabilities", json::object{{"drop", words({"ALL"})}}}, {"readOnlyRootFilesystem", read_only_root}};
}

class Writer {
 public:
  Writer(const KubernetesOptions& options, const std::string& name_space, const RunnerSpec& spec) : options_(options), name_space_(name_space), spec_(spec) {}

  Result<json::object> write() const {
    TRY_ASSIGN(auto pod, pod_spec());
    bool bare = options_.runner_object == RunnerObject::pod;
    auto metadata = bare ? pod_metadata() : json::object{{"labels", labels()}};
    metadata["name"] = object_name(spec_.attempt);
    metadata["namespace"] = name_space_;
    if (bare) {
      pod["activeDeadlineSeconds"] = deadline();
      metadata["finalizers"] = words({finalizer});
      return json::object{{"apiVersion", "v1"}, {"kind", "Pod"}, {"metadata", std::move(metadata)}, {"spec", std::move(pod)}};
    }
    return json::object{{"apiVersion", "batch/v1"}, {"kind", "Job"}, {"metadata", std::move(metadata)}, {"spec", job_spec(std::move(pod))}};
  }

 private:
  std::int64_t deadline() const { return seconds(spec_.timeout + options_.start_deadline + deadline_margin); }

  json::object labels() const {
    return {{managed_label, "true"}, {pool_label, options_.pool}, {attempt_label, spec_.attempt.str()}, {fence_label, std::to_string(spec_.fence.value)},
            {network_label, spec_.network ? "internet" : "none"}};
  }

  json::object pod_metadata() const {
    json::object out{{"labels", labels()}};
    if (spec_.isolation != "gvisor") return out;
    // One file system for all containers: the runner's socket is in it. (gVisor, "Shared volumes".)
    json::object annotations;
    for (auto [key, value] : {std::pair{"share", "pod"}, {"type", "tmpfs"}, {"options", "rw"}}) annotations[std::string("dev.gvisor.spec.mount.meeting.") + key] = value;
    out["annotations"] = std::move(annotations);
    return out;
  }

  /// One pod, once: whatever becomes of it, trying again is ours.
  json::object job_spec(json::object pod) const {
    json::array conditions, zero{0}, rules;
    conditions.push_back(json::object{{"type", "DisruptionTarget"}, {"status", "True"}});
    rules.push_back(json::object{{"action", "FailJob"}, {"onPodConditions", std::move(conditions)}});
    json::object codes{{"containerName", pod::job_container}, {"operator", "NotIn"}, {"values", std::move(zero)}};
    rules.push_back(json::object{{"action", "FailJob"}, {"onExitCodes", std::move(codes)}});
    json::object pods{{"metadata", pod_metadata()}, {"spec", std::move(pod)}};
    return {{"parallelism", 1}, {"completions", 1}, {"completionMode", "NonIndexed"}, {"backoffLimit", 0}, {"podReplacementPolicy", "Failed"},
            {"activeDeadlineSeconds", deadline()}, {"ttlSecondsAfterFinished", seconds(finished_kept)},
            {"podFailurePolicy", json::object{{"rules", std::move(rules)}}}, {"template", std::move(pods)}};
  }

  Result<json::object> pod_spec() const {
    TRY_ASSIGN(auto image, image_of(spec_.image));
    json::object out{{"restartPolicy", "Never"}, {"serviceAccountName", options_.service_account}, {"automountServiceAccountToken", false},
                     {"enableServiceLinks", false}, {"shareProcessNamespace", false}, {"terminationGracePeriodSeconds", termination_grace_seconds},
                     {"securityContext", pod_security()}, {"volumes", volumes()}, {"tolerations", tolerations()}};
    json::array inits;
    inits.push_back(install());
    inits.push_back(runner());
    for (auto& service : spec_.services) {
      TRY_ASSIGN(auto its_image, image_of(service.image));
      inits.push_back(this->service(service, its_image));
    }
    out["initContainers"] = std::move(inits);
    json::array containers;
    containers.push_back(job(image));
    out["containers"] = std::move(containers);
    if (!spec_.services.empty()) out["hostAliases"] = host_aliases();
    TRY(place(out));
    return out;
  }

  Result<void> place(json::object& out) const {
    bool is_plain = spec_.isolation == "runc" || spec_.isolation == "sandbox";   // what the cluster's own runtime gives
    auto at = options_.runtime_classes.find(spec_.isolation);
    if (at == options_.runtime_classes.end()) {
      if (!is_plain)
        return fail(Errc::unsupported, "pool '" + options_.pool + "' has no isolation '" + spec_.isolation + "'", "name a RuntimeClass for it in kubernetes.runtime_classes");
    } else {
      out["runtimeClassName"] = at->second;
    }
    if (options_.user_namespaces) out["hostUsers"] = false;
    if (!options_.priority_class.empty()) out["priorityClassName"] = options_.priority_class;
    if (!options_.node_selector.empty()) {
      json::object selector;
      for (auto& [key, value] : options_.node_selector) selector[key] = value;
      out["nodeSelector"] = std::move(selector);
    }
    json::array secrets;
    for (auto& name : options_.image_pull_secrets) secrets.push_back(json::object{{"name", name}});
    if (!secrets.empty()) out["imagePullSecrets"] = std::move(secrets);
    if (!spec_.avoid_machines.empty()) out["affinity"] = elsewhere();
    return {};
  }

  /// Another node than these, if there is one.
  json::object elsewhere() const {
    json::array fields;
    for (auto& node : spec_.avoid_machines) {
      if (fields.size() == max_avoided) break;
      fields.push_back(json::object{{"key", "metadata.name"}, {"operator", "NotIn"}, {"values", words({node})}});
    }
    json::array preferred;
    preferred.push_back(json::object{{"weight", 100}, {"preference", json::object{{"matchFields", std::move(fields)}}}});
    return {{"nodeAffinity", json::object{{"preferredDuringSchedulingIgnoredDuringExecution", std::move(preferred)}}}};
  }

  Result<std::string> image_of(const std::string& image) const {
    if (image == "host") {
      if (!options_.default_image.empty()) return options_.default_image;
      return fail(Errc::unsupported, "pool '" + options_.pool + "' runs everything in images, and the job or a service names none", "give it an `image`, or the pool a kubernetes.default_image");
    }
    if (image.starts_with('/') || image.starts_with("oci:"))
      return fail(Errc::unsupported, "the image '" + image + "' lies on a machine, and pool '" + options_.pool + "' takes images from registries");
    return without_scheme(image);
  }

  json::object pod_security() const {
    return {{"runAsNonRoot", true}, {"runAsUser", options_.user}, {"runAsGroup", options_.user}, {"fsGroup", options_.user},
            {"fsGroupChangePolicy", "OnRootMismatch"}, {"seccompProfile", json::object{{"type", "RuntimeDefault"}}}};
  }

  json::array tolerations() const {
    json::array out;
    for (auto& text : options_.tolerations)
      if (auto one = parse_json(text)) out.push_back(*std::move(one));
    for (auto taint : {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"})
      out.push_back(json::object{{"key", taint}, {"operator", "Exists"}, {"effect", "NoExecute"}, {"tolerationSeconds", seconds(node_silence)}});
    return out;
  }

  json::array volumes() const {
    json::array out;
    out.push_back(empty_directory("bin", bin_bytes));
    out.push_back(empty_directory("meeting", bin_bytes));
    out.push_back(empty_directory("state", runner_disk_bytes));
    out.push_back(empty_directory("workspace", spec_.disk_bytes));
    out.push_back(empty_directory("tmp", spec_.disk_bytes));
    json::object token{{"audience", pod::identity_audience}, {"expirationSeconds", identity_seconds}, {"path", "token"}};
    json::array sources;
    sources.push_back(json::object{{"serviceAccountToken", std::move(token)}});
    out.push_back(json::object{{"name", "identity"}, {"projected", json::object{{"sources", std::move(sources)}}}});
    return out;
  }

  json::object container(std::string_view name, std::string_view image, json::array command, bool read_only_root) const {
    return {{"name", name}, {"image", image}, {"command", std::move(command)}, {"securityContext", security(read_only_root)},
            {"terminationMessagePolicy", "FallbackToLogsOnError"}};   // what there is to say about one that failed, without reading logs
  }

  json::object install() const {
    auto out = container(pod::install_container, options_.runner_image, words({"mayfly-init", "--install", pod::bin_directory}), true);
    out["resources"] = resources(options_.runner_cpu_milli, options_.runner_memory_bytes, runner_disk_bytes);
    json::array mounts;
    mounts.push_back(mount("bin", pod::bin_directory));
    out["volumeMounts"] = std::move(mounts);
    return out;
  }

  json::object runner() const {
    std::string identity = pod::identity_file;
    auto file = spec_;
    file.boot_token.clear();
    auto out = container(pod::runner_container, options_.runner_image, words({"mayfly-runner", "--pod"}), true);
    out["restartPolicy"] = "Always";
    out["resources"] = resources(options_.runner_cpu_milli, options_.runner_memory_bytes, runner_disk_bytes);
    json::array environment;
    environment.push_back(variable(pod::runner_file_variable, to_json(RunnerFile{std::move(file), "", {}, {}, ""})));
    environment.push_back(variable(pod::identity_file_variable, identity));
    environment.push_back(variable("HOME", pod::state_directory));
    environment.push_back(variable("TMPDIR", pod::state_directory));
    environment.push_back(field_variable(pod::node_variable, "spec.nodeName"));
    environment.push_back(field_variable(pod::pod_variable, "metadata.name"));
    environment.push_back(field_variable(pod::pod_uid_variable, "metadata.uid"));
    out["env"] = std::move(environment);
    json::array mounts;
    mounts.push_back(mount("meeting", pod::meeting_directory));
    mounts.push_back(mount("state", pod::state_directory));
    mounts.push_back(mount("workspace", pod::workspace_directory));
    mounts.push_back(mount("identity", identity.substr(0, identity.rfind('/')), true));
    out["volumeMounts"] = std::move(mounts);
    return out;
  }

  json::object service(const ServiceSpec& service, const std::string& image) const {
    json::array environment;
    for (auto& [name, value] : service.env) environment.push_back(variable(name, value));
    auto out = container(service_prefix + service.name, image, words({"sh", "-c", service.run}), false);
    if (service.run.empty()) out.erase("command");   // the image's own
    out["restartPolicy"] = "Always";
    out["env"] = std::move(environment);
    out["resources"] = resources(options_.service_cpu_milli, options_.service_memory_bytes, 0);
    if (service.ready.empty()) return out;
    json::object probe{{"periodSeconds", ready_period_seconds}, {"timeoutSeconds", 10}, {"failureThreshold", seconds(service_ready_within) / ready_period_seconds}};
    probe["exec"] = json::object{{"command", words({"sh", "-c", service.ready})}};
    out["startupProbe"] = std::move(probe);
    return out;
  }

  json::object job(const std::string& image) const {
    auto out = container(pod::job_container, image, words({pod::installed_init, "--dir", pod::meeting_directory, "--workspace", pod::workspace_directory}), false);
    out["resources"] = resources(spec_.cpu_milli, spec_.memory_bytes, spec_.disk_bytes);
    json::array mounts;
    mounts.push_back(mount("bin", pod::bin_directory, true));
    mounts.push_back(mount("meeting", pod::meeting_directory, true));
    mounts.push_back(mount("workspace", pod::workspace_directory));
    mounts.push_back(mount("tmp", pod::tmp_directory));
    out["volumeMounts"] = std::move(mounts);
    return out;
  }

  json::array host_aliases() const {
    json::array names;
    for (auto& service : spec_.services) names.emplace_back(service.name);
    json::array out;
    out.push_back(json::object{{"ip", "127.0.0.1"}, {"hostnames", std::move(names)}});
    return out;
  }

  const KubernetesOptions& options_;
  const std::string& name_space_;
  const RunnerSpec& spec_;
};

}  // namespace

std::string object_name(AttemptId attempt) { return "mayfly-" + attempt.str(); }

std::string selector_of(const std::string& pool) { return std::string(managed_label) + "=true," + pool_label + "=" + pool; }

Result<void> check(const KubernetesOptions& options) {
  if (!is_label_value(options.pool))
    return fail(Errc::invalid, "the pool's name '" + options.pool + "' cannot be a Kubernetes label", "letters, digits, '-', '_' and '.', at most 63, a letter or digit at both ends");
  if (options.runner_image.empty()) return fail(Errc::invalid, "pool '" + options.pool + "': kubernetes.runner_image is not set", "name an image with mayfly-runner and mayfly-init on its PATH");
  for (auto& text : options.tolerations) {
    auto one = parse_json(text);
    if (!one || !one->is_object()) return fail(Errc::invalid, "pool '" + options.pool + "': a toleration is a map, not " + text);
  }
  return {};
}

Result<std::string> manifest(const KubernetesOptions& options, const std::string& name_space, const RunnerSpec& spec) {
  TRY_ASSIGN(auto object, Writer(options, name_space, spec).write());
  return json::serialize(object);
}

}  // namespace mayfly::kubernetes
