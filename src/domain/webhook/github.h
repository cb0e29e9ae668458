#pragma once
// GitHub's webhooks: whether the bytes are GitHub's, and what they mean. Gitea and Forgejo send the same headers and, for
// what is read here, the same JSON. https://docs.github.com/webhooks/webhook-events-and-payloads

#include <span>
#include <string>
#include <string_view>

#include "domain/webhook/webhook.h"

namespace mayfly {

inline constexpr std::size_t max_live_webhook_secrets = 2;   // the current one and, while it is rotated, the one before

/// True if `signature` (X-Hub-Signature-256: "sha256=" and 64 hex digits) is the HMAC-SHA256 of the raw body under one of
/// the secrets. Takes the same time whichever secret fits and wherever the digests differ. An empty secret fits nothing,
/// neither does one past max_live_webhook_secrets.
bool verify_github(std::span<const std::string> secrets, std::string_view body, std::string_view signature);

/// The JSON of a body: itself, or the `payload` field when the hook sends application/x-www-form-urlencoded (GitHub's default).
/// The signature is of the raw body in both cases. Errc::invalid when the form has no such field.
Result<std::string> github_payload(std::string_view content_type, std::string_view body);

/// Which repository a payload speaks of, to find the project and so the secret: before anything is known to be true. Reads
/// no further than it must. Errc::invalid when the text is not JSON up to there or names no repository; Errc::too_large.
Result<RepositoryNames> github_repository(std::string_view payload);

/// `event` is X-GitHub-Event. Events that build nothing are `ignored` with a reason and no error. Errc::invalid: not a JSON
/// object, or a push or pull request without the fields that make one; Errc::too_large past max_webhook_bytes.
Result<DecodedWebhook> decode_github(std::string_view event, std::string_view payload);

}  // namespace mayfly
