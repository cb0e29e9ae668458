#include "roles/scheduler/wait_reasons.h"

#include "base/digest.h"
#include "base/json.h"

namespace mayfly {
namespace {

constexpr std::string_view questions = "why";
constexpr Duration patience = std::chrono::milliseconds(200);
constexpr Duration silence = std::chrono::seconds(2);         // after a question that was not answered
constexpr Duration listen = std::chrono::minutes(1);

json::object reasons_for(const json::value& jobs, const std::function<std::string(JobId)>& why) {
  json::object reasons;
  for (auto& item : jobs.get_array()) {
    if (!item.is_string()) continue;
    auto job = JobId::parse(std::string_view(item.get_string()));
    auto sentence = job ? why(*job) : std::string{};
    if (!sentence.empty()) reasons[job->str()] = sentence;
  }
  return reasons;
}

json::object numbers_json(const PoolsNumbers& pools) {
  json::object out;
  for (auto& [name, pool] : pools)
    out[name] = {{"cpu_milli", pool.used.cpu_milli}, {"memory_bytes", pool.used.memory_bytes}, {"slots", pool.used.slots},
                 {"waiting", pool.waiting}, {"longest_us", pool.longest.count()}};
  return out;
}

std::string answer_to(const json::value& question, const std::function<std::string(JobId)>& why, const std::function<PoolsNumbers()>& pools) {
  json::object answer{{"id", find_int(question, "id").value_or(0)}};
  if (auto* jobs = find(question, "jobs"); jobs && jobs->is_array()) answer["why"] = reasons_for(*jobs, why);
  if (find_bool(question, "pools").value_or(false)) answer["pools"] = numbers_json(pools());
  return json::serialize(answer);
}

WhyWaits reasons_in(const json::value& answer) {
  WhyWaits out;
  auto* reasons = find(answer, "why");
  if (reasons && reasons->is_object())
    for (auto& [key, value] : reasons->get_object())
      if (auto job = JobId::parse(std::string_view(key)); job && value.is_string()) out[*job] = std::string_view(value.get_string());
  return out;
}

std::optional<PoolsNumbers> numbers_in(const json::value& answer) {
  auto* pools = find(answer, "pools");
  if (!pools || !pools->is_object()) return std::nullopt;
  PoolsNumbers out;
  for (auto& [key, value] : pools->get_object()) {
    auto number = [&](std::string_view name) { return find_int(value, name).value_or(0); };
    out[std::string(key)] = {.used = {number("cpu_milli"), number("memory_bytes"), number("slots")}, .waiting = number("waiting"),
                             .longest = Duration(number("longest_us"))};
  }
  return out;
}

}  // namespace

WaitReasons::WaitReasons(Cache& cache, Clock& clock, Entropy& entropy) : cache_(cache), clock_(clock) {
  std::array<std::uint8_t, 8> random;
  entropy.fill(random);
  channel_ = "why:" + to_hex(random);
}

/// The answer to a question with these fields (`"jobs":[…]`); empty when there is none.
Task<std::string> WaitReasons::ask(std::string fields) {
  if (clock_.now() < silent_until_) co_return std::string();
  auto number = ++asked_;
  auto question = open_[number] = std::make_shared<Question>();
  (void)co_await cache_.publish(questions, R"({"id":)" + std::to_string(number) + R"(,"reply":")" + channel_ + R"(",)" + fields + "}");
  bool answered = co_await question->answered.wait(clock_, clock_.now() + patience);
  open_.erase(number);
  if (!answered) silent_until_ = clock_.now() + silence;
  co_return std::move(question->answer);
}

Task<WhyWaits> WaitReasons::of(std::vector<JobId> jobs) {
  if (jobs.empty()) co_return WhyWaits{};
  if (jobs.size() > max_reasons_at_once) jobs.resize(max_reasons_at_once);
  json::array ids;
  for (auto& job : jobs) ids.push_back(json::string(job.str()));
  auto answer = parse_json(co_await ask(R"("jobs":)" + json::serialize(ids)));
  co_return answer ? reasons_in(*answer) : WhyWaits{};
}

Task<std::optional<PoolsNumbers>> WaitReasons::pools() {
  auto answer = parse_json(co_await ask(R"("pools":true)"));
  co_return answer ? numbers_in(*answer) : std::nullopt;
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
    at->second->answer = std::move(*text);
    at->second->answered.notify();
  }
}

Task<void> answer_wait_reasons(Cache& cache, Clock& clock, std::function<std::string(JobId)> why, std::function<PoolsNumbers()> pools) {
  auto asked = cache.subscribe(questions);
  for (;;) {
    auto text = co_await asked->next(clock.now() + listen);
    if (!text) continue;
    auto question = parse_json(*text);
    if (!question) continue;
    auto reply = find_string(*question, "reply").value_or("");
    if (reply.starts_with("why:")) (void)co_await cache.publish(reply, answer_to(*question, why, pools));
  }
}

}  // namespace mayfly
