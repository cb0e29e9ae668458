#include "cli/render/pool_view.h"

#include <fmt/format.h>

namespace mayfly::cli {
namespace {

Paint paint_of(std::string_view state) {
  if (state == "active") return Paint::green;
  if (state == "draining") return Paint::yellow;
  return state == "silent" ? Paint::red : Paint::dim;
}

std::string words(const std::vector<std::string>& list) {
  std::string out;
  for (auto& word : list) out += (out.empty() ? "" : ",") + harmless(word);
  return out.empty() ? "-" : out;
}

std::string amount(const std::optional<std::int64_t>& n) { return n ? std::to_string(*n) : "?"; }

std::string of(const std::optional<PoolAmounts>& used, std::int64_t PoolAmounts::* field, const PoolAmounts& capacity, auto show) {
  return (used ? show((*used).*field) : "?") + "/" + show(capacity.*field);
}

}  // namespace

std::string pool_table(const std::vector<Pool>& pools, const Style& style) {
  std::vector<std::vector<std::string>> rows{
      {"NAME", "STATE", "EXECUTOR", "SLOTS", "CPU", "MEMORY", "RUNNING", "STARTING", "WAITING", "WARM", "ISOLATIONS", "LABELS", "KEEPER"}};
  for (auto& p : pools)
    rows.push_back({harmless(p.name), painted(harmless(p.state), paint_of(p.state), style), harmless(p.executor),
                    of(p.used, &PoolAmounts::slots, p.capacity, [](std::int64_t n) { return std::to_string(n); }),
                    of(p.used, &PoolAmounts::cpu_milli, p.capacity, [](std::int64_t n) { return fmt::format("{}", double(n) / 1000); }),
                    of(p.used, &PoolAmounts::memory_bytes, p.capacity, format_bytes), std::to_string(p.running), std::to_string(p.assigned),
                    amount(p.waiting), std::to_string(p.warm), words(p.isolations), words(p.labels), p.keeper.empty() ? "-" : harmless(p.keeper)});
  return table(rows);
}

}  // namespace mayfly::cli
