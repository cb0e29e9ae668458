#include "runner/sidecar/junit.h"

#include <gmock/gmock.h>

namespace mayfly {
namespace {

using testing::HasSubstr;

TestReport read(std::string_view xml) {
  TestReport report;
  auto added = add_junit(xml, report);
  EXPECT_TRUE(added) << added.error().message;
  return report;
}

std::string refused(std::string_view xml) {
  TestReport report;
  auto added = add_junit(xml, report);
  EXPECT_EQ(report, TestReport{}) << "nothing is added of a file that is wrong";
  return added ? "accepted" : added.error().message;
}

TEST(JUnit, ReadsPytest) {
  auto report = read(R"(<?xml version="1.0" encoding="utf-8"?><testsuites><testsuite name="pytest" errors="1" failures="1" skipped="1" tests="4" time="0.046">
<testcase classname="test_a" name="test_ok" time="0.001"/>
<testcase classname="test_a" name="test_bad" time="0.002"><failure message="assert 1 == 2">def test_bad():
&gt;       assert 1 == 2</failure></testcase>
<testcase classname="test_a" name="test_skip" time="0.000"><skipped type="pytest.skip" message="later">x</skipped></testcase>
<testcase classname="test_a" name="test_err" time="1,000.5"><error message="fixture"></error></testcase>
</testsuite></testsuites>)");
  EXPECT_EQ(report.tests, 4);
  EXPECT_EQ(report.failures, 1);
  EXPECT_EQ(report.errors, 1);
  EXPECT_EQ(report.skipped, 1);
  EXPECT_EQ(report.time_ms, 1'000'503);
  ASSERT_EQ(report.failed.size(), 2u);
  EXPECT_EQ(report.failed[0], (TestFailure{.suite = "test_a", .name = "test_bad", .message = "assert 1 == 2\ndef test_bad():\n>       assert 1 == 2"}));
  EXPECT_EQ(report.failed[1], (TestFailure{.suite = "test_a", .name = "test_err", .message = "fixture"}));
}

TEST(JUnit, ReadsGoogleTestAndSuitesInSuites) {
  auto report = read(R"(<testsuites tests="2"><testsuite name="Outer"><testsuite name="Inner">
<testcase name="A" status="run" time="0.25"><failure message="Expected: a&#x0A;" type=""><![CDATA[file.cpp:3
Expected: a]]></failure><failure message="second"/></testcase><testcase name="B"/></testsuite></testsuite></testsuites>)");
  EXPECT_EQ(report.tests, 2);
  EXPECT_EQ(report.failures, 1) << "a test fails once";
  EXPECT_EQ(report.failed[0].suite, "Inner");
}

TEST(JUnit, AMessageThatBeginsTheTextIsSaidOnce) {
  EXPECT_EQ(read("<testsuite><testcase name='a'><failure message='boom'>boom\n at x</failure></testcase></testsuite>").failed[0].message, "boom\n at x");
}

TEST(JUnit, AddsFilesUp) {
  TestReport report;
  auto xml = "<testsuite name='s'><testcase name='a' time='0.5'/><testcase name='b'><failure/></testcase></testsuite>";
  ASSERT_TRUE(add_junit(xml, report));
  ASSERT_TRUE(add_junit(xml, report));
  EXPECT_EQ(report.tests, 4);
  EXPECT_EQ(report.failures, 2);
  EXPECT_EQ(report.time_ms, 1000);
}

TEST(JUnit, NamesAHundredAndCountsTheRest) {
  std::string xml = "<testsuite>";
  for (int i = 0; i < 150; ++i) xml += "<testcase name='t" + std::to_string(i) + "'><failure/></testcase>";
  auto report = read(xml + "</testsuite>");
  EXPECT_EQ(report.failures, 150);
  EXPECT_EQ(report.failed.size(), max_failed_tests);
}

TEST(JUnit, CutsLongTextsAtACharacter) {
  std::string text(max_failure_message_bytes - 1, 'x');
  auto report = read("<testsuite><testcase name='a'><failure>" + text + "\xC3\xBC and more</failure></testcase></testsuite>");
  EXPECT_EQ(report.failed[0].message, text);
  report = read("<testsuite><testcase name='" + std::string(5000, 'n') + "'><failure/></testcase></testsuite>");
  EXPECT_EQ(report.failed[0].name.size(), max_test_name_bytes);
}

TEST(JUnit, StrangeTimesCountNothing) {
  EXPECT_EQ(read("<testsuite><testcase time='-1'/><testcase time='nan'/><testcase time='1e300'/><testcase time='x'/><testcase time=''/></testsuite>").time_ms, 0);
}

TEST(JUnit, EntitiesOfItsOwnAreRefused) {
  EXPECT_THAT(refused(R"(<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><testsuite name="&b;"/>)"), HasSubstr("declares entities"));
  EXPECT_THAT(refused(R"(<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><testsuite>&f;</testsuite>)"), HasSubstr("declares entities"));
}

TEST(JUnit, WhatIsNoneIsRefusedWithItsLine) {
  EXPECT_EQ(refused("<testsuite>\n<testcase></testsuite>"), "line 2: mismatched tag");
  EXPECT_THAT(refused("<html/>"), HasSubstr("its outermost element is neither testsuites nor testsuite"));
  EXPECT_THAT(refused(""), HasSubstr("no element found"));
  EXPECT_THAT(refused("not xml"), HasSubstr("line 1"));
  EXPECT_THAT(refused("<testsuite>" + std::string(3, '\0')), HasSubstr("line 1"));
}

TEST(JUnit, DepthAndSizeHaveLimits) {
  auto nested = [](int n) {
    std::string open, close;
    for (int i = 0; i < n; ++i) open += "<testsuite>", close += "</testsuite>";
    return open + close;
  };
  EXPECT_EQ(read(nested(max_junit_depth)).tests, 0) << "at the limit";
  EXPECT_THAT(refused(nested(max_junit_depth + 1)), HasSubstr("nested too deep"));
  std::string big = "<testsuite>";
  big.resize(max_junit_file_bytes - 12, ' ');
  big += "</testsuite>";
  EXPECT_EQ(read(big).tests, 0) << "at the limit";
  EXPECT_THAT(refused(big + " "), HasSubstr("over the limit"));
}

}  // namespace
}  // namespace mayfly
