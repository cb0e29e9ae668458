#include "domain/runner/shell.h"

#include <gmock/gmock.h>

namespace mayfly {
namespace {

TEST(ShellWords, ComeBackAsTheyWere) {
  ShellOpen open{.wish = {.tty = false, .size = {132, 50}, .term = "xterm-256color", .command = {"sh", "-c", "gr\xC3\xBC\xC3\x9F"}}, .who = "ada"};
  for (ShellWord word : {ShellWord(open), ShellWord(ShellOpen{}), ShellWord(ShellData{ShellStream::in, std::string("\0\xff", 2)}),
                         ShellWord(ShellData{ShellStream::err, ""}), ShellWord(ShellSize{1, max_terminal_side}), ShellWord(ShellInputEnd{}),
                         ShellWord(ShellBytesTaken{1LL << 40}), ShellWord(ShellExit{255, ""}), ShellWord(ShellExit{{}, "the job has ended"})}) {
    auto back = shell_word_from(to_frame(word));
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(*back, word);
  }
}

TEST(ShellWords, FromStrangersAreRefusedByWhatIsWrong) {
  auto said = [](std::string_view text) {
    auto got = shell_word_from({true, std::string(text)});
    return got ? "accepted" : got.error().message;
  };
  EXPECT_THAT(said("{"), testing::HasSubstr("not JSON"));
  EXPECT_EQ(said("{\"shut\":1}"), "a shell's message of no known kind");
  EXPECT_EQ(said("{\"taken\":-1}"), "a shell's message of no known kind");
  EXPECT_EQ(said("{\"size\":{\"columns\":0,\"rows\":5}}"), "'size.columns' must be 1 to 4096");
  EXPECT_EQ(said("{\"size\":{\"columns\":1,\"rows\":4097}}"), "'size.rows' must be 1 to 4096");
  EXPECT_EQ(said("{\"open\":{\"command\":[1]}}"), "'open.command' must be an array of strings");
  EXPECT_EQ(said("{\"open\":{\"command\":[\"\"]}}"), "a shell's command has no name");
  EXPECT_EQ(said("{\"open\":{\"command\":[\"a\\u0000b\"]}}"), "a shell's command holds a NUL");
  EXPECT_THAT(said("{\"open\":{\"term\":\"x y\"}}"), testing::HasSubstr("the name of a terminal"));
  EXPECT_EQ(said("{\"exit\":{\"code\":256}}"), "'exit.code' must be 0 to 255");
  EXPECT_FALSE(shell_word_from({false, ""}));
  EXPECT_FALSE(shell_word_from({false, "\x03x"}));
}

TEST(ShellWords, HaveLimits) {
  EXPECT_TRUE(shell_word_from({false, std::string(1 + max_shell_piece_bytes, '\0')}));
  EXPECT_EQ(shell_word_from({false, std::string(2 + max_shell_piece_bytes, '\0')}).error().code, Errc::too_large);
  ShellWish wish{.command = std::vector<std::string>(max_shell_command_words, "x")};
  EXPECT_TRUE(check_shell_wish(wish));
  wish.command.push_back("x");
  EXPECT_EQ(check_shell_wish(wish).error().code, Errc::too_large);
  wish.command = {std::string(max_shell_command_bytes - 1, 'x')};
  EXPECT_TRUE(check_shell_wish(wish));
  wish.command[0] += 'x';
  EXPECT_EQ(check_shell_wish(wish).error().code, Errc::too_large);
}

TEST(ShellReports, ComeBackAsTheyWere) {
  ShellReport report{.exit_code = 3, .detail = "x", .open_ms = 12};
  EXPECT_EQ(shell_report_from_json(to_json(report)), report);
  EXPECT_FALSE(shell_report_from_json("{\"open_ms\":-1}"));
}

}  // namespace
}  // namespace mayfly
