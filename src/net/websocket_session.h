#pragma once
// One WebSocket connection over a Stream, either side. Internal to net: what connection.cpp and client.cpp need of it.

#include <memory>
#include <string>

#include "net/stream.h"
#include "net/url.h"
#include "net/websocket.h"

namespace mayfly {
class Scope;
}

namespace mayfly::http {

/// Answers the upgrade and runs its `use`. `early` came behind the request's head. While `use` runs, `slot` is the scope whose
/// cancellation ends it, with a goodbye of 1001.
Task<void> serve_websocket(Loop loop, std::shared_ptr<Stream> stream, std::string early, std::shared_ptr<const Upgrade> upgrade,
                           Scope*& slot);

/// Asks for the upgrade and runs `use`. An answer that is no upgrade is the error that it says.
Task<Result<void>> use_websocket(Loop loop, std::shared_ptr<Stream> stream, Url url, Headers headers, WebSocketOptions options,
                                 WebSocketUse use);

}  // namespace mayfly::http
