#pragma once
// Whom the peer's certificate has to name. For what speaks TLS over streams of its own, too.

#include <string>

struct ssl_st;

namespace mayfly::http {

/// For a client's session before its handshake: the certificate has to name `host`, a name or an address, and the server chooses
/// its certificate by it. False if no certificate can name it.
bool expect_host(ssl_st* session, const std::string& host);

}  // namespace mayfly::http
