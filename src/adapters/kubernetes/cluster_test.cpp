#include "adapters/kubernetes/cluster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "base/digest.h"
#include "support/temp_dir.h"

namespace mayfly::kubernetes {
namespace {

using testing::HasSubstr;

struct Kubeconfig : testing::Test {
  Result<Cluster> load(const std::string& cluster, const std::string& user, const std::string& context = {}) {
    std::ofstream(dir.file("config")) << "apiVersion: v1\nkind: Config\ncurrent-context: here\ncontexts:\n"
                                         "- {name: here, context: {cluster: c, user: u, namespace: ci}}\n- {name: there, context: {cluster: none, user: u}}\n"
                                      << "clusters: [{name: c, cluster: " << cluster << "}]\nusers: [{name: u, user: " << user << "}]\n";
    return load_kubeconfig(dir.file("config"), context);
  }
  std::string refusal(const std::string& cluster, const std::string& user, const std::string& context = {}) {
    auto loaded = load(cluster, user, context);
    return loaded ? "accepted" : loaded.error().message;
  }
  TempDir dir;
};

TEST_F(Kubeconfig, HasItsCredentialsInItselfOrBesideIt) {
  auto inside = load("{server: \"https://10.0.0.1:6443/\", certificate-authority-data: " + to_base64("CA") + "}",
                     "{client-certificate-data: " + to_base64("CERT") + ", client-key-data: " + to_base64("KEY") + "}");
  ASSERT_TRUE(inside) << inside.error().message;
  EXPECT_EQ(inside->server, "https://10.0.0.1:6443");
  EXPECT_EQ(inside->name_space, "ci");
  EXPECT_EQ(inside->tls.ca, "CA");
  EXPECT_EQ(inside->tls.certificate_chain, "CERT");
  EXPECT_EQ(inside->tls.private_key, "KEY");
  EXPECT_TRUE(inside->tls.verify);
  std::ofstream(dir.file("ca.crt")) << "CA OF A FILE\n";
  auto beside = load("{server: \"https://h\", certificate-authority: ca.crt}", "{tokenFile: token}");
  ASSERT_TRUE(beside) << beside.error().message;
  EXPECT_EQ(beside->tls.ca, "CA OF A FILE");
  EXPECT_EQ(beside->token_file, dir.file("token"));
}

TEST_F(Kubeconfig, SaysWhatItLacksAndWhatIsNotSupported) {
  EXPECT_THAT(refusal("{server: \"https://h\"}", "{}", "nowhere"), HasSubstr("no context 'nowhere'"));
  EXPECT_THAT(refusal("{server: \"https://h\"}", "{}", "there"), HasSubstr("no cluster 'none'"));
  EXPECT_THAT(refusal("{server: \"https://h\"}", "{exec: {command: aws}}"), HasSubstr("user 'u' has 'exec'"));
  EXPECT_THAT(refusal("{server: \"https://h\", proxy-url: \"http://p\"}", "{}"), HasSubstr("'proxy-url'"));
  EXPECT_THAT(refusal("{server: \"unix:/x:/\"}", "{}"), HasSubstr("no URL like"));
  EXPECT_THAT(refusal("{server: \"https://h\", certificate-authority-data: \"?\"}", "{}"), HasSubstr("not base64"));
  EXPECT_EQ(load_kubeconfig(dir.file("none"), "").error().code, Errc::not_found);
}

TEST_F(Kubeconfig, ItsSizeHasALimit) {
  std::ofstream(dir.file("token")) << std::string(max_token_bytes, 't');
  EXPECT_EQ(read_credential(dir.file("token"), max_token_bytes)->size(), max_token_bytes);
  std::ofstream(dir.file("token")) << std::string(max_token_bytes + 1, 't');
  EXPECT_EQ(read_credential(dir.file("token"), max_token_bytes).error().code, Errc::too_large);
}

TEST(OwnCluster, IsWhatEveryPodFindsInItself) {
  TempDir dir;
  for (auto& [name, text] : std::map<std::string, std::string>{{"token", "secret\n"}, {"ca.crt", "CA"}, {"namespace", "mayfly"}}) std::ofstream(dir.file(name)) << text;
  unsetenv("KUBERNETES_SERVICE_HOST");
  EXPECT_THAT(own_cluster(dir.path()).error().message, HasSubstr("runs in no pod"));
  setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
  setenv("KUBERNETES_SERVICE_PORT", "443", 1);
  auto found = own_cluster(dir.path());
  unsetenv("KUBERNETES_SERVICE_HOST");
  unsetenv("KUBERNETES_SERVICE_PORT");
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->server, "https://[fd00::1]:443");
  EXPECT_EQ(found->name_space, "mayfly");
  EXPECT_EQ(found->token_file, dir.file("token"));
  EXPECT_TRUE(found->token.empty()) << "read again whenever it is used";
}

}  // namespace
}  // namespace mayfly::kubernetes
