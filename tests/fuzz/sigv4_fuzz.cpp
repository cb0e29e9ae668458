// The canonical request of Signature Version 4 beside a second one, written from its description as plainly as can be.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>
#include <vector>

#include "adapters/s3/sigv4.h"

namespace {

std::string encoded(const std::string& text, bool slash_too) {
  const std::string plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
  std::string out;
  for (unsigned char c : text) {
    char hex[4];
    std::snprintf(hex, sizeof hex, "%%%02X", c);
    bool stays = plain.find(char(c)) != plain.npos || (c == '/' && !slash_too);
    out += stays ? std::string(1, char(c)) : std::string(hex);
  }
  return out;
}

std::string trimmed(std::string value) {
  for (auto& c : value)
    if (c == '\t') c = ' ';
  for (auto at = value.find("  "); at != value.npos; at = value.find("  ")) value.erase(at, 1);
  if (!value.empty() && value.front() == ' ') value.erase(0, 1);
  if (!value.empty() && value.back() == ' ') value.pop_back();
  return value;
}

std::string lowered(std::string name) {
  for (auto& c : name) c = char(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return name;
}

std::string plain_canonical_request(const mayfly::s3::SignedRequest& r, const std::string& payload) {
  auto out = r.method + "\n" + encoded(r.path.empty() ? "/" : r.path, false) + "\n";
  std::multiset<std::pair<std::string, std::string>> query;
  for (auto& [name, value] : r.query.pairs) query.insert({encoded(name, true), encoded(value, true)});
  std::string text;
  for (auto& [name, value] : query) text += "&" + name + "=" + value;
  out += (text.empty() ? "" : text.substr(1)) + "\n";
  std::set<std::string> names{"host"};
  for (auto& [name, value] : r.headers.fields) names.insert(lowered(name));
  std::string list;
  for (auto& wanted : names) {
    std::string joined;
    if (wanted == "host") joined = "," + trimmed(r.host);
    for (auto& [name, value] : r.headers.fields)
      if (lowered(name) == wanted) joined += "," + trimmed(value);
    out += wanted + ":" + joined.substr(1) + "\n";
    list += ";" + wanted;
  }
  return out + "\n" + list.substr(1) + "\n" + payload;
}

/// Cuts the input into texts at NULs.
std::vector<std::string> texts_of(const std::uint8_t* data, std::size_t size) {
  std::vector<std::string> out{""};
  for (std::size_t i = 0; i < size; ++i) {
    if (data[i] == 0) out.emplace_back();
    else out.back() += char(data[i]);
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto texts = texts_of(data, size);
  mayfly::s3::SignedRequest request{.host = "example.org", .path = texts[0]};
  for (std::size_t i = 1; i + 1 < texts.size(); i += 2) {
    if (i % 4 == 1) request.query.add(texts[i], texts[i + 1]);
    else if (!texts[i].empty()) request.headers.add(texts[i], texts[i + 1]);
  }
  if (mayfly::s3::canonical_request(request, "hash") != plain_canonical_request(request, "hash")) std::abort();
  // What is sent is what was signed.
  auto target = mayfly::s3::target_of(request);
  if (!mayfly::s3::canonical_request(request, "").starts_with(request.method + "\n" + target.substr(0, target.find('?')) + "\n")) std::abort();
  return 0;
}
