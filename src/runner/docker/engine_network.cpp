#include "runner/docker/engine_network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_bridge.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <sstream>
#include <thread>

#include "adapters/sandbox/tools.h"
#include "adapters/sandbox/unique_fd.h"
#include "base/digest.h"
#include "runner/sandbox/rule_writer.h"

namespace mayfly {
namespace {

constexpr std::int32_t before_the_engines_own = -10;   // priority: theirs is 0
constexpr std::uint16_t dns_port = 53;
constexpr std::size_t max_resolvers = 3;               // as many as resolvers read
constexpr const char* resolver_files[] = {"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"};

std::unexpected<Error> failed(const std::string& what, int error) { return fail(Errc::unavailable, "the jobs' network: cannot " + what + ": " + std::strerror(error)); }

std::string text_of(const Prefix& prefix) {
  char address[INET_ADDRSTRLEN];
  inet_ntop(AF_INET, &prefix.address, address, sizeof address);
  return std::string(address) + "/" + std::to_string(prefix.length);
}

/// The process that made the socket. It may have been started by systemd, which then is what the socket names, in the same namespace.
Result<pid_t> listener_of(const std::string& socket) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  if (socket.size() >= sizeof to.sun_path) return fail(Errc::invalid, "the path '" + socket + "' is too long for a socket");
  socket.copy(to.sun_path, socket.size());
  ucred peer{};
  socklen_t size = sizeof peer;
  if (!fd || connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 || getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
    return failed("ask who listens at " + socket, errno);
  if (peer.pid <= 0)
    return fail(Errc::unsupported, "the jobs' network cannot be guarded: the Docker engine's process is not visible from here", "name a network of your own in the pool's docker.network");
  return peer.pid;
}

void accept_dns(RuleWriter& rules, const EngineNetwork& network) {
  for (auto& resolver : network.resolvers)
    for (auto protocol : {IPPROTO_UDP, IPPROTO_TCP}) {
      rules.begin_rule();
      rules.if_coming_by(network.bridge);
      rules.if_to(resolver);
      rules.if_to_port(std::uint8_t(protocol), dns_port);
      rules.accept();
      rules.end_rule();
    }
}

void decide(RuleWriter& rules, const EngineNetwork& network, const Prefix& to, bool accepted) {
  rules.begin_rule();
  rules.if_coming_by(network.bridge);
  rules.if_to(to);
  if (accepted) rules.accept();
  else rules.reject();
  rules.end_rule();
}

/// Bridge ports: the interfaces whose master is `bridge`.
Result<std::set<unsigned>> ports_of(unsigned bridge) {
  UniqueFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  NetlinkWriter out;
  ifinfomsg all{};
  out.begin(RTM_GETLINK, NLM_F_DUMP, bytes_of(all));
  out.end();
  auto request = out.take();
  if (!fd || send(fd.get(), request.data(), request.size(), 0) != ssize_t(request.size())) return failed("list its interfaces", errno);
  std::set<unsigned> ports;
  std::vector<char> answer(64 << 10);
  for (;;) {
    auto n = recv(fd.get(), answer.data(), answer.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return failed("list its interfaces", errno);
    auto size = std::size_t(n);
    for (auto* message = reinterpret_cast<nlmsghdr*>(answer.data()); NLMSG_OK(message, size); message = NLMSG_NEXT(message, size)) {
      if (message->nlmsg_type == NLMSG_DONE) return ports;
      if (message->nlmsg_type == NLMSG_ERROR) return failed("list its interfaces", EIO);
      if (message->nlmsg_type != RTM_NEWLINK) continue;
      auto* link = static_cast<ifinfomsg*>(NLMSG_DATA(message));
      auto left = IFLA_PAYLOAD(message);
      for (auto* a = IFLA_RTA(link); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
        unsigned master = 0;
        if (a->rta_type != IFLA_MASTER || RTA_PAYLOAD(a) != sizeof master) continue;
        std::memcpy(&master, RTA_DATA(a), sizeof master);
        if (master == bridge) ports.insert(unsigned(link->ifi_index));
      }
    }
  }
}

/// An isolated port talks to the bridge itself, and to no other isolated one.
int isolate(unsigned port) {
  NetlinkWriter out;
  ifinfomsg link{};
  link.ifi_family = AF_BRIDGE;
  link.ifi_index = int(port);
  std::uint8_t yes = 1;
  out.begin(RTM_SETLINK, NLM_F_ACK, bytes_of(link));
  out.nest(IFLA_PROTINFO);
  out.attribute(IFLA_BRPORT_ISOLATED, bytes_of(yes));
  out.unnest();
  out.end();
  auto last = out.sequence();
  return send_netlink({NETLINK_ROUTE, out.take(), last});
}

Result<void> isolate_ports(const std::string& bridge) {
  auto index = if_nametoindex(bridge.c_str());
  if (index == 0) return failed("find the bridge " + bridge, errno);
  TRY_ASSIGN(auto ports, ports_of(index));
  for (auto port : ports)
    if (int error = isolate(port); error != 0 && error != ENODEV) return failed("keep the containers on " + bridge + " apart", error);
  return {};
}

Result<void> guard_here(const EngineNetwork& network) {
  if (int missing = send_netlink(ask_for_table(network.name)); missing != 0) {
    if (missing != ENOENT) return failed("see its rules", missing);
    // Another runner may make them at the same time.
    if (int error = send_netlink(network_rules(network)); error != 0 && error != EEXIST) return failed("set its rules", error);
  }
  return isolate_ports(network.bridge);
}

}  // namespace

Result<EngineNetwork> describe_network(const std::vector<std::string>& allowed, const std::vector<Prefix>& resolvers) {
  EngineNetwork network;
  std::string what;
  for (auto& text : allowed) {
    TRY_ASSIGN(auto prefix, parse_prefix(text));
    network.allowed.push_back(prefix);
    what += text_of(prefix) + " ";
  }
  network.resolvers = resolvers;
  for (auto& resolver : resolvers) what += "dns " + text_of(resolver) + " ";
  auto mark = to_hex(sha256("1 " + what)).substr(0, 8);
  network.name = "mayfly-" + mark;
  network.bridge = "mfly" + mark;
  return network;
}

std::vector<Prefix> usable_resolvers() {
  std::vector<Prefix> found;
  for (auto path : resolver_files) {
    std::istringstream in(read_whole(path));
    for (std::string line; std::getline(in, line) && found.size() < max_resolvers;) {
      std::istringstream words(line);
      std::string key, address;
      words >> key >> address;
      auto prefix = parse_prefix(address);
      bool loopback = prefix && (ntohl(prefix->address) >> 24) == 127;
      if (key == "nameserver" && prefix && prefix->length == 32 && !loopback) found.push_back(*prefix);
    }
    if (!found.empty()) break;
  }
  return found;
}

std::string resolver_file(const std::vector<Prefix>& resolvers) {
  std::string out;
  for (auto& resolver : resolvers) {
    auto text = text_of(resolver);
    out += "nameserver " + text.substr(0, text.find('/')) + "\n";
  }
  return out;
}

NetlinkRequest network_rules(const EngineNetwork& network) {
  RuleWriter rules(network.name, true);
  // To other machines.
  rules.begin_chain("forward", NF_INET_FORWARD, before_the_engines_own);
  accept_dns(rules, network);
  for (auto& prefix : network.allowed) decide(rules, network, prefix, true);
  for (auto& range : not_the_internet()) decide(rules, network, range, false);
  rules.begin_rule();
  rules.if_coming_by(network.bridge);
  rules.if_ipv6();
  rules.reject();
  rules.end_rule();
  // To this one, by whichever of its addresses.
  rules.begin_chain("input", NF_INET_LOCAL_IN, before_the_engines_own);
  accept_dns(rules, network);
  rules.begin_rule();
  rules.if_coming_by(network.bridge);
  rules.reject();
  rules.end_rule();
  return rules.finish();
}

Result<void> guard_network(const std::string& socket, const EngineNetwork& network) {
  if (geteuid() != 0)
    return fail(Errc::unsupported, "this pool cannot run jobs with network: only root can guard the network of containers", "run the server as root, or name a network of your own in the pool's docker.network");
  TRY_ASSIGN(auto pid, listener_of(socket));
  auto path = "/proc/" + std::to_string(pid) + "/ns/net";
  UniqueFd space(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!space) return failed("open the network of the engine", errno);
  Result<void> guarded;
  // A thread of its own, for it stays there.
  std::thread([&] {
    if (setns(space.get(), CLONE_NEWNET) != 0) guarded = failed("enter the network of the engine", errno);
    else guarded = guard_here(network);
  }).join();
  return guarded;
}

}  // namespace mayfly
