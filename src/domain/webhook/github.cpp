#include "domain/webhook/github.h"

#include <algorithm>

#include "base/digest.h"
#include "domain/names.h"
#include "domain/webhook/git_names.h"
#include "domain/webhook/json_fields.h"

namespace mayfly {
namespace {

enum Field : std::size_t {
  repository, full_name, clone_url, git_url, ssh_url, html_url,
  ref, ref_type, before, after, deleted, action, sender,
  commit_id, commit_message, commit_author, commit_email,
  number, pull_request, pull_number, title, opened_by, updated_at,
  head_sha, head_ref, head_repo, head_repo_id, head_repo_name, head_clone_url,
  base_sha, base_ref, base_repo_id, base_repo_name,
};

constexpr auto name = max_webhook_name_bytes, url = max_webhook_url_bytes, words = max_webhook_text_bytes, sha = std::size_t(64);

constexpr FieldSpec wanted[] = {
    {"repository", 0}, {"repository.full_name", name}, {"repository.clone_url", url}, {"repository.git_url", url},
    {"repository.ssh_url", url}, {"repository.html_url", url},
    {"ref", max_ref_bytes}, {"ref_type", name}, {"before", sha}, {"after", sha}, {"deleted", 0}, {"action", name}, {"sender.login", name},
    {"head_commit.id", sha}, {"head_commit.message", words}, {"head_commit.author.name", name}, {"head_commit.author.email", name},
    {"number", 0}, {"pull_request", 0}, {"pull_request.number", 0}, {"pull_request.title", words}, {"pull_request.user.login", name},
    {"pull_request.updated_at", sha},
    {"pull_request.head.sha", sha}, {"pull_request.head.ref", max_ref_bytes}, {"pull_request.head.repo", 0},
    {"pull_request.head.repo.id", 0}, {"pull_request.head.repo.full_name", name}, {"pull_request.head.repo.clone_url", url},
    {"pull_request.base.sha", sha}, {"pull_request.base.ref", max_ref_bytes}, {"pull_request.base.repo.id", 0},
    {"pull_request.base.repo.full_name", name},
};
constexpr std::size_t repository_fields = html_url + 1;

class Fields {
 public:
  explicit Fields(std::vector<FieldValue> values) : values_(std::move(values)) {}

  /// A text that means something only when it is whole.
  std::string whole(Field f) const { return values_[f].cut ? std::string() : values_[f].text; }
  std::string prose(Field f) const { return values_[f].text; }
  bool is_true(Field f) const { return values_[f].type == FieldValue::Type::boolean && values_[f].integer == 1; }
  bool has(Field f, FieldValue::Type type) const { return values_[f].type == type; }
  std::int64_t integer(Field f) const { return values_[f].integer; }

 private:
  std::vector<FieldValue> values_;
};

RepositoryNames repository_of(const Fields& fields) {
  return {.full_name = fields.whole(full_name),
          .clone_url = fields.whole(clone_url),
          .git_url = fields.whole(git_url),
          .ssh_url = fields.whole(ssh_url),
          .html_url = fields.whole(html_url)};
}

DecodedWebhook without_build(DecodedWebhook&& hook, WebhookKind kind, std::string reason) {
  hook.kind = kind;
  hook.reason = std::move(reason);
  return hook;
}

std::unexpected<Error> wrong(std::string_view event, std::string_view field, std::string_view what) {
  return fail(Errc::invalid, std::string(event) + " payload: '" + std::string(field) + "' is not " + std::string(what),
              "is the hook's content type JSON, and does a forge send it?");
}

std::string author_of(const Fields& fields) {
  auto who = fields.whole(commit_author), mail = fields.whole(commit_email);
  return mail.empty() ? who : who + " <" + mail + ">";
}

bool is_branch_or_tag(std::string_view r) { return r.starts_with("refs/heads/") || r.starts_with("refs/tags/"); }

Result<DecodedWebhook> decode_push(const Fields& fields, DecodedWebhook hook) {
  hook.ref = fields.whole(ref);
  hook.before = fields.whole(before);
  hook.after = fields.whole(after);
  if (!is_ref_name(hook.ref)) return wrong("push", "ref", "the name of a ref");
  if (!hook.before.empty() && !is_commit_sha(hook.before)) return wrong("push", "before", "a commit");
  if (fields.is_true(deleted) || is_zero_sha(hook.after))
    return without_build(std::move(hook), WebhookKind::remove, "The ref was deleted: there is nothing to build.");
  if (!is_commit_sha(hook.after)) return wrong("push", "after", "a commit");
  if (!is_branch_or_tag(hook.ref))
    return without_build(std::move(hook), WebhookKind::ignored, "Only pushes to branches and tags make builds; this one is to " + hook.ref + ".");
  auto commit = fields.whole(commit_id);
  hook.kind = WebhookKind::push;
  hook.sha = is_commit_sha(commit) && hook.ref.starts_with("refs/tags/") ? commit : hook.after;
  hook.message = fields.prose(commit_message);
  hook.author = author_of(fields);
  hook.meaning = "push " + hook.ref + " " + hook.before + " " + hook.after;
  return hook;
}

bool is_from_fork(const Fields& fields) {
  if (!fields.has(head_repo, FieldValue::Type::object)) return true;
  if (fields.has(head_repo_id, FieldValue::Type::integer) && fields.has(base_repo_id, FieldValue::Type::integer))
    return fields.integer(head_repo_id) != fields.integer(base_repo_id);
  auto head = fields.whole(head_repo_name);
  return head.empty() || head != fields.whole(base_repo_name);
}

Result<PullRequest> pull_request_of(const Fields& fields, std::string act) {
  PullRequest pr{.number = fields.has(number, FieldValue::Type::integer) ? fields.integer(number) : fields.integer(pull_number),
                 .action = std::move(act),
                 .title = fields.prose(title),
                 .head_sha = fields.whole(head_sha),
                 .head_ref = fields.whole(head_ref),
                 .head_clone_url = fields.whole(head_clone_url),
                 .base_ref = fields.whole(base_ref),
                 .base_sha = fields.whole(base_sha),
                 .fork = is_from_fork(fields)};
  if (pr.number <= 0) return wrong("pull_request", "number", "a positive number");
  if (!is_commit_sha(pr.head_sha) || is_zero_sha(pr.head_sha)) return wrong("pull_request", "pull_request.head.sha", "a commit");
  if (!is_ref_name(pr.head_ref)) return wrong("pull_request", "pull_request.head.ref", "the name of a branch");
  if (!is_ref_name(pr.base_ref)) return wrong("pull_request", "pull_request.base.ref", "the name of a branch");
  if (!is_commit_sha(pr.base_sha)) return wrong("pull_request", "pull_request.base.sha", "a commit");
  return pr;
}

// Reopening asks for a build of a head that had one; updated_at tells one reopening from the next, and is the same in both
// copies of a delivery that came twice.
std::string meaning_of(const PullRequest& pr, const Fields& fields) {
  auto about = "pull_request " + std::to_string(pr.number) + " ";
  if (pr.action == "reopened") return about + "reopened " + pr.head_sha + " " + fields.whole(updated_at);
  return about + "head " + pr.head_sha;
}

Result<DecodedWebhook> decode_pull_request(const Fields& fields, DecodedWebhook hook) {
  auto act = fields.whole(action);
  if (act == "synchronized") act = "synchronize";   // Gitea's word for it
  if (act != "opened" && act != "synchronize" && act != "reopened")
    return without_build(std::move(hook), WebhookKind::ignored,
                         "A pull request builds when it is opened, gets new commits or is reopened; this one was " +
                             (act.empty() ? "something else" : act) + ".");
  TRY_ASSIGN(auto pr, pull_request_of(fields, act));
  hook.kind = WebhookKind::pull_request;
  hook.ref = "refs/pull/" + std::to_string(pr.number) + "/head";
  hook.before = is_commit_sha(fields.whole(before)) ? fields.whole(before) : "";
  hook.after = hook.sha = pr.head_sha;
  hook.message = pr.title;
  hook.author = fields.whole(opened_by);
  hook.meaning = meaning_of(pr, fields);
  hook.pull_request = std::move(pr);
  return hook;
}

DecodedWebhook decode_create(const Fields& fields, DecodedWebhook hook) {
  hook.ref = fields.whole(ref);
  return without_build(std::move(hook), WebhookKind::create,
                       "A new branch or tag is built by the push event that comes with it: enable push events on this hook.");
}

DecodedWebhook decode_delete(const Fields& fields, DecodedWebhook hook) {
  hook.ref = fields.whole(ref);
  return without_build(std::move(hook), WebhookKind::remove, "The ref was deleted: there is nothing to build.");
}

bool is_event_name(std::string_view event) {
  return !event.empty() && event.size() <= max_webhook_name_bytes &&
         event.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == event.npos;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = char(c | 0x20);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

std::string form_decoded(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    bool escaped = text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0;
    if (escaped) {
      out += char(hex_digit(text[i + 1]) << 4 | hex_digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

constexpr Name<WebhookKind> kind_names[] = {
    {WebhookKind::push, "push"},     {WebhookKind::pull_request, "pull_request"}, {WebhookKind::create, "create"},
    {WebhookKind::remove, "delete"}, {WebhookKind::ping, "ping"},                 {WebhookKind::ignored, "ignored"},
};

std::unexpected<Error> too_large(std::size_t size) {
  return fail(Errc::too_large, "the webhook has " + std::to_string(size) + " bytes; the limit is " + std::to_string(max_webhook_bytes));
}

}  // namespace

std::string_view to_string(WebhookKind kind) { return name_of(kind_names, kind); }

bool verify_github(std::span<const std::string> secrets, std::string_view body, std::string_view signature) {
  constexpr std::string_view prefix = "sha256=";
  if (!signature.starts_with(prefix) || signature.size() != prefix.size() + 64) return false;
  auto given = from_hex(signature.substr(prefix.size()));
  if (!given) return false;
  bool fits = false;
  for (auto& secret : secrets.first(std::min(secrets.size(), max_live_webhook_secrets))) {
    auto mac = hmac_sha256(secret, body);
    bool equal = equal_in_constant_time(*given, {reinterpret_cast<const char*>(mac.data()), mac.size()});
    fits |= equal & !secret.empty();
  }
  return fits;
}

Result<std::string> github_payload(std::string_view content_type, std::string_view body) {
  if (!content_type.starts_with("application/x-www-form-urlencoded")) return std::string(body);
  constexpr std::string_view key = "payload=";
  for (std::size_t at = 0; at <= body.size();) {
    auto end = std::min(body.find('&', at), body.size());
    auto field = body.substr(at, end - at);
    if (field.starts_with(key)) return form_decoded(field.substr(key.size()));
    at = end + 1;
  }
  return fail(Errc::invalid, "the webhook is a form without a 'payload' field", "set the hook's content type to application/json");
}

Result<RepositoryNames> github_repository(std::string_view payload) {
  if (payload.size() > max_webhook_bytes) return too_large(payload.size());
  TRY_ASSIGN(auto values, read_fields_until(payload, std::span(wanted).first(repository_fields), "repository"));
  auto names = repository_of(Fields(std::move(values)));
  if (names == RepositoryNames{}) return fail(Errc::invalid, "the webhook names no repository", "a hook of an organization must be of its repositories");
  return names;
}

Result<DecodedWebhook> decode_github(std::string_view event, std::string_view payload) {
  if (payload.size() > max_webhook_bytes) return too_large(payload.size());
  if (!is_event_name(event)) return fail(Errc::invalid, "the X-GitHub-Event header is missing or is not an event's name");
  TRY_ASSIGN(auto values, read_fields(payload, wanted));
  Fields fields(std::move(values));
  DecodedWebhook hook{.repository = repository_of(fields), .sender = fields.whole(sender)};
  if (event == "push") return decode_push(fields, std::move(hook));
  if (event == "pull_request") return decode_pull_request(fields, std::move(hook));
  if (event == "create") return decode_create(fields, std::move(hook));
  if (event == "delete") return decode_delete(fields, std::move(hook));
  if (event == "ping") return without_build(std::move(hook), WebhookKind::ping, "A ping: the hook works.");
  return without_build(std::move(hook), WebhookKind::ignored, "Events of kind '" + std::string(event) + "' make no builds.");
}

}  // namespace mayfly
