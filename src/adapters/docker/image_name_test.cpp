#include "adapters/docker/image_name.h"

#include <gtest/gtest.h>

namespace mayfly::docker {
namespace {

TEST(ImageNames, AreReadAsPeopleWriteThem) {
  auto digest = "sha256:" + std::string(64, 'a');
  EXPECT_EQ(parse_image_name("debian"), (ImageName{"debian", "latest"}));
  EXPECT_EQ(parse_image_name("debian:12"), (ImageName{"debian", "12"}));
  EXPECT_EQ(parse_image_name("ghcr.io/acme/build:1.2"), (ImageName{"ghcr.io/acme/build", "1.2"}));
  EXPECT_EQ(parse_image_name("localhost:5000/tool"), (ImageName{"localhost:5000/tool", "latest"}));
  EXPECT_EQ(parse_image_name("localhost:5000/tool:v1"), (ImageName{"localhost:5000/tool", "v1"}));
  EXPECT_EQ(parse_image_name("tool@" + digest), (ImageName{"tool", digest}));
  EXPECT_EQ(parse_image_name("tool:1@" + digest), (ImageName{"tool", digest})) << "the digest is what counts";
}

TEST(ImageNames, AreWrittenAsTheEngineTakesThem) {
  EXPECT_EQ(to_string(ImageName{"debian", "12"}), "debian:12");
  EXPECT_EQ(to_string(ImageName{"tool", "sha256:abc"}), "tool@sha256:abc");
}

TEST(ImageNames, CannotBeAnythingElse) {
  for (auto text : {"", ":12", "debian:", "a b", "/etc", "a//b", "../x", "x?tag=1", "x&fromSrc=-", "a\nb", "tool@", "tool@sha256", "-x", "x/"}) EXPECT_FALSE(parse_image_name(text)) << text;
  EXPECT_TRUE(parse_image_name(std::string(max_image_name_bytes, 'a')));
  EXPECT_FALSE(parse_image_name(std::string(max_image_name_bytes + 1, 'a')));
}

}  // namespace
}  // namespace mayfly::docker
