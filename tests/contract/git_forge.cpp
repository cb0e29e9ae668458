#include "adapters/git/git_forge.h"
#include "contract/forge_contract.h"
#include "support/server_process.h"

namespace mayfly::contract {
namespace {

constexpr auto name_of = [](auto& info) { return info.param.name; };

class DirectorySite final : public ForgeSite {
 public:
  explicit DirectorySite(std::string prefix) : prefix_(std::move(prefix)) {}
  std::string url_of(const std::string& repository) const override { return prefix_ + "/" + repository; }

 private:
  std::string prefix_;
};

class DaemonSite final : public ForgeSite {
 public:
  explicit DaemonSite(const std::string& root)
      : port_(free_port()),
        daemon_({shell("/", "git --exec-path") + "/git-daemon", "--listen=127.0.0.1", "--port=" + std::to_string(port_), "--base-path=" + root,
                 "--export-all", "--reuseaddr", "--informative-errors"}) {
    wait_for_port(port_);
  }
  std::string url_of(const std::string& repository) const override { return "git://127.0.0.1:" + std::to_string(port_) + "/" + repository; }

 private:
  int port_;
  ServerProcess daemon_;
};

class HttpSite final : public ForgeSite {
 public:
  HttpSite(const std::string& root, std::vector<std::string> options) : server_(command(root, std::move(options))), port_(server_.line()) {}
  std::string url_of(const std::string& repository) const override { return "http://127.0.0.1:" + port_ + "/" + repository; }

 private:
  ServerProcess server_;
  std::string port_;

  static std::vector<std::string> command(const std::string& root, std::vector<std::string> options) {
    options.insert(options.begin(), {"python3", MAYFLY_SOURCE_DIR "/tests/support/git_http_server.py", root});
    return options;
  }
};

std::unique_ptr<Forge> make(Offload& pool, const std::filesystem::path& mirrors) { return std::make_unique<GitForge>(pool, mirrors); }

const ForgeFactory sites[] = {
    {"Path", [](auto& root) { return std::make_unique<DirectorySite>(root.string()); }, make},
    {"File", [](auto& root) { return std::make_unique<DirectorySite>("file://" + root.string()); }, make},
    {"Daemon", [](auto& root) { return std::make_unique<DaemonSite>(root.string()); }, make},
    {"Http", [](auto& root) { return std::make_unique<HttpSite>(root.string(), std::vector<std::string>{}); }, make},
    {"HttpProtocol0", [](auto& root) { return std::make_unique<HttpSite>(root.string(), std::vector<std::string>{"--old"}); }, make, false},
};
INSTANTIATE_TEST_SUITE_P(Git, ForgeContract, testing::ValuesIn(sites), name_of);

}  // namespace
}  // namespace mayfly::contract
