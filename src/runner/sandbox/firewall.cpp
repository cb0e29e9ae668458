#include "runner/sandbox/firewall.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <charconv>
#include <memory>

namespace mayfly {
namespace {

constexpr const char* table_name = "mayfly";
constexpr const char* chain_name = "output";
constexpr std::uint32_t loopback_index = 1;  // the first device of every network namespace
constexpr std::uint32_t destination_offset = 16;  // in an IPv4 header

// Everything that is not the internet (RFC 6890 and its registry), the metadata address 169.254.169.254 among it.
constexpr const char* not_the_internet[] = {
    "0.0.0.0/8",     "10.0.0.0/8",      "100.64.0.0/10", "127.0.0.0/8",   "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24",  "192.168.0.0/16",  "198.18.0.0/15", "224.0.0.0/4",   "240.0.0.0/4",
};

std::uint16_t nft(int message) { return std::uint16_t(NFNL_SUBSYS_NFTABLES << 8 | message); }

class RuleWriter final {
 public:
  RuleWriter() {
    begin(NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
    out_.end();
    begin(nft(NFT_MSG_NEWTABLE), NLM_F_CREATE, NFPROTO_INET, 0);
    out_.text(NFTA_TABLE_NAME, table_name);
    out_.end();
    begin(nft(NFT_MSG_NEWCHAIN), NLM_F_CREATE, NFPROTO_INET, 0);
    out_.text(NFTA_CHAIN_TABLE, table_name);
    out_.text(NFTA_CHAIN_NAME, chain_name);
    out_.nest(NFTA_CHAIN_HOOK);
    out_.number(NFTA_HOOK_HOOKNUM, NF_INET_LOCAL_OUT);
    out_.number(NFTA_HOOK_PRIORITY, 0);
    out_.unnest();
    out_.number(NFTA_CHAIN_POLICY, NF_ACCEPT);
    out_.text(NFTA_CHAIN_TYPE, "filter");
    out_.end();
  }

  void accept_loopback() {
    begin_rule();
    compare_meta(NFT_META_OIF, bytes_of(loopback_index));
    accept();
    end_rule();
  }

  void reject_ipv6() {
    begin_rule();
    std::uint8_t ipv6 = NFPROTO_IPV6;
    compare_meta(NFT_META_NFPROTO, bytes_of(ipv6));
    reject();
    end_rule();
  }

  void accept_to(const Prefix& prefix) {
    begin_rule();
    compare_destination(prefix);
    accept();
    end_rule();
  }

  void reject_to(const Prefix& prefix) {
    begin_rule();
    compare_destination(prefix);
    reject();
    end_rule();
  }

  NetlinkRequest finish() {
    auto last = out_.sequence();
    begin(NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
    out_.end();
    return {NETLINK_NETFILTER, out_.take(), last};
  }

 private:
  void begin(std::uint16_t type, std::uint16_t flags, std::uint8_t family, std::uint16_t resource) {
    nfgenmsg header{family, NFNETLINK_V0, htons(resource)};
    out_.begin(type, flags, bytes_of(header));
  }

  void begin_rule() {
    begin(nft(NFT_MSG_NEWRULE), NLM_F_CREATE | NLM_F_APPEND | NLM_F_ACK, NFPROTO_INET, 0);
    out_.text(NFTA_RULE_TABLE, table_name);
    out_.text(NFTA_RULE_CHAIN, chain_name);
    out_.nest(NFTA_RULE_EXPRESSIONS);
  }
  void end_rule() {
    out_.unnest();
    out_.end();
  }

  void begin_expression(const char* name) {
    out_.nest(NFTA_LIST_ELEM);
    out_.text(NFTA_EXPR_NAME, name);
    out_.nest(NFTA_EXPR_DATA);
  }
  void end_expression() {
    out_.unnest();
    out_.unnest();
  }

  void value(std::uint16_t type, std::string_view bytes) {
    out_.nest(type);
    out_.attribute(NFTA_DATA_VALUE, bytes);
    out_.unnest();
  }

  void compare(std::string_view bytes) {
    begin_expression("cmp");
    out_.number(NFTA_CMP_SREG, NFT_REG_1);
    out_.number(NFTA_CMP_OP, NFT_CMP_EQ);
    value(NFTA_CMP_DATA, bytes);
    end_expression();
  }

  void compare_meta(std::uint32_t key, std::string_view bytes) {
    begin_expression("meta");
    out_.number(NFTA_META_KEY, key);
    out_.number(NFTA_META_DREG, NFT_REG_1);
    end_expression();
    compare(bytes);
  }

  void compare_destination(const Prefix& prefix) {
    std::uint8_t ipv4 = NFPROTO_IPV4;
    compare_meta(NFT_META_NFPROTO, bytes_of(ipv4));
    begin_expression("payload");
    out_.number(NFTA_PAYLOAD_DREG, NFT_REG_1);
    out_.number(NFTA_PAYLOAD_BASE, NFT_PAYLOAD_NETWORK_HEADER);
    out_.number(NFTA_PAYLOAD_OFFSET, destination_offset);
    out_.number(NFTA_PAYLOAD_LEN, sizeof prefix.address);
    end_expression();
    if (prefix.length < 32) keep_bits(prefix.length);
    compare(bytes_of(prefix.address));
  }

  void keep_bits(int length) {
    std::uint32_t mask = length == 0 ? 0 : htonl(~std::uint32_t(0) << (32 - length)), zero = 0;
    begin_expression("bitwise");
    out_.number(NFTA_BITWISE_SREG, NFT_REG_1);
    out_.number(NFTA_BITWISE_DREG, NFT_REG_1);
    out_.number(NFTA_BITWISE_LEN, sizeof mask);
    value(NFTA_BITWISE_MASK, bytes_of(mask));
    value(NFTA_BITWISE_XOR, bytes_of(zero));
    end_expression();
  }

  void accept() {
    begin_expression("immediate");
    out_.number(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    out_.nest(NFTA_IMMEDIATE_DATA);
    out_.nest(NFTA_DATA_VERDICT);
    out_.number(NFTA_VERDICT_CODE, NF_ACCEPT);
    out_.unnest();
    out_.unnest();
    end_expression();
  }

  void reject() {
    std::uint8_t prohibited = NFT_REJECT_ICMPX_ADMIN_PROHIBITED;
    begin_expression("reject");
    out_.number(NFTA_REJECT_TYPE, NFT_REJECT_ICMPX_UNREACH);
    out_.attribute(NFTA_REJECT_ICMP_CODE, bytes_of(prohibited));
    end_expression();
  }

  NetlinkWriter out_;
};

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

NetlinkRequest job_firewall(const std::vector<Prefix>& forbidden, const std::vector<Prefix>& allowed) {
  RuleWriter rules;
  rules.accept_loopback();
  rules.reject_ipv6();
  rules.accept_to(*parse_prefix(slirp_resolver));
  for (auto& prefix : forbidden) rules.reject_to(prefix);
  for (auto& prefix : allowed) rules.accept_to(prefix);
  for (const char* range : not_the_internet) rules.reject_to(*parse_prefix(range));
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
