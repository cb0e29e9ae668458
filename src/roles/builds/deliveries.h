#pragma once
// Webhooks on their way to builds. receive() makes one durable; the processor turns each into exactly one build, or into
// the sentence why there is none, however often it is tried and whatever dies in between.

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "async/scope.h"
#include "async/signal.h"
#include "ports/bus.h"
#include "ports/clock.h"
#include "ports/database.h"
#include "ports/forge.h"
#include "ports/secrets.h"
#include "roles/builds/builds.h"
#include "roles/common/projects.h"
#include "roles/common/rate_limits.h"

namespace mayfly {

inline constexpr std::int64_t max_open_deliveries = 100'000;    // past it receive() answers Errc::rate_limited
inline constexpr int max_delivery_tries = 10;                   // while the repository cannot be reached
inline constexpr std::size_t deliveries_at_once = 16;
inline constexpr Duration delivery_claim = std::chrono::seconds(20);    // then others may try, too
inline constexpr std::size_t max_untold_deliveries = 1000;              // past it the sweep finds them

/// A webhook as it arrived.
struct GithubDelivery {
  std::string event;             // X-GitHub-Event
  std::string delivery_id;       // X-GitHub-Delivery
  std::string signature;         // X-Hub-Signature-256
  std::string content_type;
  std::string body;
};

struct Receipt {
  DeliveryId delivery;
  bool known = false;            // it had been received before
};

class Deliveries final {
 public:
  /// `holder`: this process, in the claims it makes. What an earlier process of that name had claimed is taken up at once.
  Deliveries(Database& db, Builds& builds, Bus& bus, Forge& forge, Secrets& secrets, Clock& clock, Entropy& entropy, Loop loop, std::string holder)
      : db_(db), builds_(builds), bus_(bus), forge_(forge), secrets_(secrets), clock_(clock), entropy_(entropy), holder_(std::move(holder)),
        work_(std::move(loop)) {}

  /// Durable when it returns. Errc::unauthenticated: no or a wrong signature; Errc::invalid; Errc::not_found: no project
  /// has this repository; Errc::rate_limited.
  Task<Result<Receipt>> receive(GithubDelivery delivery);

  /// Called with how a build that has just been stored came to be.
  void on_built(std::function<void(const BuildOrigin&)> observer) { built_ = std::move(observer); }

  /// An organization over its rate has its webhooks processed later, one after another; none is refused or dropped. `limits` outlives this.
  void limit_by(RateLimits& limits) { limits_ = &limits; }

  /// Processes what has been received, here or elsewhere, until canceled. Any number of processes may: each claims what
  /// it works on for a while.
  Task<void> run();

  /// Tells processing processes elsewhere of what is received here, until canceled: for processes that do not run().
  Task<void> tell_others();

 private:
  struct Open {
    DeliveryId id;
    ProjectId project;
    std::string event;
    std::string body;
    int tries = 0;
    Time received_at{};
    Time not_before{};
  };
  enum class End { built, ignored, duplicate, failed };

  Task<Result<Project>> authenticate(const GithubDelivery& delivery, std::string payload);
  Task<Result<void>> check_backlog();
  Task<void> take_forever();
  Task<void> hear_others();
  Task<Result<void>> take_some();
  Task<Result<std::vector<Open>>> open_deliveries();
  Task<Result<std::vector<Open>>> claimed(std::vector<Open> open);
  void tell(DeliveryId id, ProjectId project);
  Task<void> process(Open delivery);
  Task<Result<void>> build(Open delivery);
  Task<Result<void>> close(DeliveryId id, End end, std::string detail);
  Task<Result<void>> defer(DeliveryId id, Duration wait);
  Task<Result<void>> put_off(const Open& delivery, const Error& error);

  Database& db_;
  Builds& builds_;
  Bus& bus_;
  Forge& forge_;
  Secrets& secrets_;
  Clock& clock_;
  Entropy& entropy_;
  std::string holder_;
  bool processing_ = false;
  std::vector<Message> untold_;
  Scope work_;
  Signal received_;
  std::set<DeliveryId> busy_;
  std::int64_t backlog_ = 0;
  Time counted_at_{};
  RateLimits* limits_ = nullptr;
  std::function<void(const BuildOrigin&)> built_ = [](const BuildOrigin&) {};
};

struct DeliveryRecord {
  DeliveryId id;
  ProjectId project;
  std::string provider, provider_id, event, status, detail;
  std::optional<BuildId> build;
  Time received_at{};
};

/// Newest first, before `before`; of one project if given.
Task<Result<std::vector<DeliveryRecord>>> list_deliveries(Database& db, std::optional<ProjectId> project, std::optional<DeliveryId> before, std::int64_t limit);
Task<Result<DeliveryRecord>> find_delivery(Database& db, DeliveryId id);

}  // namespace mayfly
