#include "domain/scheduling/order.h"

#include <algorithm>

namespace mayfly::scheduling {
namespace {

std::uint64_t pair_key(Index a, Index b) { return (std::uint64_t(a) << 32) | b; }

std::int64_t lead(Priority priority) { return std::int64_t(priority) * aging_step.count(); }

}  // namespace

JobKey Job::key() const { return {to_micros(queued_at) - lead(priority), id}; }

std::int64_t Order::turn(const JobKey& first, Priority priority, Time served) {
  return std::max(first.turn, to_micros(served) - lead(priority));
}

double Order::organization_key(const Organization& organization, const Account& account, const Tables& t) {
  double share = account.share(t.growth, t.total);
  // Those below their guarantee come first, in the same order among themselves: below zero, and growing with the share.
  if (account.held_share(t.total) < organization.share.guaranteed_share) return -1 / (1 + share);
  return share;
}

Rank Order::line_rank(const Line& line, const Tables& t) const {
  auto& build = t.builds[line.build];
  auto& job = t.jobs[line.jobs.top()];
  return {0, 0, turn(line.jobs.top_key(), job.priority, build.served), build.running, job.id};
}

Rank Order::row_rank(const Row& row, const Tables& t) const {
  auto rank = row.lines.top_key();
  rank.project = t.projects[row.project].account.share(t.growth, t.total);
  return rank;
}

Rank Order::lane_rank(const Lane& lane, const Tables& t) const {
  auto rank = lane.rows.top_key();
  auto& organization = t.organizations[lane.organization];
  rank.organization = organization_key(organization, organization.account, t);
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
  if (line.at == none)
    lines.push(index, rank, lines_);
  else
    lines.update(index, rank, lines_);
  touch_row(line.row, t);
}

void Order::touch_row(Index index, Tables& t) {
  auto& row = rows_[index];
  auto rank = row_rank(row, t);
  auto& rows = lanes_[row.lane].rows;
  if (row.at == none)
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
  if (lane.at == none)
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

void Order::settle_row(Index index, Tables& t) {
  auto& lines = rows_[index].lines;
  for (;;) {
    auto line = lines.top();
    auto rank = line_rank(lines_[line], t);
    if (rank == lines.top_key()) return;
    lines.update(line, rank, lines_);
  }
}

void Order::settle_lane(Index index, Tables& t) {
  auto& rows = lanes_[index].rows;
  for (;;) {
    auto row = rows.top();
    settle_row(row, t);
    auto rank = row_rank(rows_[row], t);
    if (rank == rows.top_key()) return;
    rows.update(row, rank, rows_);
  }
}

void Order::settle_shape(Index index, Tables& t) {
  auto& lanes = t.shapes[index].lanes;
  for (;;) {
    auto lane = lanes.top();
    settle_lane(lane, t);
    auto rank = lane_rank(lanes_[lane], t);
    if (rank == lanes.top_key()) return;
    lanes.update(lane, rank, lanes_);
  }
}

Index Order::first(Heap<Rank>& shapes, Tables& t) {
  while (!shapes.empty()) {
    auto shape = shapes.top();
    settle_shape(shape, t);
    auto& rank = t.shapes[shape].lanes.top_key();
    if (rank == shapes.top_key()) return shape;
    shapes.update(shape, rank, t.shapes);
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
