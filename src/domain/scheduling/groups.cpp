#include "domain/scheduling/groups.h"

#include <algorithm>

namespace mayfly::scheduling {

Index Groups::join(Index build, std::string_view name, int max_parallel) {
  auto [at, added] = by_name_.try_emplace(std::pair(build, std::string(name)), none);
  if (added) {
    Group group;
    group.build = build, group.name = name, group.max_parallel = max_parallel;
    at->second = groups_.add(std::move(group));
  }
  auto& group = groups_[at->second];
  group.max_parallel = std::min(group.max_parallel, max_parallel);
  ++group.jobs;
  return at->second;
}

void Groups::quit(Index index) {
  auto& group = groups_[index];
  if (--group.jobs > 0) return;
  by_name_.erase(std::pair(group.build, group.name));
  groups_.free(index);
}

Index Groups::gate_of(Index group, Index shape) {
  for (auto gate : groups_[group].gates)
    if (gates_[gate].shape == shape) return gate;
  Gate gate;
  gate.group = group, gate.shape = shape;
  auto index = gates_.add(std::move(gate));
  groups_[group].gates.push_back(index);
  return index;
}

std::size_t Groups::places(const Gate& gate) const {
  auto& group = groups_[gate.group];
  return std::size_t(std::max(0, group.max_parallel - group.running));
}

void Groups::arrive(Index index, Tables& t) {
  auto& job = t.jobs[index];
  job.state = JobState::gated;
  job.gate = gate_of(job.group, job.shape);
  gates_[job.gate].behind.emplace(job.key(), index);
}

Index Groups::admit(Index index) {
  auto& gate = gates_[index];
  if (gate.behind.empty()) return none;
  bool room = gate.in_line.size() < places(gate);
  bool before = places(gate) > 0 && !gate.in_line.empty() && *gate.behind.begin() < *gate.in_line.rbegin();
  if (!room && !before) return none;
  auto job = gate.behind.begin()->second;
  gate.in_line.insert(gate.behind.extract(gate.behind.begin()));
  return job;
}

Index Groups::retreat(Index index) {
  auto& gate = gates_[index];
  if (gate.in_line.size() <= places(gate)) return none;
  auto job = gate.in_line.rbegin()->second;
  gate.behind.insert(gate.in_line.extract(std::prev(gate.in_line.end())));
  return job;
}

void Groups::leave(Index index, Tables& t) {
  auto& job = t.jobs[index];
  auto gate = std::exchange(job.gate, none);
  Entry entry{job.key(), index};
  gates_[gate].behind.erase(entry);
  gates_[gate].in_line.erase(entry);
  drop_if_empty(gate);
}

void Groups::drop_if_empty(Index index) {
  auto& gate = gates_[index];
  if (!gate.behind.empty() || !gate.in_line.empty()) return;
  std::erase(groups_[gate.group].gates, index);
  gates_.free(index);
}

}  // namespace mayfly::scheduling
