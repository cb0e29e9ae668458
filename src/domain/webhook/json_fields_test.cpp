#include "domain/webhook/json_fields.h"

#include <gtest/gtest.h>

namespace mayfly {
namespace {

using Type = FieldValue::Type;

FieldValue one(std::string_view text, std::string_view path, std::size_t max_bytes = 100) {
  FieldSpec wanted[] = {{path, max_bytes}};
  auto values = read_fields(text, wanted);
  EXPECT_TRUE(values) << values.error().message;
  return values ? values->at(0) : FieldValue{};
}

bool refused(std::string_view text) {
  FieldSpec wanted[] = {{"a", 10}};
  auto values = read_fields(text, wanted);
  return !values && values.error().code == Errc::invalid;
}

TEST(JsonFields, ReadsScalarsOfEveryTypeAtTheirPath) {
  constexpr auto text = R"({"x": [1, {"a": {"b": "wrong"}}], "a": {"b": "right", "n": -7, "t": true, "z": null, "d": 1.5, "o": {}}})";
  EXPECT_EQ(one(text, "a.b").text, "right");
  EXPECT_EQ(one(text, "a.n"), (FieldValue{.type = Type::integer, .integer = -7}));
  EXPECT_EQ(one(text, "a.t"), (FieldValue{.type = Type::boolean, .integer = 1}));
  EXPECT_EQ(one(text, "a.z").type, Type::null);
  EXPECT_EQ(one(text, "a.d").type, Type::other);
  EXPECT_EQ(one(text, "a.o").type, Type::object);
  EXPECT_EQ(one(text, "x").type, Type::other);
  EXPECT_EQ(one(text, "a.b.c").type, Type::absent);
  EXPECT_EQ(one(text, "b").type, Type::absent);
}

TEST(JsonFields, ReadsEscapesAndAnEmptyText) {
  EXPECT_EQ(one(R"({"a": "x\n\u00e9\ud83d\ude00"})", "a").text, "x\n\u00e9\U0001F600");
  EXPECT_EQ(one(R"({"\u0061": ""})", "a"), (FieldValue{.type = Type::text}));
}

TEST(JsonFields, OfAKeyThatOccursTwiceTheFirstCountsAndTheyAreNotMixed) {
  EXPECT_EQ(one(R"({"a": "first", "a": "second"})", "a").text, "first");
  EXPECT_EQ(one(R"({"a": {}, "a": {"b": "second"}})", "a.b").type, Type::absent);
}

TEST(JsonFields, CutsATextAtItsLimitAndNeverInsideACharacter) {
  EXPECT_EQ(one(R"({"a": "12345"})", "a", 5), (FieldValue{.type = Type::text, .text = "12345"}));
  EXPECT_EQ(one(R"({"a": "123456"})", "a", 5), (FieldValue{.type = Type::text, .text = "12345", .cut = true}));
  EXPECT_EQ(one("{\"a\": \"1234\u00e9\"}", "a", 5), (FieldValue{.type = Type::text, .text = "1234", .cut = true}));
  EXPECT_EQ(one(R"({"a": "1234\u00e9"})", "a", 5), (FieldValue{.type = Type::text, .text = "1234", .cut = true}));
  EXPECT_EQ(one("{\"a\": \"\U0001F600\"}", "a", 3), (FieldValue{.type = Type::text, .cut = true}));
  EXPECT_EQ(one(R"({"a": "1\n3", "b": 1})", "a", 2), (FieldValue{.type = Type::text, .text = "1\n", .cut = true}));
}

TEST(JsonFields, RefusesWhatIsNotOneJsonObject) {
  EXPECT_FALSE(refused(" {\"a\": 1} \n"));
  for (auto text : {"", " ", "[]", "[{\"a\": 1}]", "\"a\"", "1", "1.5", "18446744073709551615", "null", "true", "{", "{\"a\"", "{\"a\":", "{\"a\": 1",
                    "{\"a\": 1}}", "{\"a\": 1} x", "{\"a\": 1,}", "{a: 1}", "{\"a\": 'x'}", "{\"a\": \"\xff\"}", "{\"a\": \"\\ud800\"}"})
    EXPECT_TRUE(refused(text)) << text;
  EXPECT_TRUE(refused(std::string_view("{\"a\": 1}\0", 9)));
}

TEST(JsonFields, NestingHasALimit) {
  auto nested = [](std::size_t depth) { return "{\"x\":" + std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}"; };
  EXPECT_FALSE(refused(nested(64)));
  EXPECT_TRUE(refused(nested(65)));
  EXPECT_TRUE(refused(nested(1'000'000)));
}

TEST(JsonFields, StopsAtTheEndOfTheLastObjectWanted) {
  FieldSpec wanted[] = {{"r", 0}, {"r.name", 10}, {"after", 10}};
  auto values = read_fields_until(R"({"x": {"r": {}}, "r": {"o": {}, "name": "n"}, not json)", wanted, "r");
  ASSERT_TRUE(values) << values.error().message;
  EXPECT_EQ(values->at(1).text, "n");
  EXPECT_EQ(values->at(2).type, Type::absent);
  EXPECT_FALSE(read_fields_until(R"({"r": {"name": "n")", wanted, "r"));
}

}  // namespace
}  // namespace mayfly
