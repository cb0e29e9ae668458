#include "roles/builds/job_event.h"

#include "base/json.h"

namespace mayfly {
namespace {

struct Parts {
  std::string image;
  json::array commands;
  json::object env;
};

json::object whole(BuildId build, JobId job, Parts parts) {
  return {{"build_id", build.str()}, {"job_id", job.str()}, {"image", std::move(parts.image)},
          {"commands", std::move(parts.commands)}, {"env_vars", std::move(parts.env)}};
}

json::object left_out(std::size_t commands, std::size_t variables, std::size_t images) {
  return {{"commands", commands}, {"env_vars", variables}, {"image", images}};
}

/// What a message may still hold.
class Room final {
 public:
  explicit Room(std::size_t bytes) : bytes_(bytes) {}
  /// With what stands between it and its neighbours.
  bool take(const json::value& value, std::size_t around = 1) {
    auto size = json::serialize(value).size() + around;
    if (size > bytes_) return false;
    bytes_ -= size;
    return true;
  }

 private:
  std::size_t bytes_;
};

std::string shortened(BuildId build, JobId job, const JobSpec& spec) {
  auto bare = whole(build, job, {});
  bare["left_out"] = left_out(spec.steps.size(), spec.env.size(), 1);  // no count grows from here
  Room room(max_job_event_bytes - json::serialize(bare).size());
  Parts parts;
  std::size_t images = 0;
  if (room.take(json::string(spec.image), 0))
    parts.image = spec.image;
  else
    images = 1;
  for (auto& step : spec.steps) {
    if (!room.take(json::string(step.run))) break;
    parts.commands.push_back(json::string(step.run));
  }
  for (auto& [name, value] : spec.env)
    if (room.take(json::object{{name, value}})) parts.env[name] = value;
  auto missing = left_out(spec.steps.size() - parts.commands.size(), spec.env.size() - parts.env.size(), images);
  auto event = whole(build, job, std::move(parts));
  event["left_out"] = std::move(missing);
  return json::serialize(event);
}

}  // namespace

std::string job_event(BuildId build, JobId job, const JobSpec& spec) {
  Parts parts{spec.image, {}, {}};
  for (auto& step : spec.steps) parts.commands.push_back(json::string(step.run));
  for (auto& [name, value] : spec.env) parts.env[name] = value;
  auto text = json::serialize(whole(build, job, std::move(parts)));
  return text.size() <= max_job_event_bytes ? text : shortened(build, job, spec);
}

}  // namespace mayfly
