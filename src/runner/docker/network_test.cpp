// What jobs with network reach from a container. The engine's own network namespace plays host, with a private network, a metadata
// service and an internet behind it. Each attack is tried on a plain Docker bridge as well, where it must succeed.
#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>

#include "runner/docker/container_plan.h"
#include "runner/docker/engine_network.h"
#include "runner/docker/testing/docker_fixture.h"

namespace mayfly {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* internet_server = "198.51.100.10";
constexpr const char* other_private = "10.88.0.1";
constexpr const char* metadata = "169.254.169.254";
constexpr const char* host_public = "203.0.113.2";

pid_t engine_process(const std::string& path) {
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  path.copy(to.sun_path, sizeof to.sun_path - 1);
  ucred peer{};
  socklen_t size = sizeof peer;
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0 || getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return 0;
  return peer.pid;
}

/// Says `greeting` to whoever connects to a socket of the calling thread's network, until the descriptor is shut down.
std::jthread serve(int port, std::string greeting, int& listener) {
  listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(std::uint16_t(port));
  int yes = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(listener, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 || listen(listener, 16) != 0) throw std::runtime_error("cannot listen");
  return std::jthread([fd = listener, greeting = std::move(greeting)] {
    for (int peer; (peer = accept4(fd, nullptr, nullptr, SOCK_CLOEXEC)) >= 0; close(peer))
      if (write(peer, greeting.data(), greeting.size()) < 0) return;
  });
}

/// The world around the engine, for as long as it lives.
class World final {
 public:
  explicit World(pid_t engine) : engine_("/proc/" + std::to_string(engine) + "/ns/net") {
    remove();  // what a test that was killed has left
    run("ip netns add " + internet_);
    here("ip link add " + link_ + " type veth peer name up0 netns " + internet_ + " && ip addr add 203.0.113.2/24 dev " + link_ + " && ip link set " + link_ + " up");
    there("ip link set lo up && ip link set up0 up && ip addr add 203.0.113.1/24 dev up0 && ip addr add 198.51.100.10/32 dev lo && ip addr add 169.254.169.254/32 dev lo && ip addr add 10.88.0.1/32 dev lo");
    for (auto address : {internet_server, metadata, other_private}) here(std::string("ip route add ") + address + "/32 via 203.0.113.1");
    in_namespace(engine_, [&] { servers_[0] = serve(port(), "the host\n", listeners_[0]); });
    in_namespace("/run/netns/" + internet_, [&] { servers_[1] = serve(port(), "somebody outside\n", listeners_[1]); });
  }
  ~World() {
    for (int fd : listeners_) shutdown(fd, SHUT_RDWR);
    for (auto& server : servers_) server.join();
    for (int fd : listeners_) close(fd);
    remove();
  }
  static int port() { return 20000 + getpid() % 20000; }

 private:
  void remove() {
    (void)std::system(("nsenter --net=" + engine_ + " ip link del " + link_ + " 2>/dev/null").c_str());
    (void)std::system(("ip netns del " + internet_ + " 2>/dev/null").c_str());
  }
  static void run(const std::string& command) {
    if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);
  }
  void here(const std::string& command) { run("nsenter --net=" + engine_ + " sh -c '" + command + "'"); }
  void there(const std::string& command) { run("nsenter --net=/run/netns/" + internet_ + " sh -c '" + command + "'"); }
  template <class F>
  static void in_namespace(const std::string& path, F work) {
    std::thread([&] {
      UniqueFd space(open(path.c_str(), O_RDONLY | O_CLOEXEC));
      if (setns(space.get(), CLONE_NEWNET) == 0) work();
    }).join();
  }

  const std::string engine_, internet_ = "mayfly-test-internet", link_ = "mftest0";
  std::jthread servers_[2];
  int listeners_[2] = {-1, -1};
};

class ContainerNetwork : public DockerTest, public testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    DockerTest::SetUp();
    if (IsSkipped()) return;
    if (geteuid() != 0) GTEST_SKIP() << "needs root, to guard the network and to make the namespaces that play host and internet";
    place_.runtime = GetParam();
    if (!has_runtime(place_.runtime)) GTEST_SKIP() << "the engine has no " << place_.runtime;
    world_.emplace(engine_process(place_.socket));
  }

  SandboxSpec with_network() {
    auto spec = make_spec(large_image);
    spec.network = true;
    spec.isolation = place_.runtime == "runsc" ? "gvisor" : "runc";
    return spec;
  }

  static std::string connect_to(const std::string& address, int port) {
    return "timeout 5 bash -c 'exec 3<>/dev/tcp/" + address + "/" + std::to_string(port) + " && head -n1 <&3' 2>&1 || true";
  }
  std::string hear(SandboxSpec spec, const std::string& address) { return run_job(std::move(spec), connect_to(address, World::port())).output; }
  /// On a bridge that is nobody's to guard.
  std::string hear_unguarded(const std::string& address) {
    auto guarded = std::exchange(place_.network, "bridge");
    auto heard = hear(with_network(), address);
    place_.network = guarded;
    return heard;
  }

  std::optional<World> world_;
};

INSTANTIATE_TEST_SUITE_P(Under, ContainerNetwork, testing::Values("runc", "runsc"), [](auto& info) { return std::string(info.param); });

TEST_P(ContainerNetwork, ReachesTheInternetAndNothingElse) {
  EXPECT_EQ(hear(with_network(), internet_server), "somebody outside\n");
  for (auto address : {metadata, other_private}) {
    EXPECT_THAT(hear(with_network(), address), Not(HasSubstr("somebody"))) << address;
    EXPECT_EQ(hear_unguarded(address), "somebody outside\n") << address;
  }
  EXPECT_THAT(hear(with_network(), host_public), Not(HasSubstr("the host")));
  EXPECT_EQ(hear_unguarded(host_public), "the host\n");
}

TEST_P(ContainerNetwork, MayReachAPrivateNetworkItsOperatorAllowsAndNotTheHostThere) {
  auto spec = with_network();
  spec.allowed_networks = {"10.88.0.0/16", "203.0.113.0/24"};
  EXPECT_EQ(hear(spec, other_private), "somebody outside\n");
  auto again = with_network();
  again.allowed_networks = spec.allowed_networks;
  EXPECT_THAT(hear(again, host_public), Not(HasSubstr("the host")));
}

TEST_P(ContainerNetwork, DoesNotReachAnotherJob) {
  auto listen = with_network();
  listen.image = small_image;
  auto address_of = [](ContainerJob& job) {
    EXPECT_TRUE(job.wait_for("address "));
    auto text = job.output();
    auto at = text.find("address ") + 8;
    return text.substr(at, text.find('\n', at) - at);
  };
  auto script = "echo address $(ip -4 -o addr show dev eth0 | sed 's,.*inet \\([0-9.]*\\)/.*,\\1,'); mkdir /tmp/w; echo victim > /tmp/w/index.html; timeout 120 httpd -f -p 9000 -h /tmp/w";
  auto fetch = [](const std::string& address) { return "timeout 5 bash -c 'exec 3<>/dev/tcp/" + address + "/9000 && printf \"GET / HTTP/1.0\\r\\n\\r\\n\" >&3 && cat <&3' 2>&1 || true"; };
  {
    auto victim = start(listen, script);
    auto address = address_of(victim);
    EXPECT_THAT(run_job(with_network(), fetch(address)).output, Not(HasSubstr("victim")));
  }
  place_.network = "bridge";
  listen.attempt = make_spec().attempt;
  listen.attempt_dir += "-unguarded";
  std::filesystem::create_directories(listen.attempt_dir);
  auto victim = start(listen, script);
  auto address = address_of(victim);
  EXPECT_THAT(run_job(with_network(), fetch(address)).output, HasSubstr("victim"));
}

TEST_P(ContainerNetwork, CannotChangeItsRoutes) {
  auto attack = "ip route add 10.0.0.0/8 dev eth0 2>/dev/null || echo refused; ip link set eth0 down 2>/dev/null || echo refused";
  EXPECT_EQ(run_job(with_network(), attack).output, "refused\nrefused\n");
}

TEST_P(ContainerNetwork, WithoutNetworkThereIsNobody) {
  auto spec = with_network();
  spec.network = false;
  EXPECT_THAT(hear(spec, internet_server), Not(HasSubstr("somebody")));
}

TEST_P(ContainerNetwork, RulesThatSomebodyRemovedComeBack) {
  ASSERT_EQ(hear(with_network(), internet_server), "somebody outside\n");
  auto network = describe_network({}, usable_resolvers());
  ASSERT_TRUE(network);
  auto remove = "nsenter --net=/proc/" + std::to_string(engine_process(place_.socket)) + "/ns/net nft delete table inet " + network->name;
  ASSERT_EQ(std::system(remove.c_str()), 0);
  EXPECT_THAT(hear(with_network(), metadata), Not(HasSubstr("somebody")));
}

TEST(EngineNetworks, AreNamedAfterTheirRules) {
  auto plain = describe_network({}, {}), again = describe_network({}, {}), wider = describe_network({"10.1.0.0/16"}, {});
  ASSERT_TRUE(plain && again && wider);
  EXPECT_EQ(plain->name, again->name);
  EXPECT_NE(plain->name, wider->name);
  EXPECT_LT(plain->bridge.size(), 16u) << "the kernel's limit for the name of an interface";
  EXPECT_EQ(describe_network({"nonsense"}, {}).error().code, Errc::invalid);
}

}  // namespace
}  // namespace mayfly
