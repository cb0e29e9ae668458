#include "runner/sandbox/rule_writer.h"

#include <net/if.h>

#include <cstring>

namespace mayfly {
namespace {

constexpr std::uint32_t destination_offset = 16;       // in an IPv4 header
constexpr std::uint32_t destination_port_offset = 2;   // in a TCP and a UDP header

std::string family_header(std::uint8_t family, std::uint16_t resource) {
  nfgenmsg header{family, NFNETLINK_V0, htons(resource)};
  return std::string(bytes_of(header));
}

}  // namespace

NetlinkRequest ask_for_table(const std::string& table) {
  NetlinkWriter out;
  out.begin(nft_message(NFT_MSG_GETTABLE), NLM_F_ACK, family_header(NFPROTO_INET, 0));
  out.text(NFTA_TABLE_NAME, table);
  out.end();
  auto last = out.sequence();
  return {NETLINK_NETFILTER, out.take(), last};
}

RuleWriter::RuleWriter(std::string table, bool exclusive) : table_(std::move(table)) {
  begin(NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
  out_.end();
  begin(nft_message(NFT_MSG_NEWTABLE), std::uint16_t(NLM_F_CREATE | (exclusive ? NLM_F_EXCL : 0)), NFPROTO_INET, 0);
  out_.text(NFTA_TABLE_NAME, table_);
  out_.end();
}

void RuleWriter::begin_chain(const std::string& name, std::uint32_t hook, std::int32_t priority) {
  chain_ = name;
  begin(nft_message(NFT_MSG_NEWCHAIN), NLM_F_CREATE, NFPROTO_INET, 0);
  out_.text(NFTA_CHAIN_TABLE, table_);
  out_.text(NFTA_CHAIN_NAME, chain_);
  out_.nest(NFTA_CHAIN_HOOK);
  out_.number(NFTA_HOOK_HOOKNUM, hook);
  out_.number(NFTA_HOOK_PRIORITY, std::uint32_t(priority));
  out_.unnest();
  out_.number(NFTA_CHAIN_POLICY, NF_ACCEPT);
  out_.text(NFTA_CHAIN_TYPE, "filter");
  out_.end();
}

void RuleWriter::begin_rule() {
  begin(nft_message(NFT_MSG_NEWRULE), NLM_F_CREATE | NLM_F_APPEND | NLM_F_ACK, NFPROTO_INET, 0);
  out_.text(NFTA_RULE_TABLE, table_);
  out_.text(NFTA_RULE_CHAIN, chain_);
  out_.nest(NFTA_RULE_EXPRESSIONS);
}

void RuleWriter::end_rule() {
  out_.unnest();
  out_.end();
}

void RuleWriter::if_leaving_by(std::uint32_t interface_index) { compare_meta(NFT_META_OIF, bytes_of(interface_index)); }

void RuleWriter::if_coming_by(const std::string& interface) {
  char name[IFNAMSIZ] = {};
  interface.copy(name, sizeof name - 1);
  compare_meta(NFT_META_IIFNAME, {name, sizeof name});
}

void RuleWriter::if_ipv6() {
  std::uint8_t ipv6 = NFPROTO_IPV6;
  compare_meta(NFT_META_NFPROTO, bytes_of(ipv6));
}

void RuleWriter::if_to(const Prefix& prefix) {
  std::uint8_t ipv4 = NFPROTO_IPV4;
  compare_meta(NFT_META_NFPROTO, bytes_of(ipv4));
  load_payload(NFT_PAYLOAD_NETWORK_HEADER, destination_offset, sizeof prefix.address);
  if (prefix.length < 32) keep_bits(prefix.length);
  compare(bytes_of(prefix.address));
}

void RuleWriter::if_to_port(std::uint8_t protocol, std::uint16_t port) {
  compare_meta(NFT_META_L4PROTO, bytes_of(protocol));
  load_payload(NFT_PAYLOAD_TRANSPORT_HEADER, destination_port_offset, sizeof port);
  auto big_endian = htons(port);
  compare(bytes_of(big_endian));
}

void RuleWriter::accept() {
  begin_expression("immediate");
  out_.number(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
  out_.nest(NFTA_IMMEDIATE_DATA);
  out_.nest(NFTA_DATA_VERDICT);
  out_.number(NFTA_VERDICT_CODE, NF_ACCEPT);
  out_.unnest();
  out_.unnest();
  end_expression();
}

void RuleWriter::reject() {
  std::uint8_t prohibited = NFT_REJECT_ICMPX_ADMIN_PROHIBITED;
  begin_expression("reject");
  out_.number(NFTA_REJECT_TYPE, NFT_REJECT_ICMPX_UNREACH);
  out_.attribute(NFTA_REJECT_ICMP_CODE, bytes_of(prohibited));
  end_expression();
}

NetlinkRequest RuleWriter::finish() {
  auto last = out_.sequence();
  begin(NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
  out_.end();
  return {NETLINK_NETFILTER, out_.take(), last};
}

void RuleWriter::begin(std::uint16_t type, std::uint16_t flags, std::uint8_t family, std::uint16_t resource) {
  out_.begin(type, flags, family_header(family, resource));
}

void RuleWriter::begin_expression(const char* name) {
  out_.nest(NFTA_LIST_ELEM);
  out_.text(NFTA_EXPR_NAME, name);
  out_.nest(NFTA_EXPR_DATA);
}

void RuleWriter::end_expression() {
  out_.unnest();
  out_.unnest();
}

void RuleWriter::value(std::uint16_t type, std::string_view bytes) {
  out_.nest(type);
  out_.attribute(NFTA_DATA_VALUE, bytes);
  out_.unnest();
}

void RuleWriter::compare(std::string_view bytes) {
  begin_expression("cmp");
  out_.number(NFTA_CMP_SREG, NFT_REG_1);
  out_.number(NFTA_CMP_OP, NFT_CMP_EQ);
  value(NFTA_CMP_DATA, bytes);
  end_expression();
}

void RuleWriter::compare_meta(std::uint32_t key, std::string_view bytes) {
  begin_expression("meta");
  out_.number(NFTA_META_KEY, key);
  out_.number(NFTA_META_DREG, NFT_REG_1);
  end_expression();
  compare(bytes);
}

void RuleWriter::load_payload(std::uint32_t base, std::uint32_t offset, std::uint32_t length) {
  begin_expression("payload");
  out_.number(NFTA_PAYLOAD_DREG, NFT_REG_1);
  out_.number(NFTA_PAYLOAD_BASE, base);
  out_.number(NFTA_PAYLOAD_OFFSET, offset);
  out_.number(NFTA_PAYLOAD_LEN, length);
  end_expression();
}

void RuleWriter::keep_bits(int length) {
  std::uint32_t mask = length == 0 ? 0 : htonl(~std::uint32_t(0) << (32 - length)), zero = 0;
  begin_expression("bitwise");
  out_.number(NFTA_BITWISE_SREG, NFT_REG_1);
  out_.number(NFTA_BITWISE_DREG, NFT_REG_1);
  out_.number(NFTA_BITWISE_LEN, sizeof mask);
  value(NFTA_BITWISE_MASK, bytes_of(mask));
  value(NFTA_BITWISE_XOR, bytes_of(zero));
  end_expression();
}

}  // namespace mayfly
