#include "runner/control/service.h"

#include <algorithm>

#include "domain/names.h"
#include "domain/runner/json_forms.h"

namespace mayfly {
namespace {

using forms::Reader;

constexpr Name<ServiceReport::What> whats[] = {
    {ServiceReport::What::ready, "ready"}, {ServiceReport::What::ended, "ended"}, {ServiceReport::What::late, "late"}};

}  // namespace

std::string to_line(const ServiceStart& s) {
  return json::serialize(json::object{{"argv", forms::strings(s.argv)},
                                      {"env", forms::strings(s.env)},
                                      {"directory", s.directory},
                                      {"ready", s.ready},
                                      {"ready_limit_us", std::int64_t(s.ready_limit.count())}}) +
         "\n";
}

std::string to_line(const ServiceReport& r) {
  return json::serialize(json::object{{"what", name_of(whats, r.what)}, {"how", r.how}, {"killed", r.killed}, {"last_lines", forms::strings(r.last_lines)}}) + "\n";
}

Result<ServiceStart> service_start_from(std::string_view line) {
  TRY_ASSIGN(auto value, parse_json(line));
  ServiceStart s;
  std::int64_t limit = 0;
  Reader read(value, "service");
  read.optional("argv", s.argv);
  read.optional("env", s.env);
  read.required("directory", s.directory);
  read.required("ready", s.ready);
  read.required("ready_limit_us", limit);
  if (s.argv.empty()) read.set_wrong("argv", "a command");
  s.ready_limit = Duration(limit);
  return read.done(std::move(s));
}

Result<ServiceReport> service_report_from(std::string_view line) {
  TRY_ASSIGN(auto value, parse_json(line));
  ServiceReport r;
  std::string what;
  Reader read(value, "service");
  read.required("what", what);
  read.required("how", r.how);
  read.required("killed", r.killed);
  read.optional("last_lines", r.last_lines);
  if (auto known = value_of(whats, std::string_view(what))) r.what = *known;
  else read.set_wrong("what", "ready, ended or late");
  if (r.how.size() > max_service_line_bytes) read.set_wrong("how", "a short text");
  bool bounded = r.last_lines.size() <= max_service_lines && std::ranges::all_of(r.last_lines, [](auto& l) { return l.size() <= 4 * max_service_line_bytes; });
  if (!bounded) read.set_wrong("last_lines", "a few short lines");
  return read.done(std::move(r));
}

}  // namespace mayfly
