#pragma once
// Where a job's packets may go: the internet, and nothing nearer. The rules stand in the job's own network namespace, in the
// hook every packet of its own making passes, and are set before it gives up the privilege to change them. slirp4netns alone
// would reach the metadata address and everything the host reaches.

#include <netinet/in.h>

#include <string>
#include <vector>

#include "base/result.h"
#include "runner/sandbox/netlink.h"

namespace mayfly {

struct Prefix {
  in_addr_t address = 0;  // network byte order
  int length = 32;
  bool operator==(const Prefix&) const = default;
};

/// "10.1.0.0/16" or "10.1.2.3". Errc::invalid otherwise, and when bits beyond the length are set.
Result<Prefix> parse_prefix(const std::string& text);

/// Where slirp4netns answers DNS with the host's resolver.
inline constexpr const char* slirp_resolver = "10.0.2.3";

/// The IPv4 addresses this machine has now, loopback's left out.
std::vector<Prefix> host_addresses();

/// Every IPv4 range that is private, link-local, shared, multicast or reserved.
std::vector<Prefix> not_the_internet();

/// Lets through: its own loopback; DNS; `allowed`; whatever is in no private, link-local, shared, multicast or reserved range.
/// `forbidden` (the host's own addresses) goes before `allowed`. IPv6 leaves on loopback only. What is refused is refused
/// at once ("no route to host"), not left to time out.
NetlinkRequest job_firewall(const std::vector<Prefix>& forbidden, const std::vector<Prefix>& allowed);

/// `ip link set lo up`
NetlinkRequest raise_loopback();

}  // namespace mayfly
