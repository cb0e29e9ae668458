#pragma once
// The JSON that some columns hold, both ways. Readers answer Errc::corrupt: only our own writers fill these columns.

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "domain/pipeline/plan.h"
#include "domain/runner/protocol.h"

namespace mayfly {

std::string event_to_column(const TriggerEvent&);
Result<TriggerEvent> event_from_column(std::string_view);
std::string map_to_column(const std::map<std::string, std::string>&);
Result<std::map<std::string, std::string>> map_from_column(std::string_view);
std::string steps_to_column(const std::vector<StepState>&);
Result<std::vector<StepState>> steps_from_column(std::string_view);
std::string tests_to_column(const TestReport&);
Result<TestReport> tests_from_column(std::string_view);
std::string errors_to_column(const std::vector<Diagnostic>&);
Result<std::vector<Diagnostic>> errors_from_column(std::string_view);

}  // namespace mayfly
