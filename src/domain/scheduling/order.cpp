#include "domain/scheduling/order.h"

#include <algorithm>

namespace mayfly::scheduling {
namespace {

std::uint64_t pair_key(Index a, Index b) { return (std::uint64_t(a) << 32) | b; }

std::int64_t lead(Priority priority) { return std::int64_t(priority) * aging_step.count(); }

}  // namespace

JobKey Job::key() const {
  std::uint64_t tie = 0;
  for (std::size_t i = 8; i < id.value.bytes.size(); ++i) tie = tie << 8 | id.value.bytes[i];
  return {to_micros(queued_at) - lead(priority), tie};
}

std::int64_t Order::turn_after(Time served, Priority priority) { return to_micros(served) - lead(priority); }

std::int64_t Order::turn(const JobKey& first, Priority priority, Time served) {
  return std::max(first.turn, turn_after(served, priority));
}

float Order::organization_key(const Organization& organization, const Tables& t) {
  float share = organization.account.share(t.growth, t.total);
  auto guaranteed = organization.share.guaranteed_share;
  // Those below their guarantee come first, in the same order among themselves: below zero, and growing with the share.
  if (guaranteed > 0 && organization.account.held_share(t.total) < guaranteed) return -1 / (1 + share);
  return share;
}

float Order::project_key(const Project& project, const Tables& t) { return project.account.share(t.growth, t.total); }

Rank Order::line_rank(const Line& line, const Tables& t) const {
  auto& build = t.builds[line.build];
  auto& job = t.jobs[line.jobs.top()];
  auto& first = line.jobs.top_key();
  return {.organization = 0,
          .project = 0,
          .turn = turn(first, job.priority, build.served),
          .running = build.running,
          .priority = job.priority,
          .tie = first.tie,
          .project_at = job.project,
          .build_at = line.build};
}

Rank Order::row_rank(const Row& row, const Tables& t) const {
  auto rank = row.lines.top_key();
  rank.project = project_key(t.projects[row.project], t);
  return rank;
}

Rank Order::lane_rank(const Lane& lane, const Tables& t) const {
  auto rank = lane.rows.top_key();
  rank.organization = organization_key(t.organizations[lane.organization], t);
  return rank;
}

/// The rank as it is by now, but for the organization.
Rank Order::refreshed(Rank rank, const Tables& t) {
  auto& build = t.builds[rank.build_at];
  rank.project = project_key(t.projects[rank.project_at], t);
  rank.turn = std::max(rank.turn, turn_after(build.served, rank.priority));
  rank.running = build.running;
  return rank;
}

void Order::insert(Index index, Tables& t) {
  auto& job = t.jobs[index];
  auto lane = lane_of(job.shape, job.organization, t);
  auto row = row_of(lane, job.project, t);
  auto line = line_of(row, job.build, t);
  job.state = JobState::ready;
  job.line = line;
  lines_[line].jobs.push(index, job.key(), t.jobs);
  touch_line(line, t);
}

void Order::erase(Index index, Tables& t) {
  auto& job = t.jobs[index];
  auto line = std::exchange(job.line, none);
  lines_[line].jobs.remove(index, t.jobs);
  if (lines_[line].jobs.empty())
    drop_line(line, t);
  else
    touch_line(line, t);
}

Index Order::lane_of(Index shape, Index organization, Tables& t) {
  auto [at, added] = lane_by_.try_emplace(pair_key(shape, organization), none);
  if (added) {
    at->second = lanes_.add({});
    auto& lane = lanes_[at->second];
    lane.shape = shape, lane.organization = organization;
    t.organizations[organization].lanes.push_back(at->second);
  }
  return at->second;
}

Index Order::row_of(Index lane, Index project, Tables& t) {
  auto [at, added] = row_by_.try_emplace(pair_key(lane, project), none);
  if (added) {
    at->second = rows_.add({});
    auto& row = rows_[at->second];
    row.lane = lane, row.project = project;
    t.projects[project].rows.push_back(at->second);
  }
  return at->second;
}

Index Order::line_of(Index row, Index build, Tables& t) {
  auto [at, added] = line_by_.try_emplace(pair_key(row, build), none);
  if (added) {
    at->second = lines_.add({});
    auto& line = lines_[at->second];
    line.row = row, line.build = build;
    t.builds[build].lines.push_back(at->second);
  }
  return at->second;
}

void Order::drop_line(Index index, Tables& t) {
  auto [row, build] = std::pair(lines_[index].row, lines_[index].build);
  rows_[row].lines.remove(index, lines_);
  std::erase(t.builds[build].lines, index);
  line_by_.erase(pair_key(row, build));
  lines_.free(index);
  if (rows_[row].lines.empty())
    drop_row(row, t);
  else
    touch_row(row, t);
}

void Order::drop_row(Index index, Tables& t) {
  auto [lane, project] = std::pair(rows_[index].lane, rows_[index].project);
  lanes_[lane].rows.remove(index, rows_);
  std::erase(t.projects[project].rows, index);
  row_by_.erase(pair_key(lane, project));
  rows_.free(index);
  if (lanes_[lane].rows.empty())
    drop_lane(lane, t);
  else
    touch_lane(lane, t);
}

void Order::drop_lane(Index index, Tables& t) {
  auto [shape, organization] = std::pair(lanes_[index].shape, lanes_[index].organization);
  if (!lanes_[index].closed) t.shapes[shape].lanes.remove(index, lanes_);
  std::erase(t.organizations[organization].lanes, index);
  lane_by_.erase(pair_key(shape, organization));
  lanes_.free(index);
  touch_shape(shape, t);
}

void Order::touch_line(Index index, Tables& t) {
  auto& line = lines_[index];
  auto rank = line_rank(line, t);
  auto& lines = rows_[line.row].lines;
  if (lines_.at(index) == none)
    lines.push(index, rank, lines_);
  else
    lines.update(index, rank, lines_);
  touch_row(line.row, t);
}

void Order::touch_row(Index index, Tables& t) {
  auto& row = rows_[index];
  auto rank = row_rank(row, t);
  auto& rows = lanes_[row.lane].rows;
  if (rows_.at(index) == none)
    rows.push(index, rank, rows_);
  else
    rows.update(index, rank, rows_);
  touch_lane(row.lane, t);
}

void Order::touch_lane(Index index, Tables& t) {
  auto& lane = lanes_[index];
  if (lane.closed) return;
  auto rank = lane_rank(lane, t);
  auto& lanes = t.shapes[lane.shape].lanes;
  if (lanes_.at(index) == none)
    lanes.push(index, rank, lanes_);
  else
    lanes.update(index, rank, lanes_);
  touch_shape(lane.shape, t);
}

void Order::touch_shape(Index index, Tables& t) {
  auto& shape = t.shapes[index];
  if (shape.lanes.empty())
    move(index, ShapeClass::Place::idle, t);
  else if (shape.place == ShapeClass::Place::idle)
    move(index, ShapeClass::Place::open, t);
  else if (auto* heap = heap_of(shape.place))
    heap->update(index, shape.lanes.top_key(), t.shapes);
}

Heap<Rank>* Order::heap_of(ShapeClass::Place place) {
  switch (place) {
    case ShapeClass::Place::open: return &open_;
    case ShapeClass::Place::parked: return &parked_;
    case ShapeClass::Place::idle:
    case ShapeClass::Place::reserved: break;
  }
  return nullptr;
}

void Order::move(Index index, ShapeClass::Place to, Tables& t) {
  auto& shape = t.shapes[index];
  if (shape.place == to) return;
  if (auto* from = heap_of(shape.place)) from->remove(index, t.shapes);
  shape.place = to;
  if (auto* heap = heap_of(to)) heap->push(index, shape.lanes.top_key(), t.shapes);
}

// Each settle makes sure that the top of its heap is the first by the ranks of now. A rank that has not changed needs no
// look at what lies under it, so only the ways to ranks that have are walked. True: the top rank has changed.

bool Order::settle_row(Index index, Tables& t) {
  auto& lines = rows_[index].lines;
  for (bool changed = false;; changed = true) {
    auto rank = refreshed(lines.top_key(), t);
    rank.project = 0;
    if (rank == lines.top_key()) return changed;
    lines.update(lines.top(), rank, lines_);
  }
}

bool Order::settle_lane(Index index, Tables& t) {
  auto& rows = lanes_[index].rows;
  for (bool changed = false;; changed = true) {
    auto row = rows.top();
    if (refreshed(rows.top_key(), t) == rows.top_key()) return changed;
    settle_row(row, t);
    rows.update(row, row_rank(rows_[row], t), rows_);
  }
}

bool Order::settle_shape(Index index, Tables& t) {
  auto& lanes = t.shapes[index].lanes;
  for (bool changed = false;; changed = true) {
    auto lane = lanes.top();
    auto rank = refreshed(lanes.top_key(), t);
    bool same = rank == lanes.top_key();
    rank.organization = organization_key(t.organizations[lanes_[lane].organization], t);
    if (same && rank == lanes.top_key()) return changed;
    if (!same) {
      settle_lane(lane, t);
      rank = lane_rank(lanes_[lane], t);
    }
    lanes.update(lane, rank, lanes_);
  }
}

Index Order::first(Heap<Rank>& shapes, Tables& t) {
  while (!shapes.empty()) {
    auto shape = shapes.top();
    if (t.shapes[shape].lanes.top_key() == shapes.top_key() && !settle_shape(shape, t)) return shape;
    shapes.update(shape, t.shapes[shape].lanes.top_key(), t.shapes);
  }
  return none;
}

Index Order::first_open(Tables& t) { return first(open_, t); }
Index Order::first_parked(Tables& t) { return first(parked_, t); }

Index Order::job(Index shape, const Tables& t) const {
  auto row = lanes_[lane(shape, t)].rows.top();
  return lines_[rows_[row].lines.top()].jobs.top();
}

void Order::close_lane(Index index, Tables& t) {
  auto& lane = lanes_[index];
  t.shapes[lane.shape].lanes.remove(index, lanes_);
  lane.closed = true;
  t.organizations[lane.organization].capped = true;
  touch_shape(lane.shape, t);
}

void Order::open_lanes(Index organization, Tables& t) {
  if (!std::exchange(t.organizations[organization].capped, false)) return;
  for (auto lane : t.organizations[organization].lanes)
    if (std::exchange(lanes_[lane].closed, false)) touch_lane(lane, t);
}

void Order::reorder_organization(Index organization, Tables& t) {
  for (auto lane : t.organizations[organization].lanes) touch_lane(lane, t);
}

void Order::reorder_project(Index project, Tables& t) {
  for (auto row : t.projects[project].rows) touch_row(row, t);
}

void Order::reorder_build(Index build, Tables& t) {
  for (auto line : t.builds[build].lines) touch_line(line, t);
}

void Order::reorder_all(Tables& t) {
  for (Index project = 0; project < t.projects.size(); ++project) reorder_project(project, t);
  for (Index organization = 0; organization < t.organizations.size(); ++organization)
    reorder_organization(organization, t);
}

void Order::gather(Index lane, std::vector<Index>& out) const {
  auto& rows = lanes_[lane].rows;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    auto& lines = rows_[rows.item(r)].lines;
    for (std::size_t l = 0; l < lines.size(); ++l) {
      auto& jobs = lines_[lines.item(l)].jobs;
      for (std::size_t j = 0; j < jobs.size(); ++j) out.push_back(jobs.item(j));
    }
  }
}

std::vector<Index> Order::jobs_of_shape(Index shape, const Tables& t) const {
  std::vector<Index> out;
  for (auto& [key, lane] : lane_by_)
    if (Index(key >> 32) == shape) gather(lane, out);
  std::ranges::sort(out, {}, [&](Index job) { return t.jobs[job].id; });
  return out;
}

std::vector<Index> Order::jobs_of_organization(Index organization, const Tables& t) const {
  std::vector<Index> out;
  for (auto lane : t.organizations[organization].lanes) gather(lane, out);
  return out;
}

}  // namespace mayfly::scheduling
