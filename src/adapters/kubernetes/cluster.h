#pragma once
// Where a Kubernetes API server is and who we are to it: from a kubeconfig file, or from what every pod finds in itself.

#include <string>

#include "base/result.h"
#include "net/client.h"

namespace mayfly::kubernetes {

inline constexpr std::size_t max_kubeconfig_bytes = 1 << 20;
inline constexpr std::size_t max_token_bytes = 64 << 10;
inline constexpr const char* service_account_directory = "/var/run/secrets/kubernetes.io/serviceaccount";

struct Cluster {
  std::string server = {};       // "https://10.0.0.1:6443", without a slash at its end
  http::ClientTls tls = {};
  std::string token = {};        // never logged; empty: the client certificate says who we are
  std::string token_file = {};   // read again and again, for tokens are replaced while we live
  std::string name_space = "default";
};

/// The context named, or the file's current one. Names of files in it are relative to its own folder. Errc::not_found: no such file or
/// context. Errc::unsupported: it wants a program to be run, a proxy, or a password.
Result<Cluster> load_kubeconfig(const std::string& path, const std::string& context);

/// As a pod sees its own cluster: token, CA and namespace in `directory`, the server by KUBERNETES_SERVICE_HOST and _PORT.
Result<Cluster> own_cluster(const std::string& directory = service_account_directory);

/// What the file holds, without white space at its end. Errc::not_found, Errc::too_large.
Result<std::string> read_credential(const std::string& path, std::size_t limit);

}  // namespace mayfly::kubernetes
