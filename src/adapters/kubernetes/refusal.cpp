#include "adapters/kubernetes/refusal.h"

#include <charconv>

#include "base/json.h"
#include "base/text.h"

namespace mayfly::kubernetes {
namespace {

std::string shown(std::string text) {
  if (text.size() > shown_message_bytes) text = text.substr(0, shown_message_bytes) + "…";
  return clean_text(std::move(text));
}

std::optional<Duration> seconds_of(std::int64_t seconds) {
  if (seconds < 0) return std::nullopt;
  return std::min<Duration>(max_retry_after, std::chrono::seconds(std::min<std::int64_t>(seconds, 3600)));
}

Errc code_of(const Refusal& r) {
  switch (r.code) {
    case 401: return Errc::unauthenticated;
    case 404: return Errc::not_found;
    case 409: return Errc::conflict;
    case 413: return Errc::too_large;
    case 400: case 405: case 415: case 422: return Errc::unsupported;
    case 403: break;
    default: return Errc::unavailable;
  }
  switch (forbidden_by(r.message)) {
    case Forbidden::quota: return Errc::rate_limited;
    case Forbidden::permission: return Errc::forbidden;
    default: return Errc::unsupported;
  }
}

}  // namespace

Refusal read_status(std::string_view text) {
  auto body = parse_json(text);
  if (!body || find_string(*body, "kind") != "Status") return {};
  return {.code = int(find_int(*body, "code").value_or(0)), .reason = find_string(*body, "reason").value_or(""),
          .message = shown(find_string(*body, "message").value_or("")),
          .retry_after = seconds_of(find_int(*body, "details.retryAfterSeconds").value_or(-1))};
}

Refusal read_refusal(const http::ClientResponse& answer) {
  auto out = read_status(answer.body);
  out.code = answer.status;
  if (out.reason.empty()) out.message = shown(answer.body.substr(0, shown_message_bytes));
  if (auto header = answer.headers.get("Retry-After")) {
    std::int64_t seconds = -1;
    std::from_chars(header->data(), header->data() + header->size(), seconds);
    if (auto after = seconds_of(seconds)) out.retry_after = after;
  }
  return out;
}

Forbidden forbidden_by(std::string_view message) {
  if (message.contains("exceeded quota")) return Forbidden::quota;
  if (message.contains("cannot create resource") || message.contains("cannot delete resource") || message.contains("cannot get resource") ||
      message.contains("cannot list resource") || message.contains("cannot watch resource") || message.contains("cannot patch resource"))
    return Forbidden::permission;
  bool refused = message.contains("is forbidden") || message.contains("denied the request") || message.contains("is invalid") || message.contains("violates PodSecurity");
  return refused ? Forbidden::admission : Forbidden::no;
}

Error error_of(const Refusal& r, std::string_view what) {
  auto message = std::string(what) + ": " + std::to_string(r.code) + (r.reason.empty() ? "" : " " + r.reason) + (r.message.empty() ? "" : ": " + r.message);
  auto code = code_of(r);
  std::string hint;
  if (code == Errc::unauthenticated) hint = "check the kubeconfig's certificate or token, and whether it has expired";
  if (code == Errc::forbidden) hint = "give the pool's service account this right: see deploy/kubernetes";
  return {code, std::move(message), std::move(hint)};
}

}  // namespace mayfly::kubernetes
