#include "adapters/kubernetes/cluster.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/digest.h"
#include "domain/pipeline/yaml.h"

namespace mayfly::kubernetes {
namespace {

constexpr std::size_t shown_problems = 3;
constexpr std::string_view unsupported_user_keys[] = {"exec", "auth-provider", "username", "as"};

std::string text_of(const YamlNode* node, std::string_view key) {
  auto* value = node ? node->find(key) : nullptr;
  return value && value->is_scalar() && !value->is_null() ? value->text : std::string();
}

/// Of a list of {name: N, KIND: {…}}.
const YamlNode* named(const YamlNode& root, std::string_view list, std::string_view name, std::string_view kind) {
  auto* all = root.find(list);
  if (!all || !all->is_list()) return nullptr;
  for (auto* item : all->items)
    if (item->is_map() && text_of(item, "name") == name) return item->find(kind);
  return nullptr;
}

class Kubeconfig {
 public:
  Kubeconfig(const std::string& path, const YamlNode& root) : path_(path), root_(root) {}

  Result<Cluster> read(std::string context) const {
    if (context.empty()) context = text_of(&root_, "current-context");
    auto* chosen = named(root_, "contexts", context, "context");
    if (!chosen) return fail(Errc::not_found, path_ + ": there is no context '" + context + "'", "name one of its contexts");
    Cluster out;
    if (auto name_space = text_of(chosen, "namespace"); !name_space.empty()) out.name_space = name_space;
    TRY(read_cluster(text_of(chosen, "cluster"), out));
    TRY(read_user(text_of(chosen, "user"), out));
    return out;
  }

 private:
  Result<void> read_cluster(const std::string& name, Cluster& out) const {
    auto* cluster = named(root_, "clusters", name, "cluster");
    if (!cluster) return fail(Errc::not_found, path_ + ": there is no cluster '" + name + "'");
    for (auto key : {"proxy-url", "tls-server-name"})
      if (!text_of(cluster, key).empty()) return fail(Errc::unsupported, path_ + ": cluster '" + name + "' has '" + key + "', which is not supported");
    out.server = text_of(cluster, "server");
    while (out.server.ends_with('/')) out.server.pop_back();
    TRY_ASSIGN(auto url, http::parse_url(out.server));
    if (url.scheme == "unix") return fail(Errc::invalid, path_ + ": the server of cluster '" + name + "' is no URL like https://host:port");
    out.tls.verify = text_of(cluster, "insecure-skip-tls-verify") != "true";
    TRY_ASSIGN(out.tls.ca, pem(cluster, "certificate-authority"));
    return {};
  }

  Result<void> read_user(const std::string& name, Cluster& out) const {
    auto* user = named(root_, "users", name, "user");
    if (!user) return fail(Errc::not_found, path_ + ": there is no user '" + name + "'");
    for (auto key : unsupported_user_keys)
      if (user->find(key))
        return fail(Errc::unsupported, path_ + ": user '" + name + "' has '" + std::string(key) + "', which is not supported",
                    "use a client certificate, a token, or tokenFile; inside the cluster leave the kubeconfig out");
    TRY_ASSIGN(out.tls.certificate_chain, pem(user, "client-certificate"));
    TRY_ASSIGN(out.tls.private_key, pem(user, "client-key"));
    out.token = text_of(user, "token");
    if (auto file = text_of(user, "tokenFile"); !file.empty()) out.token_file = beside(file);
    return {};
  }

  /// `key` names a file, `key`-data has its text in base64.
  Result<std::string> pem(const YamlNode* in, const std::string& key) const {
    if (auto data = text_of(in, key + "-data"); !data.empty()) {
      auto text = from_base64(data);
      if (!text) return fail(Errc::invalid, path_ + ": '" + key + "-data' is not base64");
      return text;
    }
    auto file = text_of(in, key);
    if (file.empty()) return std::string();
    return read_credential(beside(file), max_kubeconfig_bytes);
  }

  std::string beside(const std::string& file) const { return (std::filesystem::path(path_).parent_path() / file).string(); }

  const std::string& path_;
  const YamlNode& root_;
};

}  // namespace

Result<std::string> read_credential(const std::string& path, std::size_t limit) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return fail(Errc::not_found, path + " cannot be read");
  std::string text(limit + 1, '\0');
  in.read(text.data(), std::streamsize(text.size()));
  text.resize(std::size_t(in.gcount()));
  if (text.size() > limit) return fail(Errc::too_large, path + " is larger than " + std::to_string(limit) + " bytes");
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
  return text;
}

Result<Cluster> load_kubeconfig(const std::string& path, const std::string& context) {
  TRY_ASSIGN(auto text, read_credential(path, max_kubeconfig_bytes));
  Problems problems(shown_problems);
  auto document = read_yaml(path, text, {}, problems);
  if (!problems.empty()) return fail(Errc::invalid, to_string(problems.take().front()));
  if (!document.root->is_map()) return fail(Errc::invalid, path + " is no kubeconfig: a map of keys was expected");
  return Kubeconfig(path, *document.root).read(context);
}

Result<Cluster> own_cluster(const std::string& directory) {
  auto* host = std::getenv("KUBERNETES_SERVICE_HOST");
  auto* port = std::getenv("KUBERNETES_SERVICE_PORT");
  if (!host || !port) return fail(Errc::not_found, "this process runs in no pod", "name a kubeconfig");
  std::string name = std::string_view(host).contains(':') ? "[" + std::string(host) + "]" : host;
  Cluster out{.server = "https://" + name + ":" + port, .token_file = directory + "/token"};
  TRY_ASSIGN(out.tls.ca, read_credential(directory + "/ca.crt", max_kubeconfig_bytes));
  TRY_ASSIGN(out.name_space, read_credential(directory + "/namespace", max_token_bytes));
  return out;
}

}  // namespace mayfly::kubernetes
