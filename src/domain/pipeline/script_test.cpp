#include "domain/pipeline/script.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>

namespace mayfly {
namespace {

const std::string hostile = "x'; touch /nowhere; \"$(echo pwned)\" `id` * \\ ";

Script written(std::string_view text, ScriptOptions options = {}) {
  ExpressionContext context{.event = {.ref = "refs/heads/" + hostile}, .env = {{"NAME", "n"}}, .matrix = {{"shard", "3"}, {"from", hostile}}, .standing = std::nullopt};
  auto source = Template::parse(text);
  auto script = write_script(*source, context, options);
  if (!script) return {.text = script.error().message, .variables = {}};
  return *script;
}

/// What a real shell prints for a script with its variables.
std::string run(const Script& script) {
  std::string command = "env -i PATH=\"$PATH\"";
  auto quoted = [](const std::string& text) {
    std::string out = "'";
    for (char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return out + "'";
  };
  for (auto& [name, value] : script.variables) command += " " + name + "=" + quoted(value);
  command += " sh -c " + quoted(script.text);
  std::string out;
  if (auto* pipe = ::popen(command.c_str(), "r")) {
    std::array<char, 256> buffer;
    while (auto size = std::fread(buffer.data(), 1, buffer.size(), pipe)) out.append(buffer.data(), size);
    ::pclose(pipe);
  }
  return out;
}

TEST(Script, PastesOnlyWhatTheFileItselfSays) {
  EXPECT_EQ(written("./test --shard ${{ matrix.shard }}").text, "./test --shard 3");
  EXPECT_EQ(written("${{ matrix.shard == 3 && 'yes' || 'no' }}").text, "yes");
  auto from_outside = written("echo ${{ matrix.from }}", {.outside_axes = {"from"}, .taken = {}});
  EXPECT_EQ(from_outside.text, "echo \"${CI_EXPR_1}\"");
  EXPECT_EQ(from_outside.variables, (Env{{"CI_EXPR_1", hostile}}));
}

TEST(Script, GivesAHostileBranchNameToTheShellAsOneWordOfData) {
  for (std::string_view text : {"printf %s ${{ branch }}", "printf %s \"${{ branch }}\"", "printf %s '${{ branch }}'", "x=${{ branch }}; printf %s \"$x\"",
                                "# it's ${{ branch }}\nprintf %s ${{ branch }}", "printf %s \"it's \"\\'${{ branch }} >/dev/null; printf %s ${{ branch }}"})
    EXPECT_EQ(run(written(text)), hostile) << text;
  EXPECT_EQ(run(written("cat <<END\nit's ${{ branch }}\nEND\nprintf %s '${{ branch }}'")), "it's " + hostile + "\n" + hostile);
  EXPECT_EQ(run(written("cat <<-END\n\t${{ branch }}\n\tEND\nprintf %s ${{ branch }}")), hostile + "\n" + hostile);
  EXPECT_EQ(written("cat <<< word ${{ branch }}\n${{ branch }}").text, "cat <<< word \"${CI_EXPR_1}\"\n\"${CI_EXPR_1}\"") << "no here-document";
}

TEST(Script, RefersToAVariableByItsOwnName) {
  auto script = written("echo ${{ env.NAME }} '${{ env.SET_LATER }}'");
  EXPECT_EQ(script.text, "echo \"${NAME}\" ''\"${SET_LATER}\"''");
  EXPECT_TRUE(script.variables.empty());
}

TEST(Script, NamesOneVariableForOneExpression) {
  auto script = written("${{ branch }} ${{ sha }} ${{ branch }}", {.outside_axes = {}, .taken = {"CI_EXPR_1"}});
  EXPECT_EQ(script.text, "\"${CI_EXPR_2}\" \"${CI_EXPR_3}\" \"${CI_EXPR_2}\"");
}

TEST(Script, LeavesNeedsForWhenTheyAreKnown) {
  auto script = written("echo ${{ needs.build.outputs.version }}");
  EXPECT_EQ(script.variables, (Env{{"CI_EXPR_1", "${{ needs.build.outputs.version }}"}}));
}

TEST(Script, RefusesWhereNothingCanBeReferredTo) {
  EXPECT_EQ(written("cat <<'END'\n${{ branch }}\nEND").text, "nothing is expanded in a here-document with a quoted delimiter");
  EXPECT_EQ(written("print(${{ branch }})", {.posix_shell = false, .outside_axes = {}, .taken = {}}).text, "values from outside are never pasted into a script");
  EXPECT_EQ(written("print(${{ matrix.shard }})", {.posix_shell = false, .outside_axes = {}, .taken = {}}).text, "print(3)");
}

TEST(Script, KnowsShells) {
  for (auto shell : {"", "sh", "bash", "/bin/sh", "/usr/bin/zsh"}) EXPECT_TRUE(is_posix_shell(shell));
  for (auto shell : {"/usr/bin/python3", "/usr/bin/fish", "/bin/"}) EXPECT_EQ(is_posix_shell(shell), std::string_view(shell) == "/bin/");
}

}  // namespace
}  // namespace mayfly
