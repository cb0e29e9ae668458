#include "adapters/s3/xml.h"

#include <gtest/gtest.h>

namespace mayfly::s3 {
namespace {

Result<void> read(std::string_view xml) {
  return read_xml(xml, [](auto, auto) {});
}

std::string nested(int depth) {
  std::string open, close;
  for (int i = 0; i < depth; ++i) open += "<a>", close += "</a>";
  return open + close;
}

TEST(S3Xml, ARefusalHasACodeAndAMessage) {
  auto refusal = read_refusal(R"(<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>NoSuchKey</Code><Message>a &lt;b&gt;</Message><Key>k</Key></Error>)");
  EXPECT_EQ(refusal.code, "NoSuchKey");
  EXPECT_EQ(refusal.message, "a <b>");
}

TEST(S3Xml, WhatIsNoRefusalHasNoCode) {
  for (auto* text : {"", "<html>busy</html>", "<Error><Code>Half</Code>", "not found", "<ListBucketResult><Error/></ListBucketResult>"})
    EXPECT_EQ(read_refusal(text).code, "") << text;
}

TEST(S3Xml, AListingIsRead) {
  auto listing = read_listing(R"(<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><IsTruncated>true</IsTruncated>
<Contents><Key>a!</Key><Size>5</Size><Owner><ID>x</ID></Owner></Contents><Contents><Key>b!</Key><Size>9223372036854775807</Size></Contents></ListBucketResult>)");
  ASSERT_TRUE(listing);
  EXPECT_TRUE(listing->truncated);
  ASSERT_EQ(listing->objects.size(), 2u);
  EXPECT_EQ(listing->objects[0].name, "a!");
  EXPECT_EQ(listing->objects[0].size, 5);
  EXPECT_EQ(listing->objects[1].size, INT64_MAX);
}

TEST(S3Xml, AListingThatLiesIsRefused) {
  for (auto* size : {"-1", "9223372036854775808", "5x", "", " 5"}) {
    auto text = "<ListBucketResult><Contents><Key>a</Key><Size>" + std::string(size) + "</Size></Contents></ListBucketResult>";
    EXPECT_FALSE(read_listing(text)) << size;
  }
  EXPECT_FALSE(read_listing("<html/>"));
  EXPECT_FALSE(read_uploads("<html/>"));
  EXPECT_FALSE(read_upload_id("<InitiateMultipartUploadResult/>"));
}

TEST(S3Xml, UploadsAreRead) {
  auto found = read_uploads(R"(<ListMultipartUploadsResult><IsTruncated>false</IsTruncated><Upload><Key>k!</Key><UploadId>1</UploadId>
<Initiated>2026-01-01T00:00:00.000Z</Initiated></Upload></ListMultipartUploadsResult>)");
  ASSERT_TRUE(found && found->uploads.size() == 1);
  EXPECT_EQ(found->uploads[0].name, "k!");
  EXPECT_EQ(found->uploads[0].initiated, "2026-01-01T00:00:00.000Z");
}

TEST(S3Xml, DepthAtTheLimitFitsAndOneMoreDoesNot) {
  EXPECT_TRUE(read(nested(max_xml_depth)));
  auto refused = read(nested(max_xml_depth + 1));
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("nested too deep"), std::string::npos);
}

TEST(S3Xml, TextAtTheLimitFitsAndOneByteMoreDoesNot) {
  EXPECT_TRUE(read("<a>" + std::string(max_xml_text, 'x') + "</a>"));
  EXPECT_FALSE(read("<a>" + std::string(max_xml_text + 1, 'x') + "</a>"));
}

TEST(S3Xml, AnAnswerAtTheLimitFitsAndOneByteMoreDoesNot) {
  EXPECT_TRUE(read("<a/>" + std::string(max_xml_bytes - 4, ' ')));
  EXPECT_FALSE(read("<a/>" + std::string(max_xml_bytes - 3, ' ')));
}

TEST(S3Xml, EntitiesAreRefused) {
  EXPECT_FALSE(read(R"(<!DOCTYPE a [<!ENTITY b "bbbb">]><a>&b;</a>)"));
  EXPECT_FALSE(read(R"(<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>)"));
}

TEST(S3Xml, WhatIsWrittenIsReadAgain) {
  std::string text = R"(<"a" & 'b'>)", got;
  ASSERT_TRUE(read_xml("<a>" + xml_escape(text) + "</a>", [&](auto, auto t) { got = t; }));
  EXPECT_EQ(got, text);
}

}  // namespace
}  // namespace mayfly::s3
