#include "net/http.h"

#include <algorithm>
#include <array>

#include "base/json.h"

namespace mayfly::http {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

std::string_view trim(std::string_view text) {
  auto first = text.find_first_not_of(" \t");
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

struct CodeStatus {
  Errc code;
  int status;
};

// Where two codes share a status, the first is what the status alone means.
constexpr std::array kStatusOfCode{
    CodeStatus{Errc::invalid, 400},      CodeStatus{Errc::unauthenticated, 401}, CodeStatus{Errc::forbidden, 403},
    CodeStatus{Errc::not_found, 404},    CodeStatus{Errc::conflict, 409},        CodeStatus{Errc::fenced, 409},
    CodeStatus{Errc::too_large, 413},    CodeStatus{Errc::unsupported, 422},     CodeStatus{Errc::rate_limited, 429},
    CodeStatus{Errc::unavailable, 503},  CodeStatus{Errc::canceled, 503},        CodeStatus{Errc::timeout, 504},
    CodeStatus{Errc::corrupt, 500},      CodeStatus{Errc::internal, 500},
};

std::optional<Errc> code_named(std::string_view word) {
  for (auto [code, status] : kStatusOfCode)
    if (to_string(code) == word) return code;
  return std::nullopt;
}

Errc code_of_status(int status) {
  switch (status) {
    case 408: return Errc::timeout;
    case 412: return Errc::conflict;
    case 416: return Errc::invalid;
    case 502: return Errc::unavailable;
    case 500: return Errc::internal;
    case 501: return Errc::unsupported;
  }
  for (auto entry : kStatusOfCode)
    if (entry.status == status) return entry.code;
  return status >= 400 && status < 500 ? Errc::invalid : Errc::internal;
}

}  // namespace

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::ranges::equal(a, b, {}, lower, lower);
}

bool has_token(std::string_view list, std::string_view token) {
  while (!list.empty()) {
    auto end = std::min(list.find(','), list.size());
    if (equal_ignoring_case(trim(list.substr(0, end)), token)) return true;
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return false;
}

std::optional<std::string_view> Headers::get(std::string_view name) const {
  for (auto& [key, value] : fields)
    if (equal_ignoring_case(key, name)) return value;
  return std::nullopt;
}

void Headers::add(std::string_view name, std::string_view value) { fields.emplace_back(name, value); }

void Headers::set(std::string_view name, std::string_view value) {
  remove(name);
  add(name, value);
}

void Headers::remove(std::string_view name) {
  std::erase_if(fields, [&](auto& field) { return equal_ignoring_case(field.first, name); });
}

std::size_t Headers::count(std::string_view name) const {
  return static_cast<std::size_t>(
      std::ranges::count_if(fields, [&](auto& field) { return equal_ignoring_case(field.first, name); }));
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 100: return "Continue";
    case 101: return "Switching Protocols";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 416: return "Range Not Satisfiable";
    case 417: return "Expectation Failed";
    case 422: return "Unprocessable Content";
    case 425: return "Too Early";
    case 426: return "Upgrade Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    default: return "Unknown";
  }
}

Task<Result<std::string>> read_all(BodyReader& body) {
  constexpr std::uint64_t kReserveAtMost = 1024 * 1024;  // a claimed length costs the claimant's bytes, not our memory
  std::string out;
  out.reserve(std::min(body.length().value_or(0), kReserveAtMost));
  std::array<char, 16 * 1024> piece;
  while (true) {
    CO_TRY_ASSIGN(auto n, co_await body.read(piece));
    if (n == 0) co_return out;
    out.append(piece.data(), n);
  }
}

Response text_response(int status, std::string body, std::string_view content_type) {
  Response response{.status = status, .body = std::move(body)};
  response.headers.add("Content-Type", content_type);
  return response;
}

Response json_response(int status, std::string json) { return text_response(status, std::move(json), "application/json"); }

Response stream_response(int status, std::string_view content_type, StreamBody body) {
  Response response{.status = status, .body = std::move(body)};
  response.headers.add("Content-Type", content_type);
  return response;
}

Response empty_response(int status) { return Response{.status = status, .body = std::string()}; }

Response redirect(int status, std::string_view location) {
  auto response = empty_response(status);
  response.headers.add("Location", location);
  return response;
}

Response problem(int status, std::string_view title, std::string_view detail, std::string_view hint, std::string_view code) {
  json::object body{{"title", title}, {"status", status}};
  if (!detail.empty()) body["detail"] = detail;
  if (!hint.empty()) body["hint"] = hint;
  if (!code.empty()) body["code"] = code;
  return text_response(status, json::serialize(body), "application/problem+json");
}

int status_of(Errc code) {
  for (auto entry : kStatusOfCode)
    if (entry.code == code) return entry.status;
  return 500;
}

Response problem(const Error& error) {
  int status = status_of(error.code);
  auto detail = status == 500 ? std::string_view("The server failed; its log says why.") : std::string_view(error.message);
  return problem(status, reason_phrase(status), detail, error.hint, to_string(error.code));
}

Error error_of(int status, const Headers& headers, std::string_view body) {
  Error error{code_of_status(status), "HTTP " + std::to_string(status) + " " + std::string(reason_phrase(status)), {}};
  if (!headers.get("Content-Type").value_or("").starts_with("application/problem+json")) return error;
  auto parsed = parse_json(body);
  if (!parsed) return error;
  if (auto code = code_named(find_string(*parsed, "code").value_or(""))) error.code = *code;
  if (auto text = find_string(*parsed, "detail")) error.message = *text;
  else if (auto title = find_string(*parsed, "title")) error.message = *title;
  error.hint = find_string(*parsed, "hint").value_or("");
  return error;
}

}  // namespace mayfly::http
