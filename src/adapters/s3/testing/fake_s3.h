#pragma once
// An S3 server for tests that does on command what no real one does. It checks signatures, keeps everything in memory and
// knows what Mayfly uses: objects, parts, listings, conditions, lifecycle.

#include <algorithm>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "adapters/s3/blobs.h"
#include "adapters/s3/sigv4.h"
#include "adapters/s3/xml.h"
#include "async/system_timer.h"
#include "net/test_server.h"

namespace mayfly::s3 {

struct FakeObject {
  std::string bytes = {};
  std::map<std::string, std::string> metadata = {};   // "x-amz-meta-…"
};

class FakeS3 final {
 public:
  using Answer = std::optional<http::Response>;
  /// Sees each request first; its answer replaces the fake's.
  using Fault = std::function<Answer(const http::Request&)>;

  FakeS3() {
    auto handle = [this](http::Request r) -> Task<http::Response> { co_return serve(r); };
    for (auto* method : {"GET", "PUT", "POST", "DELETE"}) router_.add(method, "/{path...}", handle, {.max_body_bytes = 128 << 20});
    server_.emplace(router_);
    timers_ = make_system_timers(server_->loop().get_executor());
  }

  S3Options options() const {
    return {.endpoint = "http://" + server_->address(), .bucket = "b", .access_key = "key", .secret_key = "the-secret-key",
            .part_bytes = 5 << 20, .parts_at_once = 1, .max_blob_bytes = 1 << 30,
            .first_pause = std::chrono::milliseconds(1), .longest_pause = std::chrono::milliseconds(5),
            .give_up_after = std::chrono::seconds(20), .try_limit = std::chrono::seconds(10)};
  }

  void on_request(Fault fault) {
    std::lock_guard guard(mutex_);
    fault_ = std::move(fault);
  }
  /// The next requests of this method are answered so.
  void next(std::string method, std::vector<http::Response> answers) {
    on_request([method, answers = std::move(answers), at = std::size_t(0)](const http::Request& r) mutable -> Answer {
      if (r.method != method || at == answers.size()) return std::nullopt;
      return answers[at++];
    });
  }

  template <class F>
  auto with(F look) {
    std::lock_guard guard(mutex_);
    return look(*this);
  }
  std::size_t count(std::string_view method) {
    std::lock_guard guard(mutex_);
    return std::size_t(std::ranges::count_if(requests, [&](auto& line) { return line.starts_with(method); }));
  }

  /// Handles a request as if no fault were there; for faults that act late. Call it from a fault only.
  http::Response really(const http::Request& r) { return handle(r); }

  static http::Response refusal(int status, std::string_view code) {
    http::Response out{.status = status, .body = "<Error><Code>" + std::string(code) + "</Code><Message>as the test wants it</Message></Error>"};
    out.headers.add("Content-Type", "application/xml");
    return out;
  }
  /// Announces more than it sends: the connection breaks in the middle of the body.
  static http::Response cut(std::string bytes) {
    return http::stream_response(200, "application/octet-stream",
                                 {.write = [bytes](http::BodyWriter& to) -> Task<void> { (void)co_await to.write(bytes); }, .length = bytes.size() + 1});
  }
  /// Says that there is an answer, and gives none.
  http::Response stalled() {
    return http::stream_response(200, "application/octet-stream", {.write = [this](http::BodyWriter&) -> Task<void> {
      auto timer = timers_->make_timer();
      (void)co_await timer->wait_until(Time::max());
    }, .length = 1});
  }

  // Under the mutex: see with().
  std::map<std::string, FakeObject> objects;
  struct Upload {
    std::string name;
    std::string initiated = "2020-01-01T00:00:00.000Z";
    std::map<std::string, std::string> metadata;
    std::map<int, std::string> parts;
  };
  std::map<std::string, Upload> uploads;
  std::vector<std::string> requests;      // "PUT /b/blobs/k!?partNumber=1"
  std::string lifecycle;
  bool bucket_exists = true;
  bool has_conditions = true;
  bool has_lifecycle = true;

 private:
  http::Response serve(const http::Request& r) {
    std::lock_guard guard(mutex_);
    requests.push_back(r.method + " " + r.target);
    if (fault_)
      if (auto answer = fault_(r)) return *std::move(answer);
    return handle(r);
  }

  bool is_signed(const http::Request& r) const {
    Credentials who{.access_key = "key", .secret_key = "the-secret-key"};
    SignedRequest again{.method = r.method, .path = r.path};
    auto header = r.headers.get("Authorization");
    std::string given(header.value_or("")), names, date(r.headers.get("X-Amz-Date").value_or(""));
    if (header) {
      again.query = r.query;
      names = given.substr(given.find("SignedHeaders=") + 14);
      names = names.substr(0, names.find(','));
    } else {
      for (auto& [name, value] : r.query.pairs)
        if (!name.starts_with("X-Amz-")) again.query.add(name, value);
      names = r.query.get("X-Amz-SignedHeaders").value_or("");
      date = r.query.get("X-Amz-Date").value_or("");
    }
    for (std::size_t at = 0; at < names.size();) {
      auto end = std::min(names.find(';', at), names.size());
      auto name = names.substr(at, end - at);
      auto value = r.headers.get(name);
      if (name == "host") again.host = value.value_or("");
      else again.headers.add(name, value.value_or("(missing)"));
      at = end + 1;
    }
    if (date.size() != 16) return false;
    auto text = date.substr(0, 4) + "-" + date.substr(4, 2) + "-" + date.substr(6, 5) + ":" + date.substr(11, 2) + ":" + date.substr(13, 3);
    auto at = parse_rfc3339(text);
    if (!at) return false;
    if (header) return given == authorization(again, r.headers.get("X-Amz-Content-Sha256").value_or(""), who, {}, *at);
    auto seconds = http::parse_text<std::int64_t>(r.query.get("X-Amz-Expires").value_or(""), "X-Amz-Expires");
    if (!seconds || *at + std::chrono::seconds(*seconds) < std::chrono::system_clock::now()) return false;
    return presign(again, who, {}, *at, std::chrono::seconds(*seconds)).ends_with("&X-Amz-Signature=" + std::string(r.query.get("X-Amz-Signature").value_or("-")));
  }

  http::Response handle(const http::Request& r) {
    if (!is_signed(r)) return refusal(403, "SignatureDoesNotMatch");
    auto checksum = r.headers.get("x-amz-checksum-sha256");
    auto digest = sha256(r.body);
    if (checksum && *checksum != to_base64({reinterpret_cast<const char*>(digest.data()), digest.size()})) return refusal(400, "BadDigest");
    if (r.path == "/b" && r.method == "PUT" && r.query.pairs.empty()) {
      bucket_exists = true;
      return {};
    }
    if (!bucket_exists) return refusal(404, "NoSuchBucket");
    if (r.path == "/b") return of_bucket(r);
    auto name = r.path.substr(3);
    if (r.query.get("uploads") || r.query.get("uploadId")) return of_upload(r, name);
    return of_object(r, name);
  }

  static std::map<std::string, std::string> metadata_of(const http::Request& r) {
    std::map<std::string, std::string> out;
    for (auto& [name, value] : r.headers.fields)
      if (name.starts_with("x-amz-meta-")) out[name] = value;
    return out;
  }

  std::optional<http::Response> unmet(const http::Request& r, const std::string& name) const {
    if (!r.headers.has("If-None-Match")) return std::nullopt;
    if (!has_conditions) return refusal(501, "NotImplemented");
    if (objects.contains(name)) return refusal(412, "PreconditionFailed");
    return std::nullopt;
  }

  http::Response of_object(const http::Request& r, const std::string& name) {
    if (r.method == "PUT") {
      if (auto refused = unmet(r, name)) return *refused;
      objects[name] = {r.body, metadata_of(r)};
      return {};
    }
    auto found = objects.find(name);
    if (r.method == "DELETE") {
      if (found != objects.end()) objects.erase(found);
      return http::empty_response();
    }
    if (found == objects.end()) return refusal(404, "NoSuchKey");
    auto& bytes = found->second.bytes;
    http::Response out{.body = bytes};
    if (auto range = r.headers.get("Range")) {
      auto dash = range->find('-');
      auto first = std::stoull(std::string(range->substr(6, dash - 6)));
      auto last = std::min<unsigned long long>(std::stoull(std::string(range->substr(dash + 1))), bytes.size() - 1);
      if (first >= bytes.size()) return refusal(416, "InvalidRange");
      out.status = 206;
      out.body = bytes.substr(first, last - first + 1);
      out.headers.add("Content-Range", "bytes " + std::to_string(first) + "-" + std::to_string(last) + "/" + std::to_string(bytes.size()));
    }
    for (auto& [key, value] : found->second.metadata) out.headers.add(key, value);
    return out;
  }

  http::Response of_upload(const http::Request& r, const std::string& name) {
    if (r.method == "POST" && r.query.get("uploads")) {
      auto id = "u" + std::to_string(++uploads_made_);
      uploads[id] = {.name = name, .metadata = metadata_of(r), .parts = {}};
      return {.body = "<InitiateMultipartUploadResult><UploadId>" + id + "</UploadId></InitiateMultipartUploadResult>"};
    }
    auto found = uploads.find(std::string(*r.query.get("uploadId")));
    if (found == uploads.end()) return refusal(404, "NoSuchUpload");
    if (r.method == "DELETE") {
      uploads.erase(found);
      return http::empty_response();
    }
    if (r.method == "PUT") {
      auto number = std::stoi(std::string(*r.query.get("partNumber")));
      found->second.parts[number] = r.body;
      http::Response out;
      out.headers.add("ETag", "\"" + to_hex(sha256(r.body)) + "\"");
      return out;
    }
    if (auto refused = unmet(r, name)) return *refused;
    std::vector<std::string> wanted, sent;
    (void)read_xml(r.body, [&](auto path, auto text) {
      if (path == "CompleteMultipartUpload/Part/ETag") wanted.emplace_back(text);
    });
    FakeObject object{.metadata = found->second.metadata};
    for (auto& [number, bytes] : found->second.parts) {
      sent.push_back("\"" + to_hex(sha256(bytes)) + "\"");
      object.bytes += bytes;
    }
    if (wanted != sent) return refusal(400, "InvalidPart");
    objects[name] = std::move(object);
    uploads.erase(found);
    return {.body = "<CompleteMultipartUploadResult/>"};
  }

  http::Response of_bucket(const http::Request& r) {
    if (r.query.get("lifecycle")) {
      if (!has_lifecycle) return refusal(501, "NotImplemented");
      if (r.method == "PUT") lifecycle = r.body;
      if (lifecycle.empty()) return refusal(404, "NoSuchLifecycleConfiguration");
      return {.body = lifecycle};
    }
    std::string prefix(r.query.get("prefix").value_or("")), after(r.query.get("start-after").value_or("")), body;
    if (r.query.get("uploads")) {
      for (auto& [id, upload] : uploads)
        if (upload.name.starts_with(prefix))
          body += "<Upload><Key>" + upload.name + "</Key><UploadId>" + id + "</UploadId><Initiated>" + upload.initiated + "</Initiated></Upload>";
      return {.body = "<ListMultipartUploadsResult>" + body + "</ListMultipartUploadsResult>"};
    }
    auto limit = std::stoul(std::string(r.query.get("max-keys").value_or("1000")));
    bool truncated = false;
    for (auto& [name, object] : objects) {
      if (!name.starts_with(prefix) || name <= after) continue;
      if (limit-- == 0) {
        truncated = true;
        break;
      }
      body += "<Contents><Key>" + name + "</Key><Size>" + std::to_string(object.bytes.size()) + "</Size></Contents>";
    }
    return {.body = "<ListBucketResult><IsTruncated>" + std::string(truncated ? "true" : "false") + "</IsTruncated>" + body + "</ListBucketResult>"};
  }

  std::mutex mutex_;
  Fault fault_;
  int uploads_made_ = 0;
  http::Router router_;
  std::unique_ptr<TimerSource> timers_;
  std::optional<http::testing_support::TestServer> server_;
};

}  // namespace mayfly::s3
