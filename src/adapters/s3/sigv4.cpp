#include "adapters/s3/sigv4.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <utility>
#include <vector>

namespace mayfly::s3 {
namespace {

constexpr std::string_view algorithm = "AWS4-HMAC-SHA256";

std::string_view text_of(const Sha256& digest) { return {reinterpret_cast<const char*>(digest.data()), digest.size()}; }

std::string lower(std::string_view text) {
  std::string out(text);
  for (auto& c : out)
    if (c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
  return out;
}

/// Without blanks at its ends, and runs of them as one.
std::string squeezed(std::string_view value) {
  std::string out;
  for (char c : value) {
    bool blank = c == ' ' || c == '\t';
    if (!blank) out += c;
    else if (!out.empty() && out.back() != ' ') out += ' ';
  }
  if (out.ends_with(' ')) out.pop_back();
  return out;
}

/// By name; several of one name are one, in the order they are sent.
std::map<std::string, std::string> canonical_headers(const SignedRequest& request) {
  std::map<std::string, std::string> out{{"host", squeezed(request.host)}};
  for (auto& [name, value] : request.headers.fields) {
    auto [at, is_new] = out.try_emplace(lower(name), squeezed(value));
    if (!is_new) at->second += "," + squeezed(value);
  }
  return out;
}

std::string signed_names(const SignedRequest& request) {
  std::string out;
  for (auto& [name, value] : canonical_headers(request)) out += (out.empty() ? "" : ";") + name;
  return out;
}

/// Encoded first, sorted then: by name, and by value where names are the same.
std::string canonical_query(const http::Query& query) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (auto& [name, value] : query.pairs) pairs.emplace_back(http::percent_encode(name), http::percent_encode(value));
  std::ranges::sort(pairs);
  std::string out;
  for (auto& [name, value] : pairs) out += (out.empty() ? "" : "&") + name + "=" + value;
  return out;
}

std::string canonical_path(std::string_view path) { return path.empty() ? "/" : http::percent_encode(path, "/"); }

std::string scope_text(const SigningScope& scope, std::string_view date) {
  return std::string(date.substr(0, 8)) + "/" + scope.region + "/" + scope.service + "/aws4_request";
}

std::string signature(const SignedRequest& request, std::string_view payload, const Credentials& who, const SigningScope& scope, Time now) {
  auto date = amz_date(now);
  auto key = hmac_sha256("AWS4" + who.secret_key, date.substr(0, 8));
  for (std::string_view part : {std::string_view(scope.region), std::string_view(scope.service), std::string_view("aws4_request")})
    key = hmac_sha256(text_of(key), part);
  auto text = std::string(algorithm) + "\n" + date + "\n" + scope_text(scope, date) + "\n" + to_hex(sha256(canonical_request(request, payload)));
  return to_hex(hmac_sha256(text_of(key), text));
}

}  // namespace

std::string target_of(const SignedRequest& request) {
  auto query = canonical_query(request.query);
  return canonical_path(request.path) + (query.empty() ? "" : "?" + query);
}

std::string canonical_request(const SignedRequest& request, std::string_view payload) {
  std::string out = request.method + "\n" + canonical_path(request.path) + "\n" + canonical_query(request.query) + "\n";
  for (auto& [name, value] : canonical_headers(request)) out += name + ":" + value + "\n";
  return out + "\n" + signed_names(request) + "\n" + std::string(payload);
}

std::string authorization(const SignedRequest& request, std::string_view payload, const Credentials& who, const SigningScope& scope, Time now) {
  return std::string(algorithm) + " Credential=" + who.access_key + "/" + scope_text(scope, amz_date(now)) +
         ",SignedHeaders=" + signed_names(request) + ",Signature=" + signature(request, payload, who, scope, now);
}

void sign(SignedRequest& request, std::string_view payload, const Credentials& who, const SigningScope& scope, Time now) {
  request.headers.set("X-Amz-Date", amz_date(now));
  request.headers.set("X-Amz-Content-Sha256", payload);
  if (!who.session_token.empty()) request.headers.set("X-Amz-Security-Token", who.session_token);
  request.headers.set("Authorization", authorization(request, payload, who, scope, now));
}

std::string presign(SignedRequest request, const Credentials& who, const SigningScope& scope, Time now, Duration valid) {
  auto date = amz_date(now);
  auto seconds = std::chrono::duration_cast<std::chrono::seconds>(std::clamp<Duration>(valid, std::chrono::seconds(1), max_presigned));
  request.query.add("X-Amz-Algorithm", std::string(algorithm));
  request.query.add("X-Amz-Credential", who.access_key + "/" + scope_text(scope, date));
  request.query.add("X-Amz-Date", date);
  request.query.add("X-Amz-Expires", std::to_string(seconds.count()));
  if (!who.session_token.empty()) request.query.add("X-Amz-Security-Token", who.session_token);
  request.query.add("X-Amz-SignedHeaders", signed_names(request));
  // The signature is no part of what is signed, and comes last.
  return target_of(request) + "&X-Amz-Signature=" + signature(request, unsigned_payload, who, scope, now);
}

std::string amz_date(Time at) {
  auto day = std::chrono::floor<std::chrono::days>(at);
  std::chrono::year_month_day date(day);
  std::chrono::hh_mm_ss time(std::chrono::floor<std::chrono::seconds>(at - day));
  char out[40];
  std::snprintf(out, sizeof out, "%04d%02u%02uT%02d%02d%02dZ", int(date.year()), unsigned(date.month()), unsigned(date.day()),
                int(time.hours().count()), int(time.minutes().count()), int(time.seconds().count()));
  return out;
}

}  // namespace mayfly::s3
