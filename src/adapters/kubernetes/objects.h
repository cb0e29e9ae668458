#pragma once
// Jobs and Pods as far as Mayfly looks at them, out of the API server's JSON: lists by pages, single objects, events of a watch. The server
// is a peer like any other: what is missing is empty, what is of another type is missing, and nothing is longer than its limit.

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace mayfly::kubernetes {

inline constexpr std::size_t max_containers = 64;       // of a pod; the rest is not looked at
inline constexpr std::size_t max_conditions = 32;
inline constexpr std::size_t max_text_bytes = 4096;     // of a message or a name
inline constexpr std::size_t max_labels = 64;

struct Condition {
  std::string type = {};
  bool is_true = false;
  std::string reason = {};
  std::string message = {};

  bool operator==(const Condition&) const = default;
};

/// How a container that runs no more ended.
struct Ended {
  int exit_code = 0;
  std::string reason = {};     // "OOMKilled", "Error", "Completed", "ContainerCannotRun", …
  std::string message = {};    // the termination message; its log's last lines where it has none and failed

  bool operator==(const Ended&) const = default;
};

struct Container {
  std::string name = {};
  bool running = false;
  bool started = false;                // its startup probe has succeeded, or it has none
  std::string waiting = {};            // "ImagePullBackOff", …: why it does not run yet
  std::string waiting_message = {};
  std::optional<Ended> ended = {};     // now
  std::optional<Ended> ended_before = {};   // and was started again
  std::string image = {};

  bool operator==(const Container&) const = default;
};

/// A Job or a Pod.
struct Object {
  std::string name = {};
  std::string uid = {};
  std::string resource_version = {};
  std::string owner_uid = {};          // of the controller it belongs to
  std::map<std::string, std::string> labels = {};
  std::optional<Time> deletion = {};   // when it should be gone, once somebody deleted it: its grace is over then
  std::vector<Condition> conditions = {};
  // A pod's:
  std::string phase = {};              // "Pending", "Running", "Succeeded", "Failed"
  std::string reason = {};             // "Evicted", …
  std::string message = {};
  std::string node = {};
  std::vector<Container> containers = {};   // init containers first

  const Condition* condition(std::string_view type) const;
  const Container* container(std::string_view name) const;
  std::string label(std::string_view name) const;
  bool operator==(const Object&) const = default;
};

struct Page {
  std::string resource_version = {};
  std::string next = {};               // for `continue`; empty: the last
  std::vector<Object> objects = {};
};

struct Event {
  enum class Kind { added, modified, deleted, bookmark, error };
  Kind kind = Kind::bookmark;
  Object object = {};                  // of a bookmark only its resource_version
  bool initial_end = false;            // a bookmark: all that was there at the beginning has been told
  int code = 0;                        // of an error: HTTP's, 410 when the version asked for is too old
  std::string message = {};
};

/// Errc::corrupt: not an object with a name and a uid.
Result<Object> read_object(std::string_view json);
Result<Page> read_page(std::string_view json);
/// One line of a watch. Errc::corrupt.
Result<Event> read_event(std::string_view json);

/// The newest message among an EventList's events of this reason; empty: none.
std::string newest_message(std::string_view json, std::string_view reason);

}  // namespace mayfly::kubernetes
