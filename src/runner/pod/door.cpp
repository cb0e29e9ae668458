#include "runner/pod/door.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <boost/asio/local/stream_protocol.hpp>
#include <cstring>
#include <deque>
#include <optional>

#include "base/log.h"
#include "runner/init/transport.h"

namespace mayfly {

namespace asio = boost::asio;
using Socket = asio::local::stream_protocol::socket;

namespace {

constexpr std::size_t max_waiting = 4;   // who knock before there is something to hand over
constexpr std::size_t handed_over = 2;   // control, log

Result<void> hand_over(int to, int control, int log) {
  const std::array<int, handed_over> fds{control, log};
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof fds)> space{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = space.data();
  message.msg_controllen = space.size();
  auto* rights = CMSG_FIRSTHDR(&message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof fds);
  std::memcpy(CMSG_DATA(rights), fds.data(), sizeof fds);
  if (::sendmsg(to, &message, MSG_NOSIGNAL) == 1) return {};
  return fail(Errc::unavailable, std::string("cannot hand over to mayfly-init: ") + std::strerror(errno));
}

}  // namespace

struct PodDoor::Impl : std::enable_shared_from_this<PodDoor::Impl> {
  explicit Impl(const Loop& loop) : acceptor(loop) {}

  struct Offer {
    UniqueFd control;
    UniqueFd log;
    std::function<Result<void>()> before;
  };

  std::string path;
  asio::local::stream_protocol::acceptor acceptor;
  std::deque<Socket> waiting;
  std::optional<Offer> offer;
  std::optional<Socket> lifeline;
  char byte = 0;
  State state = State::empty;
  bool closed = false;
  Signal changed;

  void accept() {
    acceptor.async_accept([weak = weak_from_this()](boost::system::error_code ec, Socket socket) {
      auto self = weak.lock();
      if (!self || ec == asio::error::operation_aborted) return;
      if (!ec && !self->closed && self->waiting.size() < max_waiting) self->waiting.push_back(std::move(socket));
      self->match();
      if (self->acceptor.is_open()) self->accept();
    });
  }

  void set(State next) {
    if (state == State::gone || state == next) return;
    state = next;
    changed.notify();
  }

  /// Whoever waits and what is offered.
  void match() {
    if (!offer || waiting.empty() || closed) return;
    auto given = std::exchange(offer, std::nullopt);
    auto result = given->before();
    if (result) result = hand_over(waiting.front().native_handle(), given->control.get(), given->log.get());
    if (!result) {
      log_error("the job's container is turned away", {{"why", result.error().message}});
      return hang_up();
    }
    lifeline.emplace(std::move(waiting.front()));
    waiting.clear();
    leave_wall();
    set(State::in);
    listen();
  }

  void listen() {
    lifeline->async_read_some(asio::buffer(&byte, 1), [weak = weak_from_this()](boost::system::error_code ec, std::size_t) {
      auto self = weak.lock();
      if (!self || !self->lifeline) return;
      self->set(ec ? State::gone : State::finished);
      if (!ec) self->listen();
    });
  }

  /// Nobody else is expected.
  void leave_wall() {
    boost::system::error_code ignored;
    acceptor.close(ignored);
    ::unlink(path.c_str());
  }

  void hang_up() {
    closed = true;
    offer.reset();
    waiting.clear();
    if (!lifeline) return set(State::gone);
    boost::system::error_code ignored;
    lifeline->shutdown(Socket::shutdown_send, ignored);
  }
};

PodDoor::PodDoor(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

PodDoor::~PodDoor() {
  impl_->hang_up();
  if (impl_->acceptor.is_open()) impl_->leave_wall();
}

Result<std::unique_ptr<PodDoor>> PodDoor::open(Loop loop, const std::string& directory) {
  auto impl = std::make_shared<Impl>(loop);
  impl->path = directory + "/" + control_socket_name;
  if (::unlink(impl->path.c_str()) != 0 && errno != ENOENT) return fail(Errc::unavailable, "cannot remove '" + impl->path + "': " + std::strerror(errno));
  boost::system::error_code ec;
  impl->acceptor.open({}, ec);
  if (!ec) impl->acceptor.bind({impl->path}, ec);
  if (!ec) impl->acceptor.listen(static_cast<int>(max_waiting), ec);
  // Who may see the directory may knock: init, whatever its uid.
  if (ec || ::chmod(impl->path.c_str(), 0666) != 0) return fail(Errc::unavailable, "cannot listen at '" + impl->path + "': " + (ec ? ec.message() : std::strerror(errno)));
  impl->accept();
  return std::unique_ptr<PodDoor>(new PodDoor(std::move(impl)));
}

void PodDoor::offer(UniqueFd control, UniqueFd log, std::function<Result<void>()> before) {
  impl_->offer.emplace(std::move(control), std::move(log), std::move(before));
  impl_->match();
}

void PodDoor::hang_up() { impl_->hang_up(); }
PodDoor::State PodDoor::state() const { return impl_->state; }
Signal& PodDoor::changed() { return impl_->changed; }

}  // namespace mayfly
