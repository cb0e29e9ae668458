#include "app/kubernetes_config.h"

#include <cmath>

#include "base/json.h"
#include "domain/pipeline/isolation.h"
#include "domain/pipeline/suggest.h"

namespace mayfly {
namespace {

using Taken = std::string;   // what is wrong with a value; empty: it was taken
using Take = Taken (*)(KubernetesOptions&, const YamlNode&);

template <auto Member>
Taken take_text(KubernetesOptions& to, const YamlNode& value) {
  if (!value.is_scalar()) return "one value, not " + std::string(value.describe());
  to.*Member = value.is_null() ? std::string() : value.text;
  return {};
}

template <auto Member>
Taken take_texts(KubernetesOptions& to, const YamlNode& value) {
  if (!value.is_list()) return "a list, not " + std::string(value.describe());
  for (auto* item : value.items) (to.*Member).push_back(item->text);
  return {};
}

template <auto Member>
Taken take_map(KubernetesOptions& to, const YamlNode& value) {
  if (!value.is_map()) return "a map, not " + std::string(value.describe());
  for (auto& [key, one] : value.entries) (to.*Member)[key->text] = one->text;
  return {};
}

template <auto Member, std::int64_t least, std::int64_t most>
Taken take_number(KubernetesOptions& to, const YamlNode& value) {
  auto number = value.as_integer();
  if (!number || *number < least || *number > most) return "a number between " + std::to_string(least) + " and " + std::to_string(most) + ", not '" + value.text + "'";
  to.*Member = static_cast<std::remove_reference_t<decltype(to.*Member)>>(*number);
  return {};
}

template <auto Member>
Taken take_duration(KubernetesOptions& to, const YamlNode& value) {
  auto duration = parse_duration(value.text);
  if (!duration || *duration <= Duration{}) return "a duration like 90s or 10m, not '" + value.text + "'";
  to.*Member = *duration;
  return {};
}

/// A number and a suffix, times `factor`: Kubernetes' quantities as far as anybody writes them.
std::optional<std::int64_t> quantity(const std::string& text, std::int64_t factor, std::initializer_list<std::pair<std::string_view, double>> suffixes) {
  std::size_t used = 0;
  double number = 0;
  if (text.empty() || text.front() < '0' || text.front() > '9') return std::nullopt;
  while (used < text.size() && ((text[used] >= '0' && text[used] <= '9') || text[used] == '.')) ++used;
  if (used > 15) return std::nullopt;
  number = std::strtod(text.substr(0, used).c_str(), nullptr);
  for (auto& [suffix, times] : suffixes)
    if (text.substr(used) == suffix && number * times * double(factor) < 1e18 && number > 0) return std::llround(number * times * double(factor));
  return std::nullopt;
}

template <auto Member>
Taken take_cpu(KubernetesOptions& to, const YamlNode& value) {
  auto milli = quantity(value.text, 1000, {{"", 1}, {"m", 1e-3}});
  if (!milli) return "an amount of cpu like 2 or 250m, not '" + value.text + "'";
  to.*Member = *milli;
  return {};
}

template <auto Member>
Taken take_memory(KubernetesOptions& to, const YamlNode& value) {
  auto bytes = quantity(value.text, 1, {{"", 1}, {"Ki", 0x1p10}, {"Mi", 0x1p20}, {"Gi", 0x1p30}, {"Ti", 0x1p40}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12}});
  if (!bytes) return "an amount of memory like 512Mi or 2Gi, not '" + value.text + "'";
  to.*Member = *bytes;
  return {};
}

Taken take_runtime_classes(KubernetesOptions& to, const YamlNode& value) {
  if (value.is_map())
    for (auto& [word, name] : value.entries)
      if (!isolation_from(word->text)) return "sandbox, runc, gvisor or kata, not '" + word->text + "'";
  return take_map<&KubernetesOptions::runtime_classes>(to, value);
}

Taken take_runner_object(KubernetesOptions& to, const YamlNode& value) {
  if (value.text != "job" && value.text != "pod") return "job or pod, not '" + value.text + "'";
  to.runner_object = value.text == "job" ? RunnerObject::job : RunnerObject::pod;
  return {};
}

Taken take_user_namespaces(KubernetesOptions& to, const YamlNode& value) {
  auto yes = value.as_bool();
  if (!yes) return "true or false, not '" + value.text + "'";
  to.user_namespaces = *yes;
  return {};
}

json::value json_of(const YamlNode& node) {
  if (node.is_map()) {
    json::object out;
    for (auto& [key, value] : node.entries) out[key->text] = json_of(*value);
    return out;
  }
  if (node.is_list()) {
    json::array out;
    for (auto* item : node.items) out.push_back(json_of(*item));
    return out;
  }
  if (node.is_null()) return nullptr;
  if (auto yes = node.as_bool()) return *yes;
  if (auto number = node.as_integer()) return *number;
  return json::string(node.text);
}

Taken take_tolerations(KubernetesOptions& to, const YamlNode& value) {
  if (!value.is_list()) return "a list, not " + std::string(value.describe());
  for (auto* item : value.items) {
    if (!item->is_map()) return "a toleration is a map, not " + std::string(item->describe());
    to.tolerations.push_back(json::serialize(json_of(*item)));
  }
  return {};
}

struct Key {
  std::string_view name;
  Take take;
};

using O = KubernetesOptions;
constexpr Key keys[] = {
    {"kubeconfig", take_text<&O::kubeconfig>},
    {"context", take_text<&O::context>},
    {"namespace", take_text<&O::name_space>},
    {"runner_object", take_runner_object},
    {"runner_image", take_text<&O::runner_image>},
    {"default_image", take_text<&O::default_image>},
    {"service_account", take_text<&O::service_account>},
    {"image_pull_secrets", take_texts<&O::image_pull_secrets>},
    {"node_selector", take_map<&O::node_selector>},
    {"tolerations", take_tolerations},
    {"runtime_classes", take_runtime_classes},
    {"priority_class", take_text<&O::priority_class>},
    {"user", take_number<&O::user, 1, 2'147'483'647>},
    {"user_namespaces", take_user_namespaces},
    {"cpu", take_cpu<&O::cpu_milli>},
    {"memory", take_memory<&O::memory_bytes>},
    {"runner_cpu", take_cpu<&O::runner_cpu_milli>},
    {"runner_memory", take_memory<&O::runner_memory_bytes>},
    {"service_cpu", take_cpu<&O::service_cpu_milli>},
    {"service_memory", take_memory<&O::service_memory_bytes>},
    {"start_deadline", take_duration<&O::start_deadline>},
    {"image_patience", take_duration<&O::image_patience>},
    {"api_qps", take_number<&O::api_qps, 1, 10'000>},
    {"api_burst", take_number<&O::api_burst, 1, 100'000>},
};

}  // namespace

KubernetesOptions read_kubernetes(const YamlNode& section, const Complain& complain) {
  KubernetesOptions out;
  if (!section.is_map()) {
    complain(section, "kubernetes: a map, not " + std::string(section.describe()), "");
    return out;
  }
  for (auto& [key, value] : section.entries) {
    auto at = std::ranges::find(keys, std::string_view(key->text), &Key::name);
    if (at == std::end(keys)) {
      std::vector<std::string_view> known;
      for (auto& one : keys) known.push_back(one.name);
      complain(*key, "'" + key->text + "' is no key of kubernetes", suggestion(key->text, known));
    } else if (auto wrong = at->take(out, *value); !wrong.empty()) {
      complain(*value, "kubernetes." + key->text + ": " + wrong, "");
    }
  }
  if (out.runner_image.empty()) complain(section, "kubernetes.runner_image is not set", "name an image with mayfly-runner and mayfly-init on its PATH");
  return out;
}

}  // namespace mayfly
