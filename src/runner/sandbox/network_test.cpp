// Jobs with network, in a world made of network namespaces: this process is the host, with an address on the internet, a
// private one, and a metadata service beside it; another namespace is the internet.
#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "runner/sandbox/defences.h"
#include "runner/sandbox/firewall.h"
#include "adapters/sandbox/tools.h"
#include "runner/sandbox/testing/sandbox_fixture.h"

namespace mayfly {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* internet_server = "198.51.100.10";
constexpr const char* host_public = "203.0.113.2";
constexpr const char* host_private = "10.77.0.1";
constexpr const char* other_private = "10.88.0.1";
constexpr const char* metadata = "169.254.169.254";
constexpr int port = 8000;

void must_run(const std::string& command) {
  if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);
}

/// Says `greeting` to whoever connects, for as long as the process lives.
void serve(const char* address, std::string greeting) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  inet_pton(AF_INET, address, &at.sin_addr);
  if (bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 || listen(fd, 16) != 0) throw std::runtime_error(std::string("cannot listen on ") + address);
  std::thread([fd, greeting = std::move(greeting)] {
    for (int peer; (peer = accept4(fd, nullptr, nullptr, SOCK_CLOEXEC)) >= 0; close(peer)) {
      if (write(peer, greeting.data(), greeting.size()) < 0) return;
    }
  }).detach();
}

/// The whole world, made once; it goes with the process.
void make_world() {
  if (unshare(CLONE_NEWNET) != 0) throw std::runtime_error("no network namespace");
  int ready[2], made[2];
  if (pipe(ready) != 0 || pipe(made) != 0) throw std::runtime_error("no pipe");
  std::thread([=] {
    char byte = 0;
    auto tid = gettid();
    if (unshare(CLONE_NEWNET) != 0 || write(ready[1], &tid, sizeof tid) != sizeof tid || read(made[0], &byte, 1) != 1) return;
    must_run("ip link set lo up && ip link set up0 up && ip addr add 203.0.113.1/24 dev up0 && ip addr add 198.51.100.10/32 dev lo && "
             "ip addr add 169.254.169.254/32 dev lo && ip addr add 10.88.0.1/32 dev lo && ip route add default via 203.0.113.2");
    serve(internet_server, "the internet\n");
    serve(metadata, "the metadata\n");
    serve(other_private, "a private network\n");
    if (write(ready[1], &tid, sizeof tid) != sizeof tid) return;
    pause();
  }).detach();
  pid_t tid = 0;
  if (read(ready[0], &tid, sizeof tid) != sizeof tid) throw std::runtime_error("no internet");
  must_run("ip link set lo up && ip link add eth0 type veth peer name up0 netns " + std::to_string(tid));
  must_run("ip addr add 203.0.113.2/24 dev eth0 && ip addr add 10.77.0.1/32 dev lo && ip link set eth0 up && ip route add default via 203.0.113.1");
  if (write(made[1], "", 1) != 1 || read(ready[0], &tid, sizeof tid) != sizeof tid) throw std::runtime_error("no internet");
  serve("127.0.0.1", "the host's loopback\n");
  serve(host_public, "the host\n");
  serve(host_private, "the host, privately\n");
}

/// A child process of ours by that name; 0: none.
pid_t child_named(const std::string& name) {
  std::ifstream children("/proc/self/task/" + std::to_string(getpid()) + "/children");
  for (pid_t pid; children >> pid;) {
    std::string found;
    std::ifstream("/proc/" + std::to_string(pid) + "/comm") >> found;
    if (found == name) return pid;
  }
  return 0;
}

class JobWithNetwork : public EveryIsolation {
 protected:
  static void SetUpTestSuite() {
    if (geteuid() == 0) make_world();
  }
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root, to make the namespaces that play host and internet";
    EveryIsolation::SetUp();
    if (find_program("slirp4netns").empty()) GTEST_SKIP() << "slirp4netns is not installed";
  }

  SandboxSpec with_network() {
    auto spec = make_spec();
    spec.network = true;
    return spec;
  }

  /// What a server at `address` says to the job, or why it does not.
  std::string hear(const std::string& address, Defences defences = {}) { return hear(with_network(), address, defences); }
  std::string hear(SandboxSpec spec, const std::string& address, Defences defences = {}) {
    auto connect = "exec 3<>/dev/tcp/" + address + "/" + std::to_string(port) + " && head -n1 <&3";
    return run_job(std::move(spec), "timeout 3 bash -c '" + connect + "' 2>&1", defences).output;
  }

  static constexpr Defences no_firewall{.firewall = false};
  static constexpr Defences host_network{.network_namespace = false};
};

MAYFLY_ON_EVERY_ISOLATION(JobWithNetwork);

TEST_P(JobWithNetwork, ReachesTheInternet) { EXPECT_EQ(hear(internet_server), "the internet\n"); }

TEST_P(JobWithNetwork, DoesNotReachTheMetadataService) {
  EXPECT_THAT(hear(metadata), HasSubstr("No route to host"));
  EXPECT_EQ(hear(metadata, no_firewall), "the metadata\n");
}

TEST_P(JobWithNetwork, DoesNotReachTheHostByItsPublicAddress) {
  EXPECT_THAT(hear(host_public), HasSubstr("No route to host"));
  EXPECT_EQ(hear(host_public, no_firewall), "the host\n");
}

TEST_P(JobWithNetwork, DoesNotReachTheHostByItsPrivateAddress) {
  EXPECT_THAT(hear(host_private), HasSubstr("No route to host"));
  EXPECT_EQ(hear(host_private, no_firewall), "the host, privately\n");
}

TEST_P(JobWithNetwork, DoesNotReachPrivateNetworksBehindTheHost) {
  EXPECT_THAT(hear(other_private), HasSubstr("No route to host"));
  EXPECT_EQ(hear(other_private, no_firewall), "a private network\n");
}

TEST_P(JobWithNetwork, DoesNotReachTheHostsLoopback) {
  EXPECT_THAT(hear("127.0.0.1"), HasSubstr("refused"));
  EXPECT_THAT(hear("10.0.2.2"), Not(HasSubstr("the host")));
  if (!gvisor()) EXPECT_EQ(hear("127.0.0.1", host_network), "the host's loopback\n");
}

TEST_P(JobWithNetwork, HasALoopbackOfItsOwn) {
  auto job = run_job(with_network(), "python3 -c 'import socket,threading; s=socket.create_server((\"127.0.0.1\",0)); "
                                     "c=socket.create_connection(s.getsockname()); s.accept()[0].sendall(b\"own\"); print(c.recv(3))' 2>&1");
  EXPECT_EQ(job.output, "b'own'\n");
}

TEST_P(JobWithNetwork, MayReachAPrivateNetworkItsOperatorAllows) {
  auto spec = with_network();
  spec.allowed_networks = {"10.88.0.0/16", "203.0.113.0/24"};
  EXPECT_EQ(hear(spec, other_private), "a private network\n");
  EXPECT_THAT(hear(with_network(), other_private), HasSubstr("No route to host"));
}

TEST_P(JobWithNetwork, AnAllowedNetworkDoesNotOpenTheHostItself) {
  auto spec = with_network();
  spec.allowed_networks = {"203.0.113.0/24"};
  EXPECT_THAT(hear(spec, host_public), HasSubstr("No route to host"));
}

TEST_P(JobWithNetwork, CannotChangeItsFirewallOrItsRoutes) {
  auto attack = "exec 2>/dev/null; nft flush ruleset || echo refused; ip link set tap0 down || echo refused; ip route add 10.0.0.0/8 dev tap0 || echo refused";
  EXPECT_EQ(run_job(with_network(), attack).output, "refused\nrefused\nrefused\n");
  // Nor with all a user namespace can give: the network belongs to the one outside.
  Defences fewer{.seccomp = false, .no_capabilities = false};
  EXPECT_EQ(run_job(with_network(), attack, fewer).output, "refused\nrefused\nrefused\n");
}

TEST_P(JobWithNetwork, CannotGoRoundTheFirewallByChoosingItsDevice) {
  auto attack = std::string("import socket; s=socket.socket(); s.settimeout(3); s.setsockopt(socket.SOL_SOCKET, 25, b'tap0'); s.connect(('") + metadata +
                "', 8000)); print(s.recv(50).decode(), end='')";
  auto script = "python3 -c \"" + attack + "\" 2>&1 | tail -n1";
  EXPECT_THAT(run_job(with_network(), script).output, HasSubstr("No route to host"));
  EXPECT_EQ(run_job(with_network(), script, no_firewall).output, "the metadata\n");
}

TEST_P(JobWithNetwork, AsksTheHostsResolver) { EXPECT_EQ(run_job(with_network(), "cat /etc/resolv.conf").output, "nameserver 10.0.2.3\n"); }

TEST_P(JobWithNetwork, WithoutNetworkThereIsNobody) {
  for (auto address : {internet_server, metadata, host_public, host_private}) EXPECT_THAT(hear(make_spec(), address), HasSubstr("unreachable"));
  EXPECT_THAT(hear(make_spec(), "127.0.0.1"), HasSubstr("refused"));
  if (!gvisor()) EXPECT_EQ(hear(make_spec(), internet_server, host_network), "the internet\n");
}

TEST_P(JobWithNetwork, ItsWayOutEndsWithIt) {
  auto spec = with_network();
  pid_t uplink = 0;
  {
    auto job = start(spec, "sleep 1000");
    uplink = child_named("slirp4netns");
    ASSERT_GT(uplink, 0);
  }
  EXPECT_NE(kill(uplink, 0), 0);
}

TEST(Prefix, IsReadStrictly) {
  EXPECT_EQ(parse_prefix("10.1.0.0/16"), (Prefix{inet_addr("10.1.0.0"), 16}));
  EXPECT_EQ(parse_prefix("10.1.2.3"), (Prefix{inet_addr("10.1.2.3"), 32}));
  EXPECT_EQ(parse_prefix("0.0.0.0/0"), (Prefix{0, 0}));
  for (auto text : {"", "10.1.0.0/33", "10.1.0.0/-1", "10.1.0.0/", "10.1.0.0/8x", "10.1.0.0/8", "10.1.0", "::1/128", "host"}) EXPECT_FALSE(parse_prefix(text)) << text;
}

}  // namespace
}  // namespace mayfly
