#include "adapters/kubernetes/informer.h"

#include "adapters/kubernetes/event_stream.h"
#include "base/log.h"

namespace mayfly::kubernetes {
namespace {

constexpr Duration too_short = std::chrono::seconds(1);   // a watch that brought nothing and ended sooner counts as a failure

std::unexpected<Error> too_many() {
  return fail(Errc::too_large, "more than " + std::to_string(max_objects) + " objects carry the labels of one pool", "give each pool a name of its own");
}

}  // namespace

Informer::Informer(Api& api, Clock& clock, InformerOptions options, Change change)
    : api_(api), clock_(clock), options_(std::move(options)), change_(std::move(change)) {}

Task<void> Informer::run() {
  for (int failures = 0;;) {
    auto began = clock_.now();
    auto looked = co_await look();
    if (!looked && looked.error().code == Errc::not_found) {   // 410
      ++counts_.expired;
      version_.clear();
    } else if (!looked && looked.error().code == Errc::corrupt) {
      version_.clear();
    }
    bool well = looked && clock_.now() - began >= too_short;
    if (well) failures = 0;
    if (!looked && looked.error().code != Errc::not_found) log_warn("a look at the cluster failed", {{"path", options_.path}, {"error", looked.error().message}});
    if (!well) co_await sleep_for(clock_, api_.pause_after(failures++));
  }
}

Task<bool> Informer::synced(Time until) {
  while (!synced_)
    if (!co_await first_.wait(clock_, until)) co_return false;
  co_return true;
}

Task<Result<void>> Informer::look() {
  if (!version_.empty() && clock_.now() < relist_at_) co_return co_await watch();
  if (synced_ || !streams_) {
    CO_TRY(co_await list());
    co_return co_await watch();
  }
  auto streamed = co_await stream();
  if (!streamed && !synced_) streams_ = false;   // whatever it was, pages are the older way
  co_return streamed;
}

Call Informer::call(http::Query query) const {
  query.add("labelSelector", options_.selector);
  return {.path = options_.path, .query = std::move(query), .max_answer = max_page_bytes};
}

Task<Result<void>> Informer::list() {
  ++counts_.lists;
  auto began = clock_.now();
  std::map<std::string, Object> all;
  std::string version;
  for (std::string next;;) {
    http::Query query;
    query.add("limit", std::to_string(options_.page));
    if (!next.empty()) query.add("continue", next);
    CO_TRY_ASSIGN(auto answer, co_await api_.send(call(std::move(query))));
    if (answer.status == 410) co_return fail(Errc::not_found, "the list took longer than the server keeps its version");
    if (!answer.ok()) co_return std::unexpected(error_of(read_refusal(answer), "Kubernetes: GET " + options_.path));
    CO_TRY_ASSIGN(auto page, read_page(answer.body));
    version = page.resource_version;
    for (auto& object : page.objects) all.insert_or_assign(object.name, std::move(object));
    if (all.size() > max_objects) co_return too_many();
    if (page.next.empty()) break;
    next = std::move(page.next);
  }
  version_ = std::move(version);
  replace(std::move(all), began);
  co_return Result<void>{};
}

/// The initial state as events, and the watch that goes on behind it. (Kubernetes, "Streaming lists".)
Task<Result<void>> Informer::stream() {
  http::Query query;
  query.add("watch", "1");
  query.add("sendInitialEvents", "true");
  query.add("resourceVersionMatch", "NotOlderThan");
  query.add("allowWatchBookmarks", "true");
  query.add("timeoutSeconds", std::to_string(std::chrono::ceil<std::chrono::seconds>(options_.watch_for).count()));
  auto began = clock_.now();
  CO_TRY_ASSIGN(auto opened, co_await api_.open(call(std::move(query))));
  EventStream events(std::move(opened));
  std::map<std::string, Object> all;
  auto patience = began + options_.initial_patience;
  for (;;) {
    auto event = co_await events.next(patience);
    bool ignored = (!event && event.error().code == Errc::timeout) || (event && !*event);
    if (ignored) {
      streams_ = false;
      co_return co_await list();
    }
    if (!event) co_return std::unexpected(event.error());
    auto& one = **event;
    if (one.kind == Event::Kind::error) co_return apply(std::move(one));
    if (one.kind == Event::Kind::deleted) all.erase(one.object.name);
    if (one.kind == Event::Kind::added || one.kind == Event::Kind::modified) all.insert_or_assign(one.object.name, std::move(one.object));
    if (all.size() > max_objects) co_return too_many();
    if (!one.initial_end) continue;
    ++counts_.streams;
    version_ = one.object.resource_version;
    replace(std::move(all), began);
    co_return co_await follow(events);
  }
}

Task<Result<void>> Informer::watch() {
  ++counts_.watches;
  auto whole_seconds = std::chrono::ceil<std::chrono::seconds>(std::min(options_.watch_for, std::max<Duration>(too_short, relist_at_ - clock_.now())));
  http::Query query;
  query.add("watch", "1");
  query.add("resourceVersion", version_);
  query.add("allowWatchBookmarks", "true");
  query.add("timeoutSeconds", std::to_string(whole_seconds.count()));
  CO_TRY_ASSIGN(auto opened, co_await api_.open(call(std::move(query))));
  EventStream events(std::move(opened));
  co_return co_await follow(events);
}

Task<Result<void>> Informer::follow(EventStream& events) {
  for (;;) {
    auto deadline = std::min(clock_.now() + options_.quiet, relist_at_);
    auto event = co_await events.next(deadline);
    if (!event && event.error().code == Errc::timeout) co_return Result<void>{};   // asked again, from where we are
    if (!event) co_return std::unexpected(event.error());
    if (!*event) co_return Result<void>{};
    CO_TRY(apply(**std::move(event)));
  }
}

Result<void> Informer::apply(Event event) {
  if (event.kind == Event::Kind::error) {
    if (event.code == 410) return fail(Errc::not_found, event.message);
    return fail(Errc::unavailable, "the watch was ended: " + std::to_string(event.code) + " " + event.message);
  }
  version_ = event.object.resource_version;
  if (event.kind == Event::Kind::deleted) drop(event.object.name);
  if (event.kind == Event::Kind::added || event.kind == Event::Kind::modified) {
    if (objects_.size() >= max_objects && !objects_.contains(event.object.name)) return too_many();
    put(std::move(event.object));
  }
  return {};
}

void Informer::put(Object object) {
  ahead_.erase(object.name);
  auto [at, is_new] = objects_.try_emplace(object.name);
  auto before = std::exchange(at->second, std::move(object));
  if (is_new || before != at->second) change_(is_new ? nullptr : &before, &at->second);
}

void Informer::drop(const std::string& name) {
  ahead_.erase(name);
  auto node = objects_.extract(name);
  if (node) change_(&node.mapped(), nullptr);
}

void Informer::replace(std::map<std::string, Object> all, Time began) {
  std::vector<std::string> gone;
  for (auto& [name, object] : objects_) {
    auto written = ahead_.find(name);   // maybe after the server looked
    if (!all.contains(name) && (written == ahead_.end() || written->second < began)) gone.push_back(name);
  }
  for (auto& name : gone) drop(name);
  for (auto& [name, object] : all) put(std::move(object));
  relist_at_ = clock_.now() + options_.relist_after;
  if (!std::exchange(synced_, true)) first_.notify();
}

void Informer::saw(Object object) {
  if (objects_.contains(object.name)) return;
  auto name = object.name;
  put(std::move(object));
  ahead_.emplace(std::move(name), clock_.now());
}

}  // namespace mayfly::kubernetes
