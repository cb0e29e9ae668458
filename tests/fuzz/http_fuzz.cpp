// Bytes from a hostile peer through everything that reads them: a server's connection end to end (parser, URL decoding, router,
// handlers, answers) and a client's view of an answer. The first byte chooses, the second says in which pieces they arrive.

#include <boost/asio/io_context.hpp>
#include <cstdlib>
#include <string>

#include "async/scope.h"
#include "base/log.h"
#include "net/connection.h"
#include "net/sse.h"

namespace mayfly::http {
namespace {

void require(bool held, const char* what) {
  if (held) return;
  log_error("an invariant is broken", {{"what", what}});
  std::abort();
}

/// Gives its bytes a piece at a time, then ends; keeps what is written to it.
class MemoryStream final : public Stream {
 public:
  MemoryStream(std::string_view bytes, std::size_t piece, std::string& written) : bytes_(bytes), piece_(piece), written_(written) {}

  Task<Result<void>> handshake() override { co_return Result<void>{}; }
  Task<Result<std::size_t>> read_some(std::span<char> into) override {
    require(!into.empty(), "a read has room");
    auto n = bytes_.copy(into.data(), std::min(into.size(), piece_));
    bytes_.remove_prefix(n);
    co_return n;
  }
  Task<Result<void>> write(std::span<const std::string_view> pieces) override {
    for (auto piece : pieces) written_ += piece;
    co_return Result<void>{};
  }
  void end_writing() override {}
  void close() override { bytes_ = {}; }
  void set_deadline(Time) override {}
  bool is_quiet() override { return bytes_.empty(); }
  std::string peer() const override { return "memory"; }

 private:
  std::string_view bytes_;
  std::size_t piece_;
  std::string& written_;
};

Task<Response> echo(Request request) { co_return text_response(200, std::move(request.body)); }

Task<Response> show(Request request) {
  auto text = request.path + build_query(request.query);
  for (auto& [name, value] : request.params) text += name + value;
  auto response = text_response(200, text);
  response.headers.add("X-Text", text);
  co_return response;
}

Task<Response> count(Request, BodyReader& body) {
  auto all = co_await read_all(body);
  if (!all) co_return problem(all.error());
  auto text = std::to_string(all->size());
  co_return stream_response(200, "text/plain", {.write = [text](BodyWriter& out) -> Task<void> { co_await out.write(text); }});
}

Task<Response> ignore(Request, BodyReader&) { co_return empty_response(204); }

void add_routes(Router& router) {
  router.add("GET", "/", show);
  router.add("POST", "/echo", echo, {.max_body_bytes = 64});
  router.add("GET", "/show/{a}", show);
  router.add("GET", "/files/{rest...}", show);
  router.add_stream("PUT", "/count", count, {.max_body_bytes = 256});
  router.add_stream("POST", "/ignore", ignore);
}

/// Whatever came in, what goes out is answers and nothing else.
void check_answers(std::string_view bytes) {
  MessageParser parser(MessageParser::Kind::response, 1 << 20);
  std::array<char, 4096> body;
  while (!bytes.empty()) {
    parser.start();
    auto consumed = parser.feed_head(bytes);
    require(consumed && parser.has_head(), "an answer has a whole head");
    bytes.remove_prefix(*consumed);
    if (parser.head().status == 100) continue;
    while (!parser.done() && !bytes.empty()) {
      auto progress = parser.feed_body(bytes, body);
      require(progress && progress->consumed > 0, "an answer has a well-formed body");
      bytes.remove_prefix(progress->consumed);
    }
  }
}

void serve(std::string_view bytes, std::size_t piece) {
  static boost::asio::io_context loop;
  static Router router;
  static bool filled = (add_routes(router), true);
  static ServerOptions options{.max_header_bytes = 2048};
  static ServerState state{loop.get_executor(), router, options, "now", false};
  (void)filled;
  std::string written;
  Connection connection(state, std::make_unique<MemoryStream>(bytes, piece, written));
  Scope scope(loop.get_executor());
  scope.spawn(connection.run());
  loop.restart();
  loop.run();
  require(scope.size() == 0, "the connection ends when its bytes do");
  if (bytes.find("HEAD") == bytes.npos && bytes.find("HTTP/1.0") == bytes.npos) check_answers(written);
}

void read_answer(std::string_view bytes, std::size_t piece) {
  MessageParser parser(MessageParser::Kind::response, 2048);
  std::string pending;
  std::array<char, 100> body;
  while (!bytes.empty() && !parser.done()) {
    pending += bytes.substr(0, piece);
    bytes.remove_prefix(std::min(piece, bytes.size()));
    if (!parser.has_head()) {
      auto consumed = parser.feed_head(pending);
      if (!consumed) return;
      pending.erase(0, *consumed);
    }
    while (parser.has_head() && !parser.done() && !pending.empty()) {
      auto progress = parser.feed_body(pending, body);
      if (!progress) return;
      require(progress->produced <= body.size(), "a body fits where it goes");
      if (progress->consumed == 0) break;
      pending.erase(0, progress->consumed);
    }
  }
  if (parser.started()) (void)parser.feed_end();
}

/// The same events, however the bytes are split.
void read_events(std::string_view bytes, std::size_t piece) {
  SseParser whole, split;
  auto expected = whole.feed(bytes);
  std::vector<SseEvent> events;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size()))) {
    auto some = split.feed(bytes.substr(0, piece));
    if (!some) return;
    events.insert(events.end(), some->begin(), some->end());
  }
  require(expected && events == *expected, "events do not depend on the split");
}

}  // namespace
}  // namespace mayfly::http

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mayfly::http;
  if (size < 2) return 0;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  std::size_t piece = data[1] == 0 ? size : data[1];
  switch (data[0] % 8) {
    case 0: read_answer(bytes, piece); break;
    case 1: read_events(bytes, piece); break;
    default: serve(bytes, piece);
  }
  return 0;
}
