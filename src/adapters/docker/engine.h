#pragma once
// A Docker engine through its API socket: the calls an executor and its runners make, each with a limit in time and bytes.
// Names and ids are the engine's to check; its answers are not trusted to be what the API says.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "adapters/docker/container.h"
#include "adapters/docker/image_name.h"
#include "async/task.h"
#include "base/result.h"
#include "base/time.h"
#include "net/client.h"

namespace mayfly::docker {

inline constexpr const char* default_socket = "unix:///var/run/docker.sock";
inline constexpr Duration call_limit = std::chrono::seconds(30);
inline constexpr Duration start_limit = std::chrono::minutes(2);        // of create and start: a loaded engine takes its time
inline constexpr Duration pull_limit = std::chrono::minutes(15);        // one try
inline constexpr Duration pull_silence_limit = std::chrono::minutes(2); // without a word from the engine
inline constexpr std::size_t max_line_bytes = 1 << 20;                   // of a streamed answer
inline constexpr int oldest_api = 41, newest_api = 47;                   // 1.x: what is asked for is in all of these

struct EngineFacts {
  std::string version;
  std::string storage_driver;
  std::vector<std::string> runtimes;
  bool user_namespaces = false;    // ids in containers are others outside
  bool rootless = false;
};

struct Image {
  std::string id;
  std::vector<std::string> env;
};

struct Event {
  std::string action;              // "die", "oom", "destroy", …
  std::string container;           // its id
  Labels labels;
};

/// "unix:///run/docker.sock", "unix:/run/docker.sock" or "/run/docker.sock" → the path. Errc::invalid for anything else.
Result<std::string> socket_path(std::string_view text);

/// Every call fails with Errc::unavailable when the engine does not answer, Errc::timeout when it takes too long, and with what it
/// says otherwise: Errc::not_found, Errc::conflict, Errc::invalid, Errc::corrupt.
class Engine final {
 public:
  /// `socket` is a path.
  Engine(Loop loop, std::string socket);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const std::string& socket() const { return socket_; }

  /// Errc::unsupported: an engine too old or too new for us.
  Task<Result<EngineFacts>> facts();

  Task<Result<Image>> image(std::string name);
  /// One try. `said` gets every line of the engine's; an error of it ends the pull.
  Task<Result<void>> pull(ImageName name, std::function<Result<void>(std::string_view line)> said);

  /// The new container's id. Errc::conflict: one of that name exists. Errc::not_found: no such image.
  Task<Result<std::string>> create(ContainerSpec spec);
  Task<Result<void>> start(std::string container);
  Task<Result<void>> kill(std::string container);
  /// With its anonymous volumes, running or not. Absent is success.
  Task<Result<void>> remove(std::string container);
  Task<Result<Container>> inspect(std::string container);
  /// All with the label ("name=value"), running or not.
  Task<Result<std::vector<ListedContainer>>> list(std::vector<std::string> labels);
  /// Its standard streams, framed (frames.h); input ends when the tunnel does.
  Task<Result<std::unique_ptr<http::Tunnel>>> attach(std::string container);
  /// The last lines it said; only where it keeps a log.
  Task<Result<std::string>> tail(std::string container, int lines);

  /// A bridge whose containers do not see each other, named `interface` on the engine's machine. There already is success.
  Task<Result<void>> ensure_network(std::string name, std::string interface, Labels labels);

  /// Hands on events of containers with the label until the engine goes (its error) or the caller is canceled. `following` is called
  /// once nothing can be missed any more.
  Task<Result<void>> follow(std::string label, std::function<void()> following, std::function<void(Event)> take);

 private:
  struct Call;
  Task<Result<http::ClientResponse>> send(Call call);
  Task<Result<void>> negotiate();
  std::string url(const std::string& target) const;
  Task<Result<void>> read_lines(http::ClientStream& stream, Duration silence, std::function<Result<void>(std::string_view)> take);

  const std::string socket_;
  http::Client client_;
  std::string version_;            // "/v1.41"; empty: not asked yet
};

}  // namespace mayfly::docker
