#pragma once
// Sums up JUnit XML files, whoever wrote them: the dialects of Maven, pytest, GoogleTest, Jest and others share the elements
// testsuite, testcase, failure, error and skipped, and that is all that is read. Expat does the parsing; entities of the
// file's own are refused, so it cannot blow up.

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"
#include "domain/runner/protocol.h"

namespace mayfly {

inline constexpr std::size_t max_junit_file_bytes = 64 << 20;
inline constexpr std::size_t max_junit_files = 1000;
inline constexpr int max_junit_depth = 64;
inline constexpr std::size_t max_failed_tests = 100;            // named; the rest is only counted
inline constexpr std::size_t max_failure_message_bytes = 4 << 10;
inline constexpr std::size_t max_test_name_bytes = 1 << 10;

/// Adds a file's tests to `report`. Errc::invalid (with the line) when it is no JUnit XML: then nothing is added.
/// Errc::too_large past max_junit_file_bytes.
Result<void> add_junit(std::string_view xml, TestReport& report);

}  // namespace mayfly
