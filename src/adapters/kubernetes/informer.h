#pragma once
// What one collection of the API server holds, kept in memory and followed: a list once, then a watch from its version on. Every way in
// which a watch ends (its time, an EOF, a version that is too old, nonsense) leads back to another look, and every few minutes a whole list
// is taken whatever the watch said.

#include <functional>
#include <map>
#include <string>

#include "adapters/kubernetes/api.h"
#include "adapters/kubernetes/objects.h"
#include "async/signal.h"

namespace mayfly::kubernetes {

inline constexpr std::size_t max_objects = 20'000;          // of one collection
inline constexpr std::size_t max_page_bytes = 32 << 20;

struct InformerOptions {
  std::string path = {};          // "/apis/batch/v1/namespaces/ci/jobs"
  std::string selector = {};      // of labels
  int page = 200;                 // objects
  Duration watch_for = std::chrono::seconds(290);         // the server ends it then
  Duration quiet = std::chrono::seconds(100);             // no event, not even a bookmark: it is asked again
  Duration initial_patience = std::chrono::seconds(10);   // for a server to stream what there is, before it is listed by pages
  Duration relist_after = std::chrono::minutes(5);
};

class Informer final {
 public:
  /// Called on the loop for every difference; before or after is null for what was not there before or is no more.
  using Change = std::function<void(const Object* before, const Object* after)>;

  Informer(Api& api, Clock& clock, InformerOptions options, Change change);

  /// Until canceled.
  Task<void> run();

  /// True once all that there is has been seen, at once when it has; false when `until` passed first.
  Task<bool> synced(Time until);
  /// By name.
  const std::map<std::string, Object>& objects() const { return objects_; }
  /// What a write was answered with, ahead of the watch.
  void saw(Object object);

  struct Counts {
    int lists = 0, watches = 0, expired = 0, streams = 0;   // streams: initial states that came by a watch
  };
  const Counts& counts() const { return counts_; }

 private:
  Task<Result<void>> look();
  Task<Result<void>> list();
  Task<Result<void>> stream();
  Task<Result<void>> watch();
  Task<Result<void>> follow(class EventStream& events);
  Result<void> apply(Event event);
  void put(Object object);
  void drop(const std::string& name);
  void replace(std::map<std::string, Object> all, Time began);
  Call call(http::Query query) const;

  Api& api_;
  Clock& clock_;
  const InformerOptions options_;
  Change change_;
  std::map<std::string, Object> objects_;
  std::map<std::string, Time> ahead_;   // names of what saw() brought and no look has shown yet
  std::string version_;            // to watch from; empty: all has to be looked at
  bool streams_ = true;            // the server has answered sendInitialEvents, or was not asked yet
  bool synced_ = false;
  Signal first_;
  Time relist_at_{};
  Counts counts_;
};

}  // namespace mayfly::kubernetes
