#include "runner/sandbox/netlink.h"

#include <arpa/inet.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace mayfly {
namespace {

/// 1: the verdict was good; 0: not there yet; else a negative errno.
int find_verdict(const char* answer, std::size_t size, std::uint32_t last_sequence) {
  for (auto* message = reinterpret_cast<const nlmsghdr*>(answer); NLMSG_OK(message, size); message = NLMSG_NEXT(message, size)) {
    if (message->nlmsg_type != NLMSG_ERROR) continue;
    auto* verdict = static_cast<const nlmsgerr*>(NLMSG_DATA(message));
    if (verdict->error != 0) return verdict->error;
    if (message->nlmsg_seq == last_sequence) return 1;
  }
  return 0;
}

}  // namespace

int send_netlink(const NetlinkRequest& request) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, request.protocol);
  if (fd < 0) return errno;
  int verdict = send(fd, request.bytes.data(), request.bytes.size(), 0) == ssize_t(request.bytes.size()) ? 0 : -errno;
  while (verdict == 0) {
    alignas(nlmsghdr) char answer[8192];
    auto n = recv(fd, answer, sizeof answer, 0);
    verdict = n > 0 ? find_verdict(answer, std::size_t(n), request.last_sequence) : errno == EINTR ? 0 : -errno;
  }
  close(fd);
  return verdict == 1 ? 0 : -verdict;
}

void NetlinkWriter::pad() { bytes_.resize((bytes_.size() + 3) & ~std::size_t(3), '\0'); }

void NetlinkWriter::begin(std::uint16_t type, std::uint16_t flags, std::string_view family_header) {
  message_ = bytes_.size();
  nlmsghdr header{};
  header.nlmsg_type = type;
  header.nlmsg_flags = std::uint16_t(flags | NLM_F_REQUEST);
  header.nlmsg_seq = ++sequence_;
  bytes_ += bytes_of(header);
  bytes_ += family_header;
  pad();
}

void NetlinkWriter::end() {
  auto length = std::uint32_t(bytes_.size() - message_);
  std::memcpy(bytes_.data() + message_, &length, sizeof length);
}

void NetlinkWriter::attribute(std::uint16_t type, std::string_view value) {
  nlattr header{std::uint16_t(sizeof(nlattr) + value.size()), type};
  bytes_ += bytes_of(header);
  bytes_ += value;
  pad();
}

void NetlinkWriter::text(std::uint16_t type, std::string_view value) { attribute(type, std::string(value) + '\0'); }

void NetlinkWriter::number(std::uint16_t type, std::uint32_t value) {
  auto big_endian = htonl(value);
  attribute(type, bytes_of(big_endian));
}

void NetlinkWriter::nest(std::uint16_t type) {
  open_nests_.push_back(bytes_.size());
  attribute(std::uint16_t(type | NLA_F_NESTED), "");
}

void NetlinkWriter::unnest() {
  auto length = std::uint16_t(bytes_.size() - open_nests_.back());
  std::memcpy(bytes_.data() + open_nests_.back(), &length, sizeof length);
  open_nests_.pop_back();
}

}  // namespace mayfly
