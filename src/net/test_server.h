#pragma once
// For tests: a server on a thread of its own, a peer that writes and reads raw bytes, and a way to await one task. Used by
// tests of other folders too, as the fake of a program that speaks HTTP.

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstring>
#include <future>
#include <optional>
#include <string>
#include <thread>

#include "async/scope.h"
#include "net/server.h"

namespace mayfly::http::testing_support {

/// Runs `task` on `loop` until it ends, and gives back what it returned.
template <class T>
T await(boost::asio::io_context& loop, Task<T> task) {
  std::optional<T> result;
  auto keep = [](Task<T> inner, std::optional<T>& out) -> Task<void> { out.emplace(co_await std::move(inner)); };
  Scope scope(loop.get_executor());
  scope.spawn(keep(std::move(task), result));
  loop.restart();
  loop.run();
  return *std::move(result);
}

/// Serves `router` until destroyed.
class TestServer final {
 public:
  explicit TestServer(const Router& router, ServerOptions options = {}, std::string listen = "127.0.0.1:0")
      : scope_(loop_.get_executor()), server_(loop_.get_executor(), router, std::move(options)) {
    auto bound = server_.listen(listen);
    if (!bound) throw std::runtime_error(bound.error().message);
    address_ = *bound;
    scope_.spawn(server_.serve());
    thread_ = std::thread([this] { loop_.run(); });
  }
  ~TestServer() {
    if (!thread_.joinable()) return;
    on_loop([this] { scope_.cancel(); });
    thread_.join();
  }

  const std::string& address() const { return address_; }  // "127.0.0.1:40123"
  std::string url(std::string_view target) const {
    return (address_.starts_with("unix:") ? address_ + ":" : "http://" + address_) + std::string(target);
  }

  /// Starts the drain; wait_stopped() returns when serve() has.
  void stop() { on_loop([this] { server_.stop(); }); }
  void wait_stopped() { thread_.join(); }

  std::size_t connections() {
    std::size_t n = 0;
    on_loop([&] { n = server_.connections(); });
    return n;
  }

  boost::asio::io_context& loop() { return loop_; }

  template <class F>
  void on_loop(F work) {
    std::promise<void> done;
    boost::asio::post(loop_, [&] {
      work();
      done.set_value();
    });
    done.get_future().wait();
  }

 private:
  boost::asio::io_context loop_;
  Scope scope_;
  Server server_;
  std::string address_;
  std::thread thread_;
};

/// A blocking socket; every receive gives up after ten seconds, and the test fails then by what it lacks.
class RawPeer final {
 public:
  explicit RawPeer(std::string_view address) {
    if (address.starts_with("unix:")) {
      sockaddr_un to{};
      to.sun_family = AF_UNIX;
      address.substr(5).copy(to.sun_path, sizeof to.sun_path - 1);
      open(AF_UNIX, to);
    } else {
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      to.sin_port = htons(static_cast<std::uint16_t>(std::stoi(std::string(address.substr(address.rfind(':') + 1)))));
      open(AF_INET, to);
    }
  }
  ~RawPeer() { close(); }
  RawPeer(const RawPeer&) = delete;

  /// False once the server has broken the connection.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      auto n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }

  /// Everything up to the end of the connection.
  std::string receive_all() {
    while (receive_some()) {
    }
    return std::move(received_);
  }

  /// Up to and including `mark`; whatever came if it never does.
  std::string receive_until(std::string_view mark) {
    while (received_.find(mark) == std::string::npos && receive_some()) {
    }
    auto end = received_.find(mark);
    auto n = end == std::string::npos ? received_.size() : end + mark.size();
    auto out = received_.substr(0, n);
    received_.erase(0, n);
    return out;
  }

  /// One answer with a Content-Length.
  std::string receive_response() {
    auto head = receive_until("\r\n\r\n");
    auto at = head.find("Content-Length: ");
    std::size_t length = at == std::string::npos ? 0 : std::stoul(head.substr(at + 16));
    while (received_.size() < length && receive_some()) {
    }
    auto body = received_.substr(0, length);
    received_.erase(0, body.size());
    return head + body;
  }

  /// The connection was broken off instead of ended: answers on their way may have been lost.
  bool was_reset() const { return was_reset_; }

  bool ended() { return received_.empty() && !receive_some(); }
  void end_writing() { ::shutdown(fd_, SHUT_WR); }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  int fd() const { return fd_; }

 private:
  template <class Address>
  void open(int family, const Address& to) {
    fd_ = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    timeval limit{10, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) throw std::runtime_error(std::strerror(errno));
  }

  bool receive_some() {
    char bytes[16 * 1024];
    auto n = ::recv(fd_, bytes, sizeof bytes, 0);
    was_reset_ = n < 0 && errno == ECONNRESET;
    if (n <= 0) return false;
    received_.append(bytes, static_cast<std::size_t>(n));
    return true;
  }

  int fd_ = -1;
  bool was_reset_ = false;
  std::string received_;
};

}  // namespace mayfly::http::testing_support
