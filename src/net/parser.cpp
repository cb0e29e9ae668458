#include "net/parser.h"

#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <cstring>

namespace mayfly::http {

namespace beast = boost::beast;
using boost::system::error_code;

namespace {

std::string_view view(beast::string_view text) { return {text.data(), text.size()}; }

std::string_view trimmed(std::string_view text) {
  while (text.ends_with(' ') || text.ends_with('\t')) text.remove_suffix(1);
  while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
  return text;
}

std::unexpected<Error> failure(error_code ec) {
  using beast::http::error;
  if (ec == error::header_limit)
    return fail(Errc::too_large, "the request line and headers are too large", "Send fewer or shorter headers");
  if (ec == error::bad_transfer_encoding) return fail(Errc::invalid, "Transfer-Encoding is malformed, doubled, or beside a Content-Length");
  if (ec == error::bad_version) return fail(Errc::invalid, "not HTTP/1.0 or HTTP/1.1");
  return fail(Errc::invalid, "not well-formed HTTP: " + ec.message());
}

/// What the two kinds of Beast's parser have in common, without their template.
class Machine {
 public:
  virtual ~Machine() = default;
  virtual std::size_t put(std::string_view bytes, error_code& ec) = 0;
  virtual void put_eof(error_code& ec) = 0;
  virtual bool is_header_done() const = 0;
  virtual bool is_done() const = 0;
  virtual bool got_some() const = 0;
  virtual bool keep_alive() const = 0;
  virtual std::optional<std::uint64_t> content_length() const = 0;

  MessageHead head;
  std::span<char> into;
  std::size_t produced = 0;
  bool unknown_coding = false;
};

template <bool isRequest>
class BeastMachine final : public Machine, private beast::http::basic_parser<isRequest> {
  using Base = beast::http::basic_parser<isRequest>;

 public:
  BeastMachine(std::size_t max_head_bytes, bool without_body) {
    this->header_limit(static_cast<std::uint32_t>(max_head_bytes));
    this->body_limit(boost::none);
    this->skip(without_body);
  }

  std::size_t put(std::string_view bytes, error_code& ec) override {
    beast::error_code beast_ec;
    auto n = Base::put(boost::asio::const_buffer(bytes.data(), bytes.size()), beast_ec);
    ec = beast_ec;
    return n;
  }
  void put_eof(error_code& ec) override { Base::put_eof(ec); }
  bool is_header_done() const override { return Base::is_header_done(); }
  bool is_done() const override { return Base::is_done(); }
  bool got_some() const override { return Base::got_some(); }
  bool keep_alive() const override { return Base::keep_alive(); }
  std::optional<std::uint64_t> content_length() const override {
    auto length = Base::content_length();
    return length ? std::optional<std::uint64_t>(*length) : std::nullopt;
  }

 private:
  void on_request_impl(beast::http::verb, beast::string_view method, beast::string_view target, int version,
                       error_code&) override {
    head.method = view(method);
    head.target = view(target);
    head.version = version;
  }
  void on_response_impl(int status, beast::string_view, int version, error_code&) override {
    head.status = status;
    head.version = version;
  }
  void on_field_impl(beast::http::field name, beast::string_view text, beast::string_view value, error_code&) override {
    if (Base::is_header_done()) return;  // a trailer
    if (name == beast::http::field::transfer_encoding && !equal_ignoring_case(trimmed(view(value)), "chunked"))
      unknown_coding = true;
    head.headers.add(view(text), view(value));
  }
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(boost::optional<std::uint64_t> const&, error_code&) override {}
  std::size_t on_body_impl(beast::string_view body, error_code&) override { return take(view(body)); }
  void on_chunk_header_impl(std::uint64_t, beast::string_view, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, beast::string_view body, error_code&) override { return take(view(body)); }
  void on_finish_impl(error_code&) override {}

  std::size_t take(std::string_view body) {
    auto n = std::min(body.size(), into.size() - produced);
    if (n > 0) std::memcpy(into.data() + produced, body.data(), n);
    produced += n;
    return n;
  }
};

}  // namespace

struct MessageParser::Impl {
  Kind kind;
  std::size_t max_head_bytes;
  std::unique_ptr<Machine> machine;
  std::size_t head_bytes = 0;
};

MessageParser::MessageParser(Kind kind, std::size_t max_head_bytes)
    : impl_(std::make_unique<Impl>(Impl{kind, max_head_bytes, nullptr, 0})) {
  start();
}
MessageParser::~MessageParser() = default;
MessageParser::MessageParser(MessageParser&&) noexcept = default;

void MessageParser::start(bool without_body) {
  impl_->head_bytes = 0;
  if (impl_->kind == Kind::request)
    impl_->machine = std::make_unique<BeastMachine<true>>(impl_->max_head_bytes, without_body);
  else
    impl_->machine = std::make_unique<BeastMachine<false>>(impl_->max_head_bytes, without_body);
}

Result<std::size_t> MessageParser::feed_head(std::string_view bytes) {
  error_code ec;
  auto& machine = *impl_->machine;
  auto consumed = machine.put(bytes, ec);
  impl_->head_bytes += consumed;
  if (ec && ec != beast::http::error::need_more) return failure(ec);
  // Beast measures a head that arrives line by line one line at a time.
  auto pending = machine.is_header_done() ? 0 : bytes.size() - consumed;
  if (impl_->head_bytes + pending > impl_->max_head_bytes) return failure(beast::http::error::header_limit);
  if (!machine.is_header_done()) return consumed;
  if (machine.unknown_coding)
    return fail(Errc::unsupported, "a Transfer-Encoding other than chunked", "Send the body as it is, or chunked");
  if (machine.head.version == 10 && machine.head.headers.has("Transfer-Encoding"))
    return failure(beast::http::error::bad_transfer_encoding);
  return consumed;
}

bool MessageParser::has_head() const { return impl_->machine->is_header_done(); }
MessageHead& MessageParser::head() { return impl_->machine->head; }

Result<MessageParser::Progress> MessageParser::feed_body(std::string_view bytes, std::span<char> into) {
  auto& machine = *impl_->machine;
  machine.into = into;
  machine.produced = 0;
  Progress progress;
  while (progress.consumed < bytes.size() && machine.produced < into.size() && !machine.is_done()) {
    error_code ec;
    progress.consumed += machine.put(bytes.substr(progress.consumed), ec);
    if (ec == beast::http::error::need_more) break;
    if (ec) return failure(ec);
  }
  progress.produced = machine.produced;
  return progress;
}

Result<void> MessageParser::feed_end() {
  auto& machine = *impl_->machine;
  if (!machine.got_some()) return fail(Errc::invalid, "the connection ended before a message");
  error_code ec;
  machine.put_eof(ec);
  if (ec) return fail(Errc::invalid, "the connection ended inside a message");
  return {};
}

bool MessageParser::done() const { return impl_->machine->is_done(); }
bool MessageParser::started() const { return impl_->machine->got_some(); }
bool MessageParser::keep_alive() const { return impl_->machine->keep_alive(); }
std::optional<std::uint64_t> MessageParser::content_length() const { return impl_->machine->content_length(); }

}  // namespace mayfly::http
