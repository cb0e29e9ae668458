#include "cli/client/endpoint.h"

#include <fstream>
#include <iterator>

#include "net/url.h"

namespace mayfly::cli {
namespace {

constexpr std::string_view default_server = "http://127.0.0.1:8080";

std::string trimmed(std::string text) {
  while (!text.empty() && std::string_view(" \t\r\n").contains(text.back())) text.pop_back();
  return text;
}

Result<std::string> read_token(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(max_token_bytes + 1, '\0');
  file.read(text.data(), std::streamsize(text.size()));
  if (file.bad() || !file.is_open()) return fail(Errc::invalid, "the token file " + path + " cannot be read", "check --token-file");
  text.resize(std::size_t(file.gcount()));
  if (text.size() > max_token_bytes)
    return fail(Errc::too_large, path + " is longer than a token can be (" + std::to_string(max_token_bytes) + " bytes)", "check --token-file");
  return trimmed(std::move(text));
}

/// The token `mayfly up` left is an owner's of this machine's server: no other gets to see it.
bool on_this_machine(const http::Url& url) {
  return url.scheme == "unix" || url.host == "localhost" || url.host == "::1" || url.host.starts_with("127.");
}

Result<std::string> find_token(const Connection& connection, const http::Url& url, const Environment& environment) {
  if (!connection.token_file.empty()) return read_token(connection.token_file);
  if (auto token = environment("MAYFLY_TOKEN"); token && !token->empty()) return trimmed(*token);
  if (!on_this_machine(url)) return std::string();
  return read_token(default_data_dir(environment) + "/token").value_or("");
}

}  // namespace

Result<Endpoint> find_endpoint(const Connection& connection, const Environment& environment) {
  auto url = connection.server;
  if (url.empty()) url = environment("MAYFLY_SERVER").value_or("");
  if (url.empty()) url = default_server;
  while (url.ends_with('/')) url.pop_back();
  if (url.starts_with("unix:") && url.find(':', 5) == std::string::npos) url += ":";
  auto parsed = http::parse_url(url.ends_with(':') ? url + "/" : url);
  if (!parsed)
    return fail(Errc::invalid, "the server's URL is not one: " + parsed.error().message, "write it like http://127.0.0.1:8080");
  TRY_ASSIGN(auto token, find_token(connection, *parsed, environment));
  return Endpoint{std::move(url), std::move(token)};
}

}  // namespace mayfly::cli
