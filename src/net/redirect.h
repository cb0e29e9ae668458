#pragma once
// Bytes that another server keeps: an answer may say where, and how to be let in there.

#include "net/client.h"

namespace mayfly::http {

/// Client::open() of a GET; when the answer is a redirect (302, 303, 307) to an http or https URL, that is opened instead, once, with the
/// request's Range and nothing else: what proves to the first server who asks is not for the second. Errc::invalid for other URLs.
Task<Result<std::unique_ptr<ClientStream>>> open_following(Client& client, ClientRequest request);

}  // namespace mayfly::http
