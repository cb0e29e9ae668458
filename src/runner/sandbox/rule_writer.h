#pragma once
// nf_tables rules as netlink bytes: one table of chains and rules, sent as one transaction, so that all of it holds or none.

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <string>

#include "runner/sandbox/firewall.h"

namespace mayfly {

inline std::uint16_t nft_message(int message) { return std::uint16_t(NFNL_SUBSYS_NFTABLES << 8 | message); }

/// A question whose verdict is 0 when the table (of the inet family) is there.
NetlinkRequest ask_for_table(const std::string& table);

/// Rules go to the chain that was begun last; the conditions of one rule are all to hold.
class RuleWriter final {
 public:
  /// `exclusive`: the whole transaction fails with EEXIST if the table is there.
  explicit RuleWriter(std::string table, bool exclusive = false);

  /// `hook`: NF_INET_…; what no rule decides is accepted.
  void begin_chain(const std::string& name, std::uint32_t hook, std::int32_t priority = 0);

  void begin_rule();
  void end_rule();
  void if_leaving_by(std::uint32_t interface_index);
  void if_coming_by(const std::string& interface);
  void if_ipv6();
  void if_to(const Prefix& prefix);
  void if_to_port(std::uint8_t protocol, std::uint16_t port);
  void accept();
  /// Refused at once: "no route to host".
  void reject();

  NetlinkRequest finish();

 private:
  void begin(std::uint16_t type, std::uint16_t flags, std::uint8_t family, std::uint16_t resource);
  void begin_expression(const char* name);
  void end_expression();
  void value(std::uint16_t type, std::string_view bytes);
  void compare(std::string_view bytes);
  void compare_meta(std::uint32_t key, std::string_view bytes);
  void load_payload(std::uint32_t base, std::uint32_t offset, std::uint32_t length);
  void keep_bits(int length);

  std::string table_;
  std::string chain_;
  NetlinkWriter out_;
};

}  // namespace mayfly
