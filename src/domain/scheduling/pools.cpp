#include "domain/scheduling/pools.h"

#include <algorithm>

namespace mayfly::scheduling {
namespace {

Resources least(const Resources& a, const Resources& b) {
  return {std::min(a.cpu_milli, b.cpu_milli), std::min(a.memory_bytes, b.memory_bytes), std::min(a.slots, b.slots)};
}

/// The largest part of `capacity` that `amount` is, over all resources.
double dominant(const Resources& amount, const Resources& capacity) {
  double most = 0;
  auto part = amount.each();
  auto whole = capacity.each();
  for (std::size_t r = 0; r < Resources::kinds; ++r)
    if (whole[r] > 0) most = std::max(most, double(part[r]) / double(whole[r]));
  return most;
}

}  // namespace

bool offers_labels(const PoolState& pool, const Shape& shape) {
  return std::ranges::all_of(shape.labels, [&](auto& label) { return holds(pool.labels, label); });
}

std::optional<Isolation> isolation_in(const PoolState& pool, const Shape& shape) {
  return weakest(pool.isolations, shape.isolation, shape.fork ? stronger(pool.floor, pool.fork_floor) : pool.floor);
}

Index Pools::at(std::string_view name) {
  if (auto known = by_name_.find(name); known != by_name_.end()) return known->second;
  auto index = Index(pools_.size());
  pools_.emplace_back().state.name = name;
  by_name_.emplace(name, index);
  return index;
}

Index Pools::set(PoolState state) {
  auto index = at(state.name);
  auto& pool = pools_[index];
  pool.state = std::move(state);
  pool.present = true;
  add_up();
  return index;
}

Index Pools::remove(std::string_view name) {
  auto index = at(name);
  auto& pool = pools_[index];
  pool.state = {};
  pool.state.name = name;
  pool.present = false;
  add_up();
  return index;
}

void Pools::add_up() {
  total_ = {};
  for (auto& pool : pools_)
    if (pool.open()) total_ += pool.state.capacity;
}

std::vector<Index> Pools::able(const Shape& shape) const {
  std::vector<Index> out;
  for (auto& [name, index] : by_name_) {
    auto& pool = pools_[index];
    if (pool.open() && offers_labels(pool.state, shape) && isolation_in(pool.state, shape) &&
        shape.resources().fits_in(pool.state.capacity))
      out.push_back(index);
  }
  std::ranges::sort(out, {}, [&](Index index) { return std::pair(extras(index), std::string_view(pools_[index].state.name)); });
  return out;
}

Resources Pools::room(Index index, Index shape) const {
  auto& pool = pools_[index];
  if (pool.reserved_for == none || pool.reserved_for == shape) return pool.free();
  return least(pool.free(), pool.state.capacity - pool.reserved - pool.held_since);
}

Index Pools::choose(const std::vector<Index>& able, Index shape, const Resources& needs) const {
  Index best = none;
  double best_left = 0;
  for (auto index : able) {
    if (best != none && extras(index) > extras(best)) break;
    if (!needs.fits_in(room(index, shape))) continue;
    double left = dominant(pools_[index].free() - needs, pools_[index].state.capacity);
    if (best == none || left < best_left) best = index, best_left = left;
  }
  return best;
}

std::uint64_t Pools::hold(Index index, const Resources& what) {
  auto& pool = pools_[index];
  pool.held += what;
  if (pool.reserved_for == none) return 0;
  pool.held_since += what;
  return pool.reservation;
}

void Pools::release(Index index, const Resources& what, std::uint64_t reservation) {
  auto& pool = pools_[index];
  pool.held -= what;
  if (reservation != 0 && reservation == pool.reservation && pool.reserved_for != none) pool.held_since -= what;
}

Index Pools::reserve(const std::vector<Index>& able, Index shape, const Resources& needs) {
  Index best = none;
  double best_missing = 0;
  for (auto index : able) {
    auto& pool = pools_[index];
    if (pool.reserved_for != none) continue;
    double missing = dominant(needs - pool.free(), pool.state.capacity);
    if (best == none || missing < best_missing) best = index, best_missing = missing;
  }
  if (best == none) return none;
  auto& pool = pools_[best];
  pool.reserved_for = shape;
  pool.reserved = needs;
  pool.held_since = {};
  ++pool.reservation;
  return best;
}

void Pools::unreserve(Index index) {
  auto& pool = pools_[index];
  pool.reserved_for = none;
  pool.reserved = pool.held_since = {};
}

}  // namespace mayfly::scheduling
