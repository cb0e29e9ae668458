#include "runner/sandbox/registry.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <optional>

#include "adapters/sandbox/tools.h"
#include "adapters/sandbox/unique_fd.h"
#include "base/digest.h"
#include "base/text.h"
#include "runner/sandbox/confined.h"
#include "runner/sandbox/uids.h"

namespace mayfly {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::string_view digest_prefix = "sha256:";
constexpr std::chrono::seconds progress_interval(10);
constexpr std::size_t max_said_bytes = 300;

bool all_of(std::string_view text, std::string_view more) {
  return std::ranges::all_of(text, [&](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || more.contains(c); });
}

bool is_digest(std::string_view text) { return text.size() == 71 && text.starts_with(digest_prefix) && text.find_first_not_of("0123456789abcdef", 7) == text.npos; }

bool is_repository(std::string_view text) {
  if (text.empty() || text.size() > 255 || !all_of(text, "._-/")) return false;
  return !text.contains("//") && !text.contains("..") && !text.starts_with('/') && !text.ends_with('/') && !text.starts_with('-') && !text.starts_with('.');
}

bool is_host(std::string_view text) {
  std::string lower(text);
  for (auto& c : lower) c = char(std::tolower(static_cast<unsigned char>(c)));
  auto port = text.starts_with('[') ? text.find("]:") : text.find(':');
  bool numbered = port == text.npos || text.substr(text.find(':', port) + 1).find_first_not_of("0123456789") == text.npos;
  return !text.empty() && text.size() <= 255 && all_of(lower, ".-:[]") && text[0] != '-' && text[0] != '.' && numbered;
}

std::string_view without_scheme(std::string_view url) {
  for (std::string_view scheme : {"http://", "https://"})
    if (url.starts_with(scheme)) url.remove_prefix(scheme.size());
  while (url.ends_with('/')) url.remove_suffix(1);
  return url;
}

std::string in_quotes(std::string_view text) {
  std::string out = "\"";
  for (char c : text)
    if (c >= ' ' && c != '"' && c != '\\') out += c;
  return out + '"';
}

std::string name_of(const RegistryImage& image) { return image.host + "/" + image.repository + (image.tag.empty() ? "" : ":" + image.tag) + (image.digest.empty() ? "" : "@" + image.digest); }

std::string megabytes(std::int64_t bytes) { return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB"; }

std::string seconds_since(Clock::time_point then) { return format_duration(std::chrono::duration_cast<Duration>(Clock::now() - then)); }

std::int64_t bytes_below(const std::string& directory) {
  std::int64_t sum = 0;
  std::error_code ec;
  for (fs::recursive_directory_iterator at(directory, ec), end; !ec && at != end; at.increment(ec))
    if (at->is_regular_file(ec)) sum += std::int64_t(at->file_size(ec));
  return sum;
}

/// Returns early, false, when stopped.
bool rest(Duration time, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock locked(mutex);
  return !wake.wait_for(locked, stop, time, [] { return false; }) && !stop.stop_requested();
}

/// In memory, so that credentials are in no argument, no environment and no file that others could open.
Result<UniqueFd> credentials(const std::string& path) {
  if (path.empty()) return UniqueFd();
  UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC)), memory(memfd_create("registry-auth", MFD_CLOEXEC));
  if (!file) return fail(Errc::forbidden, "image: the pool's registry_auth cannot be read: " + path + ": " + std::strerror(errno));
  auto text = read_whole(path, max_registry_auth_bytes);
  if (!memory || write(memory.get(), text.data(), text.size()) != ssize_t(text.size())) return fail(Errc::unavailable, "image: no memory for credentials");
  return memory;
}

class Puller final {
 public:
  Puller(const RegistryImage& image, const Pull& pull) : image_(image), pull_(pull), name_(name_of(image)) {}

  Result<Image> run() {
    if (!may_ask(image_.host, pull_.options))
      return fail(Errc::forbidden, "image: this pool does not ask the registry " + image_.host, "the operator can add it to the pool's registries");
    TRY_ASSIGN(auth_, credentials(pull_.options.auth_file));
    TRY_ASSIGN(auto digest, digest_now());
    auto key = digest.substr(digest_prefix.size());
    if (auto here = pull_.store.find(key)) {
      say("image " + name_ + (image_.digest.empty() ? " is " + digest : "") + ", which is here");
      return here;
    }
    return pull_.store.get(key, [&](const std::string& layout) { return fetch(digest, layout); });
  }

 private:
  // ---- the digest of a tag

  std::string memory_file() const { return pull_.directory + "/tag-" + to_hex(sha256(name_)); }

  /// What the tag was seen to mean, and how long ago.
  std::optional<std::pair<std::string, Duration>> remembered() const {
    auto digest = read_whole(memory_file(), 100);
    struct stat st;
    if (!is_digest(digest) || stat(memory_file().c_str(), &st) != 0) return std::nullopt;
    auto age = std::chrono::system_clock::now() - std::chrono::system_clock::from_time_t(st.st_mtim.tv_sec);
    return std::pair(digest, std::chrono::duration_cast<Duration>(age));
  }

  void remember(const std::string& digest) const {
    auto partial = memory_file() + "." + unique_suffix();
    std::ofstream(partial) << digest;
    std::error_code ec;
    fs::rename(partial, memory_file(), ec);
  }

  Result<std::string> digest_now() {
    if (!image_.digest.empty()) return image_.digest;
    auto before = remembered();
    if (before && before->second < tag_memory && before->second >= Duration::zero()) return before->first;
    auto asked = ask_digest();
    if (asked) {
      remember(*asked);
      return asked;
    }
    bool away = asked.error().code == Errc::unavailable || asked.error().code == Errc::rate_limited;
    if (!away || !before || !pull_.store.find(before->first.substr(digest_prefix.size()))) return asked;
    say(asked.error().message + "; what " + name_ + " was " + format_duration(before->second) + " ago is used");
    return before->first;
  }

  Result<std::string> ask_digest() {
    auto place = pull_.directory + "/asking-" + unique_suffix();
    std::error_code ec;
    if (mkdir(place.c_str(), 0700) != 0) return fail(Errc::unavailable, "image: cannot make " + place + ": " + std::strerror(errno));
    auto answer = patiently([&] { return skopeo({"inspect", "--no-tags", "--format", "{{.Digest}}", "docker://" + name_}, place, {}); });
    fs::remove_all(place, ec);
    if (!answer) return answer;
    auto digest = answer->substr(answer->rfind('\n') == answer->npos ? 0 : answer->rfind('\n') + 1);
    if (!is_digest(digest)) return fail(Errc::unavailable, "image: the registry " + image_.host + " names no digest for " + name_);
    return digest;
  }

  // ---- its bytes

  Result<void> fetch(const std::string& digest, const std::string& layout) {
    auto began = Clock::now();
    say("pulling " + name_ + (image_.digest.empty() ? " (" + digest + ")" : ""));
    auto place = fs::path(layout).parent_path().string();
    auto source = "docker://" + image_.host + "/" + image_.repository + "@" + digest;
    auto next = Clock::now() + progress_interval;
    auto look = [&]() -> Result<void> {
      auto bytes = bytes_below(layout);
      if (bytes > max_fetched_bytes) return fail(Errc::too_large, "image: " + name_ + " is larger than " + megabytes(max_fetched_bytes), "use a smaller image");
      if (Clock::now() < next) return {};
      next += progress_interval;
      say("pulling " + name_ + ": " + megabytes(bytes) + " so far");
      return {};
    };
    TRY(patiently([&] { return skopeo({"copy", "--quiet", source, "oci:layout:image"}, place, look); }));
    say("pulled " + megabytes(bytes_below(layout)) + " in " + seconds_since(began) + "; unpacking");
    return {};
  }

  // ---- skopeo

  Result<std::string> skopeo(std::vector<std::string> words, const std::string& place, std::function<Result<void>()> look) {
    std::ofstream(place + "/registries.conf") << registries_conf(pull_.options);
    std::vector<std::string> command = {"skopeo", "--insecure-policy", "--registries-conf", "registries.conf", "--tmpdir", ".", words[0]};
    if (auth_) command.insert(command.end(), {"--authfile", "/proc/self/fd/3"});
    command.insert(command.end(), words.begin() + 1, words.end());
    if (find_program("skopeo").empty()) return fail(Errc::unsupported, "image: skopeo is not installed on the pool's machine", "run scripts/install-deps");
    for (auto& path : {place, place + "/registries.conf"})
      if (geteuid() == 0 && lchown(path.c_str(), image_uid, image_uid) != 0) return fail(Errc::unavailable, "image: cannot give " + path + " to its uid");
    auto ran = run_tool(confined(place, true, command), {.environment = {"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/nonexistent"}, .stop = pull_.stop, .look = std::move(look), .descriptor = auth_.get()});
    if (ran || ran.error().code != Errc::unavailable) return ran;
    return std::unexpected(registry_error(name_, ran.error().message));
  }

  template <class F>
  Result<std::string> patiently(F attempt) {
    auto pause = pull_.pause;
    for (int i = 1;; ++i, pause *= 2) {
      auto done = attempt();
      bool may_pass = !done && (done.error().code == Errc::unavailable || done.error().code == Errc::rate_limited);
      if (!may_pass || i == registry_tries) return done;
      say(done.error().message + "; asked again in " + format_duration(pause));
      if (!rest(pause, pull_.stop)) return fail(Errc::canceled, "image: stopped");
    }
  }

  void say(std::string line) const {
    if (pull_.say) pull_.say(std::move(line));
  }

  const RegistryImage& image_;
  const Pull& pull_;
  std::string name_;
  UniqueFd auth_;
};

}  // namespace

Result<RegistryImage> parse_registry_image(std::string_view text) {
  auto wrong = [&] { return fail(Errc::invalid, "image: '" + clean_text(std::string(text.substr(0, 100))) + "' is no name of an image", "write NAME:TAG, HOST/NAME:TAG or HOST/NAME@sha256:…"); };
  RegistryImage image;
  auto rest = text;
  if (auto at = rest.find('@'); at != rest.npos) {
    image.digest = rest.substr(at + 1);
    rest = rest.substr(0, at);
    if (!is_digest(image.digest)) return wrong();
  }
  auto slash = rest.find('/');
  auto first = rest.substr(0, slash);
  bool has_host = slash != rest.npos && (first.contains('.') || first.contains(':') || first == "localhost");
  image.host = has_host ? std::string(first) : "docker.io";
  if (has_host) rest.remove_prefix(slash + 1);
  if (auto colon = rest.find(':'); colon != rest.npos) {
    image.tag = rest.substr(colon + 1);
    rest = rest.substr(0, colon);
    bool sound = !image.tag.empty() && image.tag.size() <= 128 && image.tag[0] != '.' && image.tag[0] != '-' &&
                 std::ranges::all_of(image.tag, [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '.' || c == '-'; });
    if (!sound) return wrong();
  }
  if (image.host == "index.docker.io") image.host = "docker.io";
  image.repository = image.host == "docker.io" && !rest.contains('/') ? "library/" + std::string(rest) : std::string(rest);
  if (!is_host(image.host) || !is_repository(image.repository) || rest.empty()) return wrong();
  if (!image.digest.empty()) image.tag.clear();
  else if (image.tag.empty()) image.tag = "latest";
  return image;
}

bool may_ask(const std::string& host, const RegistryOptions& options) {
  if (std::ranges::any_of(options.registries, [&](auto& known) { return without_scheme(known) == host; })) return true;
  auto name = host.substr(0, host.find(':'));
  auto top = name.substr(name.rfind('.') == name.npos ? 0 : name.rfind('.') + 1);
  bool of_this_machine = top == "localhost" || top == "local" || top == "internal" || !name.contains('.') || name.ends_with('.');
  bool address = host.starts_with('[') || (!top.empty() && top[0] >= '0' && top[0] <= '9');   // 127.1 and 0x7f.1 are addresses too
  return !of_this_machine && !address;
}

std::string registries_conf(const RegistryOptions& options) {
  std::string out = "unqualified-search-registries = []\n";
  for (auto& [host, mirror] : options.mirrors) {
    out += "[[registry]]\nlocation = " + in_quotes(host) + "\n";
    bool plain = std::ranges::find(options.registries, "http://" + host) != options.registries.end();
    if (plain) out += "insecure = true\n";
    out += "[[registry.mirror]]\nlocation = " + in_quotes(without_scheme(mirror)) + "\n";
    if (mirror.starts_with("http://")) out += "insecure = true\n";
  }
  for (auto& known : options.registries)
    if (known.starts_with("http://") && !options.mirrors.contains(std::string(without_scheme(known)))) out += "[[registry]]\nlocation = " + in_quotes(without_scheme(known)) + "\ninsecure = true\n";
  return out;
}

Error registry_error(const std::string& image, const std::string& text) {
  // Of a mirror that has not what its registry has, only the registry's word counts.
  auto said = clean_text(text);
  if (auto mirrors = said.find("(Mirrors also failed:"); mirrors != said.npos)
    if (auto end = said.find("]): ", mirrors); end != said.npos) said = said.substr(end + 4);
  std::string lower = said;
  for (auto& c : lower) c = char(std::tolower(static_cast<unsigned char>(c)));
  auto has = [&](auto... words) { return (lower.contains(words) || ...); };
  auto last = said.substr(said.rfind('\n') == said.npos ? 0 : said.rfind('\n') + 1);
  if (auto message = last.find("msg="); message != last.npos) last = last.substr(message + 4);
  last.resize(std::min(last.size(), max_said_bytes));
  if (has("no space left")) return {Errc::unavailable, "image: the disk of the pool's machine is full", "make room on it"};
  if (has("toomanyrequests", "too many requests", "rate limit")) return {Errc::rate_limited, "image: the registry takes no more requests for " + image + " now", "give the pool a mirror (registry_mirrors) or credentials (registry_auth)"};
  if (has("manifest unknown", "name unknown", "not found", "no image found in manifest list", "repository name not known")) return {Errc::not_found, "image: there is no " + image, "check its name and tag"};
  if (has("unauthorized", "authentication required", "access to the resource is denied", "denied: ", "403 forbidden")) return {Errc::forbidden, "image: no access to " + image + ", or there is no such image", "check its name, or give the pool credentials (registry_auth)"};
  return {Errc::unavailable, "image: the registry of " + image + " does not answer: " + clean_text(last), ""};
}

Result<Image> pull_image(const RegistryImage& image, const Pull& pull) {
  std::error_code ec;
  fs::create_directories(pull.directory, ec);
  return Puller(image, pull).run();
}

}  // namespace mayfly
