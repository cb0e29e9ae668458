#include "runner/sandbox/firewall.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <charconv>
#include <memory>

#include "runner/sandbox/rule_writer.h"

namespace mayfly {
namespace {

constexpr const char* table_name = "mayfly";
constexpr const char* chain_name = "output";
constexpr std::uint32_t loopback_index = 1;  // the first device of every network namespace

}  // namespace

Result<Prefix> parse_prefix(const std::string& text) {
  auto wrong = [&] { return fail(Errc::invalid, "'" + text + "' is not an IPv4 network", "write it as 10.1.0.0/16"); };
  auto slash = text.find('/');
  Prefix prefix;
  in_addr address;
  if (inet_pton(AF_INET, text.substr(0, slash).c_str(), &address) != 1) return wrong();
  prefix.address = address.s_addr;
  if (slash == std::string::npos) return prefix;
  auto* end = text.data() + text.size();
  auto [at, error] = std::from_chars(text.data() + slash + 1, end, prefix.length);
  if (error != std::errc() || at != end || prefix.length < 0 || prefix.length > 32) return wrong();
  if (prefix.length < 32 && (ntohl(prefix.address) << prefix.length) != 0) return wrong();
  return prefix;
}

std::vector<Prefix> host_addresses() {
  std::vector<Prefix> found;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return found;
  std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> owner(list, freeifaddrs);
  for (auto* entry = list; entry; entry = entry->ifa_next) {
    if (!entry->ifa_addr || entry->ifa_addr->sa_family != AF_INET) continue;
    auto address = reinterpret_cast<const sockaddr_in*>(entry->ifa_addr)->sin_addr.s_addr;
    if (ntohl(address) >> 24 != IN_LOOPBACKNET) found.push_back({address, 32});
  }
  return found;
}

std::vector<Prefix> not_the_internet() {
  // RFC 6890 and its registry, the metadata address 169.254.169.254 among them.
  std::vector<Prefix> ranges;
  for (auto text : {"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4",
                    "240.0.0.0/4"})
    ranges.push_back(*parse_prefix(text));
  return ranges;
}

NetlinkRequest job_firewall(const std::vector<Prefix>& forbidden, const std::vector<Prefix>& allowed) {
  RuleWriter rules(table_name);
  auto accept_to = [&](const Prefix& prefix) {
    rules.begin_rule();
    rules.if_to(prefix);
    rules.accept();
    rules.end_rule();
  };
  auto reject_to = [&](const Prefix& prefix) {
    rules.begin_rule();
    rules.if_to(prefix);
    rules.reject();
    rules.end_rule();
  };
  rules.begin_chain(chain_name, NF_INET_LOCAL_OUT);
  rules.begin_rule();
  rules.if_leaving_by(loopback_index);
  rules.accept();
  rules.end_rule();
  rules.begin_rule();
  rules.if_ipv6();
  rules.reject();
  rules.end_rule();
  accept_to(*parse_prefix(slirp_resolver));
  for (auto& prefix : forbidden) reject_to(prefix);
  for (auto& prefix : allowed) accept_to(prefix);
  for (auto& range : not_the_internet()) reject_to(range);
  return rules.finish();
}

NetlinkRequest raise_loopback() {
  NetlinkWriter out;
  ifinfomsg header{};
  header.ifi_family = AF_UNSPEC;
  header.ifi_index = int(loopback_index);
  header.ifi_flags = header.ifi_change = IFF_UP;
  out.begin(RTM_NEWLINK, NLM_F_ACK, bytes_of(header));
  out.end();
  auto last = out.sequence();
  return {NETLINK_ROUTE, out.take(), last};
}

}  // namespace mayfly
