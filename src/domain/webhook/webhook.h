#pragma once
// What a forge's webhook means to Mayfly, whichever forge sent it: the decoders make this value of its bytes, and nothing
// behind them knows a forge's JSON.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace mayfly {

inline constexpr std::size_t max_webhook_bytes = 25 << 20;
inline constexpr std::size_t max_webhook_name_bytes = 256;    // repository, person, event, action
inline constexpr std::size_t max_webhook_url_bytes = 2048;    // a longer one counts as absent
inline constexpr std::size_t max_webhook_text_bytes = 8192;   // message and title; longer ones are cut

enum class WebhookKind { push, pull_request, create, remove, ping, ignored };
std::string_view to_string(WebhookKind);   // "push" … "delete" … "ignored"

/// Every name by which a project may have been told of its repository; empty where the payload has none.
struct RepositoryNames {
  std::string full_name{};   // "acme/web"
  std::string clone_url{};
  std::string git_url{};
  std::string ssh_url{};
  std::string html_url{};

  bool operator==(const RepositoryNames&) const = default;
};

struct PullRequest {
  std::int64_t number = 0;
  std::string action{};          // opened | synchronize | reopened
  std::string title{};
  std::string head_sha{};
  std::string head_ref{};        // "feature/x"
  std::string head_clone_url{};  // empty when the fork is gone
  std::string base_ref{};        // "main"
  std::string base_sha{};
  bool fork = false;           // its head is not in this repository (or in none any more)

  bool operator==(const PullRequest&) const = default;
};

struct DecodedWebhook {
  WebhookKind kind = WebhookKind::ignored;
  RepositoryNames repository{};
  std::string ref{};             // refs/heads/main, refs/tags/v1, refs/pull/7/head
  std::string before{};          // empty when unknown, all zeros for a new ref
  std::string after{};           // as the forge wrote it: of an annotated tag the tag object
  std::string sha{};             // the commit to build
  std::string message{};
  std::string author{};          // "Name <address>", or the login where the forge says no more
  std::string sender{};          // login
  std::optional<PullRequest> pull_request{};
  /// Two deliveries of one project with the same meaning ask for the same build. Empty when nothing is to be built.
  std::string meaning{};
  /// Why nothing is built, a sentence for the delivery. Empty for push and pull_request, which make builds.
  std::string reason{};

  bool makes_build() const { return kind == WebhookKind::push || kind == WebhookKind::pull_request; }
  bool operator==(const DecodedWebhook&) const = default;
};

}  // namespace mayfly
