#include "domain/logs/shipped.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>

#include "base/digest.h"
#include "domain/logs/frame.h"

namespace mayfly {
namespace {

constexpr std::string_view id = "01890a5d-ac96-774b-bcce-b302099a8057";
constexpr std::string_view other_id = "01890a5d-ac96-774b-bcce-b302099a8058";

AttemptId attempt(std::string_view text = id) { return *AttemptId::parse(text); }

ShippedRecord record(std::int64_t offset, std::string text, std::string_view whose = id) { return {attempt(whose), offset, std::move(text)}; }

std::string file(std::string_view suffix = ".log") { return "/var/log/mayfly/" + std::string(id) + std::string(suffix); }

std::vector<ShippedRecord> read(std::string_view text) {
  auto shipped = decode_shipped(text);
  EXPECT_TRUE(shipped) << shipped.error().message;
  if (!shipped) return {};
  EXPECT_EQ(shipped->refused, 0u) << shipped->first_refusal;
  return shipped->records;
}

std::string why_refused(std::string_view text) {
  auto shipped = decode_shipped(text);
  return shipped ? "it was taken" : shipped.error().message;
}

TEST(Shipped, VectorsHttpSinkSendsAnArray) {
  EXPECT_EQ(read(R"([{"file":")" + file() + R"(","host":"node1","message":"hello","offset":0,"source_type":"file","timestamp":"2026-01-01T00:00:00Z"},
                     {"file":")" + file() + R"(","host":"node1","message":"","offset":6,"source_type":"file","timestamp":"2026-01-01T00:00:00Z"}])"),
            (std::vector{record(0, "hello\n"), record(6, "\n")}));
}

TEST(Shipped, VectorsKafkaSinkSendsOneObject) {
  EXPECT_EQ(read(R"({"file":")" + file() + R"(","message":"gr\u00fc\u00df dich","offset":4096})"), (std::vector{record(4096, "grüß dich\n")}));
}

TEST(Shipped, RsyslogWritesTheOffsetAsText) {
  EXPECT_EQ(read(R"({"ts":"2026-01-01T00:00:00Z","file":")" + file() + R"(","offset":"17","msg":"ok"})"), (std::vector{record(17, "ok\n")}));
}

TEST(Shipped, TelegrafBatchesMetricsWhoseValueIsALine) {
  auto metric = [](std::string_view value) {
    return R"({"fields":{"value":")" + std::string(value) + R"("},"name":"job_log","tags":{"path":")" + file() + R"("},"timestamp":1})";
  };
  // It knows no offsets: the lines are ours.
  auto one = metric(R"({\"offset\":3,\"text\":\"a\\n\"})"), two = metric(R"({\"offset\":5,\"data\":\"/w==\"})");
  EXPECT_EQ(read(R"({"metrics":[)" + one + "," + two + "]}"), (std::vector{record(3, "a\n"), record(5, "\xff")}));
  EXPECT_EQ(read(one), (std::vector{record(3, "a\n")})) << "without its batch format";
}

TEST(Shipped, AnAttemptIsNamedByItselfOrByTheFile) {
  EXPECT_EQ(read(R"({"attempt":")" + std::string(other_id) + R"(","offset":0,"text":"as it is"})"), (std::vector{record(0, "as it is", other_id)}));
  EXPECT_EQ(read(R"({"filename":")" + std::string(id) + R"(.log","off":1,"message":"x"})"), (std::vector{record(1, "x\n")}));
}

TEST(Shipped, NdjsonMayHaveEmptyLinesAndNoLastNewline) {
  auto line = [](int offset) { return R"({"path":")" + file() + R"(","offset":)" + std::to_string(offset) + R"(,"message":"m"})"; };
  EXPECT_EQ(read("\n" + line(0) + "\r\n\n" + line(2) + "\n" + line(4)), (std::vector{record(0, "m\n"), record(2, "m\n"), record(4, "m\n")}));
  EXPECT_TRUE(read("").empty());
  EXPECT_TRUE(read(" \n\n").empty());
}

TEST(Shipped, ALineOfAJobThatLooksLikeOursIsText) {
  // In a .log with offsets nothing that a job says has a meaning; in a .jsonl the shipper's offsets have none.
  auto said = R"("message":"{\"offset\":0,\"text\":\"forged\"}")";
  EXPECT_EQ(read(R"({"file":")" + file() + R"(","offset":9,)" + said + "}"), (std::vector{record(9, "{\"offset\":0,\"text\":\"forged\"}\n")}));
  EXPECT_EQ(read(R"({"file":")" + file(".jsonl") + R"(","offset":9,)" + said + "}"), (std::vector{record(0, "forged")}));
  EXPECT_EQ(read(R"({"attempt":")" + std::string(id) + R"(","file":"/l/any.jsonl","offset":9,)" + said + "}"), (std::vector{record(0, "forged")}));
}

TEST(Shipped, ARecordThatIsNoneDoesNotCostTheOthers) {
  auto shipped = decode_shipped(R"({"file":")" + file() + R"(","offset":0,"message":"good"}
{"file":"/etc/passwd","offset":0,"message":"bad"}
{"file":)");
  ASSERT_TRUE(shipped);
  EXPECT_EQ(shipped->records, (std::vector{record(0, "good\n")}));
  EXPECT_EQ(shipped->refused, 2u);
  EXPECT_EQ(shipped->first_refusal, "the file is named neither .log nor .jsonl");
}

TEST(Shipped, WhatIsWrongIsSaid) {
  auto with_file = [](std::string_view rest, std::string_view suffix = ".log") { return R"({"file":")" + file(suffix) + "\"," + std::string(rest) + "}"; };
  EXPECT_EQ(why_refused("hello").substr(0, 24), "shipped logs: not JSON: ");
  EXPECT_EQ(why_refused("[1]"), "shipped logs: a record is a JSON object");
  EXPECT_EQ(why_refused("[[]]"), "shipped logs: a record is a JSON object");
  EXPECT_EQ(why_refused(R"({"message":"x","offset":0})"), "shipped logs: neither `attempt` nor a `file` or `path` that names one");
  EXPECT_EQ(why_refused(R"({"file":"/var/log/syslog.log","message":"x","offset":0})").substr(0, 51), "shipped logs: the file is not named after an attemp");
  EXPECT_EQ(why_refused(with_file(R"("offset":0)")), "shipped logs: no text: a record has `message`, `msg`, `value`, or `text` and `offset`");
  EXPECT_EQ(why_refused(with_file(R"("offset":-1,"message":"x")")), "shipped logs: offset: not a number of bytes");
  EXPECT_EQ(why_refused(with_file(R"("offset":"","message":"x")")), "shipped logs: offset: not a number of bytes");
  EXPECT_EQ(why_refused(with_file(R"("offset":"12x","message":"x")")), "shipped logs: offset: not a number of bytes");
  EXPECT_EQ(why_refused(with_file(R"("offset":1.5,"message":"x")")), "shipped logs: offset: not a number of bytes");
  EXPECT_EQ(why_refused(with_file(R"("offset":9223372036854775807,"message":"x")")), "shipped logs: offset: no log is that long");
  EXPECT_EQ(why_refused(with_file(R"("message":"no offset")")), "shipped logs: a line without an offset that is none of {\"offset\", \"text\"} either");
  EXPECT_EQ(why_refused(with_file(R"("message":"{}")")), "shipped logs: a line of ours has `text` or `data`");
  EXPECT_EQ(why_refused(with_file(R"("message":"{\"text\":\"x\"}")")), "shipped logs: no offset");
  EXPECT_NE(why_refused(with_file(R"("message":"{\"offset\":0,\"data\":\"*\"}")")), "it was taken");
}

TEST(Shipped, NestsNoDeeperThanJsonMay) { EXPECT_NE(why_refused(std::string(100'000, '[')), "it was taken"); }

TEST(Shipped, TextMayBeAsLongAsItsLimit) {
  auto with_text = [](std::size_t n) { return R"({"attempt":")" + std::string(id) + R"(","offset":0,"text":")" + std::string(n, 'x') + "\"}"; };
  EXPECT_EQ(read(with_text(max_shipped_text_bytes)).size(), 1u);
  EXPECT_EQ(why_refused(with_text(max_shipped_text_bytes + 1)), "shipped logs: a record of 1048577 bytes; the limit is 1048576");
}

TEST(Shipped, ARequestMayHoldAsManyRecordsAsItsLimit) {
  std::string lines;
  for (std::size_t i = 0; i < max_shipped_records; ++i) lines += "{}\n";  // refused ones count too
  auto at_limit = decode_shipped(lines);
  ASSERT_FALSE(at_limit);
  EXPECT_EQ(at_limit.error().code, Errc::invalid);
  auto past = decode_shipped(lines + "{}");
  ASSERT_FALSE(past);
  EXPECT_EQ(past.error().code, Errc::too_large);
}

TEST(Shipped, ARequestMayBeAsLongAsItsLimit) {
  std::string body = R"({"attempt":")" + std::string(id) + R"(","offset":0,"text":"x"})";
  body.resize(max_shipped_bytes, '\n');
  EXPECT_EQ(read(body).size(), 1u);
  auto past = decode_shipped(body + "\n");
  ASSERT_FALSE(past);
  EXPECT_EQ(past.error().code, Errc::too_large);
}

TEST(Shipped, AMessageOfTheLogTopicTellsWhichItIs) {
  std::string frame;
  append_frame(frame, {.text = "{"});
  EXPECT_FALSE(is_shipped(frame));
  EXPECT_FALSE(is_shipped(""));
  EXPECT_TRUE(is_shipped("{}"));
  EXPECT_TRUE(is_shipped("\n [1]"));
}

std::string text_of_frames(std::string_view frames, std::int64_t at) {
  std::string text;
  while (!frames.empty()) {
    auto decoded = decode_frame(frames);
    if (!decoded || decoded->size == 0) return "no frame at " + std::to_string(text.size());
    if (decoded->frame.offset != at + std::int64_t(text.size())) return "a gap at " + std::to_string(text.size());
    text += decoded->frame.text;
    frames.remove_prefix(decoded->size);
  }
  return text;
}

TEST(Shipped, BecomesFramesByAttemptInTheOrderOfOffsets) {
  std::string longer(2 * max_frame_text_bytes + 1, 'y');
  auto frames = shipped_frames({record(5, longer), record(0, "hers\n", other_id), record(2, "me\n")});
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(text_of_frames(frames[attempt()], 2), "me\n" + longer);
  EXPECT_EQ(text_of_frames(frames[attempt(other_id)], 0), "hers\n");
  EXPECT_EQ(frames[attempt()].size(), 3 * frame_header_bytes + 3 + longer.size()) << "what joins shares a frame";
}

/// As a shipper would send the lines of a .jsonl file.
std::string shipped_from(std::string_view lines) {
  std::string out;
  while (!lines.empty()) {
    auto line = lines.substr(0, lines.find('\n'));
    out += R"({"file":")" + file(".jsonl") + R"(","value":")";
    for (char c : line) out += c == '"' || c == '\\' ? std::string{'\\', c} : std::string{c};
    out += "\"}\n";
    lines.remove_prefix(line.size() + 1);
  }
  return out;
}

TEST(Shipped, LinesOfOursBearAnyBytes) {
  rc::check("write lines, ship them, and the log is what it was", [](const std::string& bytes, std::uint16_t offset) {
    std::string lines;
    append_shipped_lines(lines, offset, bytes);
    auto shipped = decode_shipped(shipped_from(lines));
    RC_ASSERT(shipped.has_value());
    RC_ASSERT(shipped->refused == 0u);
    RC_ASSERT(text_of_frames(shipped_frames(shipped->records)[attempt()], offset) == bytes);
  });
}

TEST(Shipped, ALongLineOfOursIsCutBetweenCharacters) {
  std::string text = std::string(shipped_line_text_bytes - 1, 'a') + "€uro\n";
  std::string lines;
  append_shipped_lines(lines, 0, text);
  EXPECT_EQ(lines.find("data"), lines.npos) << lines.substr(lines.size() - 80);
  EXPECT_EQ(std::ranges::count(lines, '\n'), 2);
}

}  // namespace
}  // namespace mayfly
