#include "runner/sandbox/image.h"

#include <fstream>
#include <thread>

#include "adapters/sandbox/tools.h"
#include "runner/sandbox/testing/sandbox_fixture.h"

namespace mayfly {
namespace {

namespace fs = std::filesystem;

void must_run(const std::string& command) {
  if (std::system((command + " >/dev/null 2>&1").c_str()) != 0) throw std::runtime_error("failed: " + command);
}

/// Busybox and a few files: an image made on the spot.
void make_root(const std::string& root) {
  must_run("mkdir -p " + root + "/bin " + root + "/etc " + root + "/usr/local && cp /bin/busybox " + root + "/bin/ && ln -s busybox " + root +
           "/bin/sh && ln -s busybox " + root + "/bin/cat && ln -s busybox " + root + "/bin/id && ln -s busybox " + root + "/bin/ls");
  std::ofstream(root + "/etc/os-release") << "NAME=test-image\n";
  std::ofstream(root + "/etc/passwd") << "root:x:0:0::/:/bin/sh\nmayfly:x:7:7::/:/bin/false\n";
}

class Image : public SandboxTest {
 protected:
  void SetUp() override {
    for (auto program : {"skopeo", "umoci", "busybox"})
      if (find_program(program).empty()) GTEST_SKIP() << program << " is not installed";
    fs::create_directories(images_);
    make_root(images_ + "/root");
  }

  /// images_/layout with the image under each tag.
  std::string make_layout(std::initializer_list<const char*> tags) {
    auto layout = images_ + "/layout", bundle = data_.file("bundle");
    must_run("umoci init --layout " + layout);
    for (auto tag : tags) {
      auto image = layout + ":" + tag;
      must_run("rm -rf " + bundle + " && umoci new --image " + image + " && umoci unpack --image " + image + " " + bundle + " && cp -a " + images_ + "/root/. " +
               bundle + "/rootfs/ && echo " + tag + " > " + bundle + "/rootfs/etc/tag && umoci repack --image " + image + " " + bundle);
    }
    return layout;
  }

  SandboxSpec with_image(const std::string& image) {
    auto spec = make_spec();
    spec.image = image;
    spec.image_directories = {images_};
    return spec;
  }

  Result<std::string> root_of(const ImageRef& ref) {
    ImageStore store(data_.file("sandbox"), {});
    TRY_ASSIGN(auto image, open_image(ref, store));
    return image.root;
  }

  Error refusal(const SandboxSpec& spec) {
    auto job = try_start(spec, "true");
    return job ? Error{Errc::internal, "it was started", ""} : job.error();
  }

  std::string images_ = data_.file("images");
};

TEST_F(Image, ADirectoryIsTheRootOfTheJob) {
  auto job = run_job(with_image(images_ + "/root"), "cat /etc/os-release; id -un; echo >/usr/local/made && ls /usr/local");
  EXPECT_EQ(job.output, "NAME=test-image\nmayfly\nmade\n");
  EXPECT_FALSE(fs::exists(images_ + "/root/usr/local/made"));
  EXPECT_FALSE(fs::exists(images_ + "/root/workspace"));
}

TEST_F(Image, OfAnOciLayoutIsChosenByTag) {
  auto layout = make_layout({"one", "two"});
  EXPECT_EQ(run_job(with_image("oci:" + layout + ":two"), "cat /etc/tag").output, "two\n");
  EXPECT_EQ(run_job(with_image("oci:" + layout + ":one"), "cat /etc/tag").output, "one\n");
  EXPECT_EQ(refusal(with_image("oci:" + layout + ":three")).code, Errc::not_found);
  auto ambiguous = refusal(with_image("oci:" + layout));
  EXPECT_EQ(ambiguous.code, Errc::not_found);
  EXPECT_NE(ambiguous.hint, "");
}

TEST_F(Image, OfAnArchiveIsUnpackedToo) {
  auto layout = make_layout({"one"});
  auto archive = images_ + "/image.tar";
  must_run("skopeo copy --insecure-policy oci:" + layout + ":one oci-archive:" + archive + ":one");
  EXPECT_EQ(run_job(with_image("oci:" + archive), "cat /etc/tag").output, "one\n");
}

TEST_F(Image, IsUnpackedOnceHoweverManyWantIt) {
  auto layout = make_layout({"one"});
  auto ref = resolve_image("oci:" + layout, {images_});
  ASSERT_TRUE(ref) << ref.error().message;
  std::vector<Result<std::string>> roots(6, fail(Errc::internal, "not run"));
  {
    std::vector<std::jthread> threads;
    for (auto& root : roots) threads.emplace_back([&] { root = root_of(*ref); });
  }
  for (auto& root : roots) {
    ASSERT_TRUE(root) << root.error().message;
    EXPECT_EQ(*root, *roots[0]);
  }
  struct stat first, again;
  ASSERT_EQ(stat(roots[0]->c_str(), &first), 0);
  ASSERT_EQ(stat(root_of(*ref)->c_str(), &again), 0);
  EXPECT_EQ(first.st_ino, again.st_ino);
}

TEST_F(Image, HalfUnpackedIsNeverUsed) {
  auto layout = make_layout({"one"});
  auto ref = *resolve_image("oci:" + layout, {images_});
  auto cache = data_.file("sandbox");
  auto root = *root_of(ref);
  auto key = fs::path(root).filename().string();
  fs::remove_all(root);
  // As it is left by an unpacker that was killed.
  fs::create_directories(cache + "/images/partial-" + key + "/bundle/rootfs/bin");
  EXPECT_EQ(run_job(with_image("oci:" + layout), "cat /etc/tag").output, "one\n");
  EXPECT_FALSE(fs::exists(cache + "/images/partial-" + key));
}

TEST_F(Image, WithABlobThatIsNotWhatItSaysIsRefused) {
  auto layout = make_layout({"one"});
  fs::path largest;
  for (auto& blob : fs::directory_iterator(layout + "/blobs/sha256"))
    if (largest.empty() || blob.file_size() > fs::file_size(largest)) largest = blob.path();
  fs::permissions(largest, fs::perms::owner_all);
  std::fstream file(largest, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(1000);
  file << "tampered";
  file.close();
  EXPECT_EQ(refusal(with_image("oci:" + layout)).code, Errc::corrupt);
  EXPECT_EQ(refusal(with_image("oci:" + layout)).code, Errc::corrupt) << "nothing of the first try is used";
}

TEST_F(Image, MustLieWhereTheOperatorAllowsImages) {
  auto spec = with_image(images_ + "/root");
  spec.image_directories = {};
  EXPECT_EQ(refusal(spec).code, Errc::unsupported);
  EXPECT_NE(refusal(spec).hint, "");
  EXPECT_EQ(refusal(with_image("/")).code, Errc::unsupported);
  EXPECT_EQ(refusal(with_image("/etc")).code, Errc::unsupported);
  EXPECT_EQ(refusal(with_image(images_ + "/../../etc")).code, Errc::unsupported);
  EXPECT_EQ(refusal(with_image(images_ + "-of-others")).code, Errc::unsupported);
  fs::create_directory_symlink("/etc", images_ + "/link");
  EXPECT_EQ(refusal(with_image(images_ + "/link")).code, Errc::unsupported);
}

TEST_F(Image, ThatIsNoneIsRefused) {
  EXPECT_EQ(refusal(with_image("oci:relative/path")).code, Errc::unsupported);
  EXPECT_EQ(refusal(with_image(images_ + "/absent")).code, Errc::not_found);
}

TEST_F(Image, CannotPointAtTheHostThroughItsOwnSymlinks) {
  auto root = images_ + "/root";
  fs::remove(root + "/etc/passwd");
  fs::create_symlink("/etc/shadow", root + "/etc/passwd");
  for (auto name : {"/tmp", "/run", "/proc", "/workspace"}) fs::create_directory_symlink("/etc", root + name);
  auto job = run_job(with_image(root), "cat /etc/passwd; echo x > /tmp/x && ls /tmp /workspace; ls /proc/self/exe >/dev/null && echo proc");
  EXPECT_THAT(job.output, testing::Not(testing::HasSubstr("root:$")));
  EXPECT_THAT(job.output, testing::HasSubstr("mayfly:x:1000:"));
  EXPECT_THAT(job.output, testing::HasSubstr("proc\n"));
  EXPECT_FALSE(fs::exists("/etc/x"));
}

}  // namespace
}  // namespace mayfly
