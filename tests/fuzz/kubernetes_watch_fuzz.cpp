// What an API server sends: lines of a watch in pieces of any size, lists, refusals. Nothing may crash, and how the bytes were cut may not matter.
#include <cstdlib>

#include "adapters/kubernetes/event_stream.h"
#include "adapters/kubernetes/refusal.h"
#include "adapters/kubernetes/verdict.h"

using namespace mayfly;
using namespace mayfly::kubernetes;

namespace {

constexpr std::size_t line_limit = 1024;

/// The lines, and whether the limit was passed.
std::pair<std::vector<std::string>, bool> lines_of(std::string_view bytes, std::size_t piece) {
  Lines lines(line_limit);
  std::vector<std::string> out;
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    lines.feed(bytes.substr(at, piece));
    for (;;) {
      auto line = lines.next();
      if (!line) return {out, true};
      if (!*line) break;
      out.push_back(std::move(**line));
    }
  }
  return {out, false};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  auto whole = lines_of(bytes, size + 1);
  if (whole != lines_of(bytes, 1) || whole != lines_of(bytes, 7)) std::abort();
  for (auto& line : whole.first) {
    auto event = read_event(line);
    if (!event || event->object.uid.empty()) continue;
    const Object* pod = &event->object;
    auto judged = judge(AttemptId{}, nullptr, {&pod, 1}, {.now = from_micros(1), .failing_for = {}, .patience = {}, .job_trouble = pod->message});
    if (!judged.status.running && judged.status.reason == Reason::none) std::abort();   // whoever has ended has ended for a reason
    (void)judge(AttemptId{}, pod, {}, {.now = from_micros(1), .failing_for = {}, .patience = {}, .job_trouble = pod->message});
  }
  (void)read_page(bytes);
  (void)read_status(bytes);
  (void)newest_message(bytes, "FailedCreate");
  return 0;
}
