#pragma once
// What the API server says when it says no: a Status object, read once, with the meaning it has to us.

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "net/client.h"

namespace mayfly::kubernetes {

inline constexpr Duration max_retry_after = std::chrono::minutes(1);   // whatever the server asks for
inline constexpr std::size_t shown_message_bytes = 600;

struct Refusal {
  int code = 0;                // HTTP's, or the Status object's own in a watch
  std::string reason = {};     // "AlreadyExists"; empty when the answer is no Status
  std::string message = {};    // at most shown_message_bytes, UTF-8
  std::optional<Duration> retry_after = {};
};

Refusal read_refusal(const http::ClientResponse& answer);
/// Of a Status object. Another text is a refusal without reason.
Refusal read_status(std::string_view json);

/// Why a pod may not be, whoever was told so: we, or the Job controller that says it in an event.
enum class Forbidden {
  no,            // it is about something else
  quota,         // passes when others end
  admission,     // will be the same again: a policy, a webhook, an invalid object
  permission,    // we lack a right: our deployment's fault, not the job's
};
Forbidden forbidden_by(std::string_view message);

/// not_found 404; conflict 409; unauthenticated 401; forbidden 403 for lack of permission; rate_limited for a quota; unsupported where it
/// will be the same again (other 403, 400, 405, 422); too_large 413; unavailable otherwise. `what` begins the message.
Error error_of(const Refusal& refusal, std::string_view what);

}  // namespace mayfly::kubernetes
