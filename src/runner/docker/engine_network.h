#pragma once
// The way out of containers to the internet and to nothing else: a bridge of ours on the engine's machine, with rules where the
// packets of containers come in. So they hold whatever makes the packets, a process or gVisor's own network stack, and nobody in a
// container can reach them.

#include <string>
#include <vector>

#include "base/result.h"
#include "runner/sandbox/firewall.h"

namespace mayfly {

struct EngineNetwork {
  std::string name;                      // to the engine; one for each set of rules
  std::string bridge;
  std::vector<Prefix> resolvers;         // which jobs may ask, by DNS alone
  std::vector<Prefix> allowed;           // private networks jobs may reach all the same
};

/// Errc::invalid: one of `allowed` is no network.
Result<EngineNetwork> describe_network(const std::vector<std::string>& allowed, const std::vector<Prefix>& resolvers);

/// This machine's name servers, but for those only it can reach.
std::vector<Prefix> usable_resolvers();
/// As /etc/resolv.conf.
std::string resolver_file(const std::vector<Prefix>& resolvers);

/// Makes sure, in the network namespace of the process that listens at `socket`, that the rules of the network are there, and that none
/// of the containers on its bridge sees another. Blocks for milliseconds. Errc::unsupported: only root can.
Result<void> guard_network(const std::string& socket, const EngineNetwork& network);

/// The rules alone, for tests: what must be sent where there is no table of that name.
NetlinkRequest network_rules(const EngineNetwork& network);

}  // namespace mayfly
