#include "net/redirect.h"

namespace mayfly::http {

Task<Result<std::unique_ptr<ClientStream>>> open_following(Client& client, ClientRequest request) {
  ClientRequest second{.method = request.method, .deadline = request.deadline, .max_response_bytes = request.max_response_bytes};
  if (auto range = request.headers.get("Range")) second.headers.add("Range", *range);
  CO_TRY_ASSIGN(auto stream, co_await client.open(std::move(request)));
  auto status = stream->status();
  auto location = stream->headers().get("Location");
  if ((status != 302 && status != 303 && status != 307) || !location) co_return stream;
  second.url = *location;
  CO_TRY_ASSIGN(auto url, parse_url(second.url));
  if (url.scheme == "unix") co_return fail(Errc::invalid, "a server sends us to a socket of this machine");
  stream.reset();
  co_return co_await client.open(std::move(second));
}

}  // namespace mayfly::http
