#include "roles/scheduler/wait_reasons.h"

#include "base/digest.h"
#include "base/json.h"

namespace mayfly {
namespace {

constexpr std::string_view questions = "why";
constexpr Duration patience = std::chrono::milliseconds(200);
constexpr Duration silence = std::chrono::seconds(2);         // after a question that was not answered
constexpr Duration listen = std::chrono::minutes(1);

std::string answer_to(const json::value& question, const std::function<std::string(JobId)>& why) {
  json::object reasons;
  auto* jobs = find(question, "jobs");
  if (jobs && jobs->is_array())
    for (auto& item : jobs->get_array()) {
      if (!item.is_string()) continue;
      auto job = JobId::parse(std::string_view(item.get_string()));
      auto sentence = job ? why(*job) : std::string{};
      if (!sentence.empty()) reasons[job->str()] = sentence;
    }
  return json::serialize(json::object{{"id", find_int(question, "id").value_or(0)}, {"why", std::move(reasons)}});
}

WhyWaits reasons_in(const json::value& answer) {
  WhyWaits out;
  auto* reasons = find(answer, "why");
  if (reasons && reasons->is_object())
    for (auto& [key, value] : reasons->get_object())
      if (auto job = JobId::parse(std::string_view(key)); job && value.is_string()) out[*job] = std::string_view(value.get_string());
  return out;
}

}  // namespace

WaitReasons::WaitReasons(Cache& cache, Clock& clock, Entropy& entropy) : cache_(cache), clock_(clock) {
  std::array<std::uint8_t, 8> random;
  entropy.fill(random);
  channel_ = "why:" + to_hex(random);
}

Task<WhyWaits> WaitReasons::of(std::vector<JobId> jobs) {
  if (jobs.empty() || clock_.now() < silent_until_) co_return WhyWaits{};
  if (jobs.size() > max_reasons_at_once) jobs.resize(max_reasons_at_once);
  json::array ids;
  for (auto& job : jobs) ids.push_back(json::string(job.str()));
  auto number = ++asked_;
  auto question = open_[number] = std::make_shared<Question>();
  auto text = json::serialize(json::object{{"id", number}, {"reply", channel_}, {"jobs", std::move(ids)}});
  (void)co_await cache_.publish(questions, text);
  bool answered = co_await question->answered.wait(clock_, clock_.now() + patience);
  open_.erase(number);
  if (!answered) silent_until_ = clock_.now() + silence;
  co_return std::move(question->reasons);
}

Task<void> WaitReasons::run() {
  auto answers = cache_.subscribe(channel_);
  for (;;) {
    auto text = co_await answers->next(clock_.now() + listen);
    if (!text) continue;
    auto body = parse_json(*text);
    if (!body) continue;
    auto at = open_.find(find_int(*body, "id").value_or(0));
    if (at == open_.end()) continue;
    at->second->reasons = reasons_in(*body);
    at->second->answered.notify();
  }
}

Task<void> answer_wait_reasons(Cache& cache, Clock& clock, std::function<std::string(JobId)> why) {
  auto asked = cache.subscribe(questions);
  for (;;) {
    auto text = co_await asked->next(clock.now() + listen);
    if (!text) continue;
    auto question = parse_json(*text);
    if (!question) continue;
    auto reply = find_string(*question, "reply").value_or("");
    if (reply.starts_with("why:")) (void)co_await cache.publish(reply, answer_to(*question, why));
  }
}

}  // namespace mayfly
