#pragma once
// Requests to the kernel's network configuration as ready-made bytes, so that the new process can send them between clone
// and exec, where it may not allocate, and no `ip` or `nft` has to be started.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mayfly {

/// One or more netlink messages. The kernel answers the one numbered `last_sequence`, or an earlier one that fails.
struct NetlinkRequest {
  int protocol = 0;  // NETLINK_…
  std::string bytes;
  std::uint32_t last_sequence = 0;
};

/// Sends it and waits for the verdict: 0 or an errno. Async-signal-safe.
int send_netlink(const NetlinkRequest& request);

/// Writes messages and their attributes with the padding and lengths netlink wants.
class NetlinkWriter final {
 public:
  void begin(std::uint16_t type, std::uint16_t flags, std::string_view family_header);
  void end();
  void attribute(std::uint16_t type, std::string_view value);
  void text(std::uint16_t type, std::string_view value);      // with its zero
  void number(std::uint16_t type, std::uint32_t value);       // big endian, as nf_tables has it
  void nest(std::uint16_t type);
  void unnest();

  std::uint32_t sequence() const { return sequence_; }
  std::string take() { return std::move(bytes_); }

 private:
  void pad();

  std::string bytes_;
  std::vector<std::size_t> open_nests_;  // where they begin
  std::size_t message_ = 0;
  std::uint32_t sequence_ = 0;
};

template <class T>
std::string_view bytes_of(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

}  // namespace mayfly
