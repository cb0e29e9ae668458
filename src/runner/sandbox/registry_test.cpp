#include "runner/sandbox/registry.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "adapters/sandbox/tools.h"
#include "runner/sandbox/testing/sandbox_fixture.h"

namespace mayfly {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

void must_run(const std::string& command) {
  if (std::system(("(" + command + ") >/dev/null 2>&1").c_str()) != 0) throw std::runtime_error("failed: " + command);
}

TEST(RegistryImage, IsReadAsEnginesReadIt) {
  auto sha = "sha256:" + std::string(64, 'a');
  EXPECT_EQ(parse_registry_image("debian"), (RegistryImage{"docker.io", "library/debian", "latest", ""}));
  EXPECT_EQ(parse_registry_image("team/tool:1.2-x"), (RegistryImage{"docker.io", "team/tool", "1.2-x", ""}));
  EXPECT_EQ(parse_registry_image("ghcr.io/a/b/c:v1"), (RegistryImage{"ghcr.io", "a/b/c", "v1", ""}));
  EXPECT_EQ(parse_registry_image("127.0.0.1:5000/img"), (RegistryImage{"127.0.0.1:5000", "img", "latest", ""}));
  EXPECT_EQ(parse_registry_image("registry.example/team/img:old@" + sha), (RegistryImage{"registry.example", "team/img", "", sha}));
  for (auto wrong : {"", ":tag", "a b", "debian:", "debian:a/b", "Debian", "-x/y", "a//b", "../x", "x/../y", "debian@sha256:12", "debian@md5:aa", "host.example/", "a\nb", "$(id)", "a:b:c"})
    EXPECT_FALSE(parse_registry_image(wrong)) << wrong;
}

TEST(Registry, OnlyPublicNamesAndWhatTheOperatorNamesAreAsked) {
  RegistryOptions none, named{.registries = {"http://127.0.0.1:5000", "registry:5000"}};
  for (auto host : {"docker.io", "ghcr.io", "registry.example.com:8443", "cafe.de", "abc.ed"}) EXPECT_TRUE(may_ask(host, none)) << host;
  for (auto host : {"127.0.0.1:5000", "10.0.0.1", "169.254.169.254", "localhost", "localhost:5000", "a.localhost", "registry:5000", "[::1]:5000", "2130706433.0", "0x7f.1", "metadata.google.internal", "nas.local", "localhost.:1"})
    EXPECT_FALSE(may_ask(host, none)) << host;
  EXPECT_TRUE(may_ask("127.0.0.1:5000", named));
  EXPECT_TRUE(may_ask("registry:5000", named));
  EXPECT_FALSE(may_ask("127.0.0.1:5001", named));
}

TEST(Registry, MirrorsAndPlainHttpAreSkopeosConfiguration) {
  EXPECT_EQ(registries_conf({.registries = {"http://127.0.0.1:5000", "registry.corp"}, .mirrors = {{"docker.io", "http://cache.corp:5000/"}}}),
            "unqualified-search-registries = []\n"
            "[[registry]]\nlocation = \"docker.io\"\n[[registry.mirror]]\nlocation = \"cache.corp:5000\"\ninsecure = true\n"
            "[[registry]]\nlocation = \"127.0.0.1:5000\"\ninsecure = true\n");
}

TEST(Registry, ErrorsAreToldApart) {
  auto code = [](const char* said) { return registry_error("img", said).code; };
  EXPECT_EQ(code("reading manifest 1 in h/x: manifest unknown: manifest unknown"), Errc::not_found);
  EXPECT_EQ(code("reading manifest 1: name unknown: repository name not known to registry"), Errc::not_found);
  EXPECT_EQ(code("requested access to the resource is denied"), Errc::forbidden);
  EXPECT_EQ(code("unauthorized: authentication required"), Errc::forbidden);
  EXPECT_EQ(code("toomanyrequests: You have reached your pull rate limit"), Errc::rate_limited);
  EXPECT_EQ(code("dial tcp 127.0.0.1:5059: connect: connection refused"), Errc::unavailable);
  EXPECT_EQ(code("write layout/blobs: no space left on device"), Errc::unavailable);
  EXPECT_THAT(registry_error("img", "no space left on device").message, HasSubstr("disk of the pool's machine is full"));
  EXPECT_EQ(code("(Mirrors also failed: [m/x:1: manifest unknown]): docker.io/x:1: dial tcp: lookup registry-1.docker.io: no such host"), Errc::unavailable) << "the mirror's word is not the last";
}

/// Debian's docker-registry on loopback, one for all tests here.
class Registries : public SandboxTest {
 protected:
  static void SetUpTestSuite() {
    if (missing()) return;
    directory_ = new TempDir;
    port_ = 20000 + getpid() % 20000;
    serve();
    make_image("one", "echo one > etc/which");
    push("one", "library/tiny:1");
  }
  static void TearDownTestSuite() {
    stop();
    delete std::exchange(directory_, nullptr);
  }
  void SetUp() override {
    if (auto program = missing()) GTEST_SKIP() << program << " is not installed: run scripts/install-deps";
  }

  static const char* missing() {
    for (auto program : {"docker-registry", "skopeo", "umoci", "busybox"})
      if (find_program(program).empty()) return program;
    return nullptr;
  }
  static void serve() {
    std::ofstream(directory_->file("config.yml")) << "version: 0.1\nlog: {accesslog: {disabled: true}, level: error}\nstorage: {filesystem: {rootdirectory: " << directory_->file("data")
                                                  << "}}\nhttp: {addr: \"" << host() << "\"}\n";
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (!freopen(directory_->file("log").c_str(), "a", stdout) || !freopen(directory_->file("log").c_str(), "a", stderr)) _exit(1);
      execlp("docker-registry", "docker-registry", "serve", directory_->file("config.yml").c_str(), nullptr);
      _exit(127);
    }
    for (int i = 0; i < 1000; ++i, usleep(10'000))
      if (std::system(("python3 -c \"import urllib.request; urllib.request.urlopen('http://" + host() + "/v2/')\" 2>/dev/null").c_str()) == 0) return;
    throw std::runtime_error("docker-registry does not answer");
  }
  static void stop() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(std::exchange(pid_, -1), nullptr, 0);
  }
  static std::string host() { return "127.0.0.1:" + std::to_string(port_); }

  /// A layout's image of that tag: busybox, and what `script` makes in its root.
  static void make_image(const std::string& tag, const std::string& script) {
    auto layout = directory_->file("layout"), image = layout + ":" + tag, bundle = directory_->file("bundle");
    must_run("[ -e " + layout + " ] || umoci init --layout " + layout);
    must_run("rm -rf " + bundle + "; umoci new --image " + image + " && umoci unpack --image " + image + " " + bundle + " && cd " + bundle +
             "/rootfs && mkdir -p bin etc && cp /bin/busybox bin/ && for n in sh cat ls id stat; do ln -sf busybox bin/$n; done && " + script + " && umoci repack --image " + image + " " + bundle +
             " && umoci config --image " + image + " --config.env IMAGE_SAYS=" + tag);
  }
  static void push(const std::string& tag, const std::string& name) {
    must_run("skopeo --insecure-policy copy --dest-tls-verify=false oci:" + directory_->file("layout") + ":" + tag + " docker://" + host() + "/" + name);
  }

  SandboxSpec from_registry(const std::string& image) {
    auto spec = make_spec();
    spec.image = image;
    spec.registries = {.registries = {"http://" + host()}, .mirrors = {{"docker.io", "http://" + host()}}};
    spec.say = [this](std::string line) { said_ += line + "\n"; };
    return spec;
  }

  static TempDir* directory_;
  static int port_;
  static pid_t pid_;
  std::string said_;
};
TempDir* Registries::directory_ = nullptr;
int Registries::port_ = 0;
pid_t Registries::pid_ = -1;

TEST_F(Registries, GiveAJobItsRootAndItsEnvironment) {
  auto spec = from_registry(host() + "/library/tiny:1");
  EXPECT_EQ(run_job(spec, "cat /etc/which; echo $IMAGE_SAYS; cat /workspace/x 2>/dev/null").output, "one\none\n");
  EXPECT_THAT(said_, HasSubstr("pulling " + host() + "/library/tiny:1 (sha256:"));
  EXPECT_THAT(said_, HasSubstr(" MiB in "));
  said_.clear();
  run_job(from_registry(host() + "/library/tiny:1"), "true");
  EXPECT_THAT(said_, testing::AllOf(HasSubstr("which is here"), Not(HasSubstr("pulling"))));
}

TEST_F(Registries, AreMirroredUnderTheNameOfTheOriginal) { EXPECT_EQ(run_job(from_registry("tiny:1"), "cat /etc/which").output, "one\n"); }

TEST_F(Registries, SayThatThereIsNoSuchImage) {
  auto job = try_start(from_registry(host() + "/library/nothing:1"), "true");
  ASSERT_FALSE(job);
  EXPECT_EQ(job.error().code, Errc::not_found);
  EXPECT_EQ(job.error().message, "image: there is no " + host() + "/library/nothing:1");
  EXPECT_EQ(try_start(from_registry("10.0.0.1/x"), "true").error().code, Errc::forbidden);
  EXPECT_EQ(try_start(from_registry("No Name"), "true").error().code, Errc::invalid);
}

TEST_F(Registries, ThatAreAwayAreAskedAgainAndWhatIsHereIsUsed) {
  ImageStore store(data_.file("sandbox"), {});
  RegistryOptions options{.registries = {"http://" + host()}};
  auto name = *parse_registry_image(host() + "/library/tiny:1");
  Pull pull{.options = options, .store = store, .directory = store.directory(), .say = [this](std::string line) { said_ += line + "\n"; }, .pause = std::chrono::milliseconds(10)};
  ASSERT_TRUE(pull_image(name, pull));
  stop();
  // What the tag meant a moment ago it means still.
  EXPECT_TRUE(pull_image(name, pull));
  auto long_ago = fs::file_time_type::clock::now() - std::chrono::hours(2);
  for (auto& file : fs::directory_iterator(store.directory()))
    if (file.path().filename().string().starts_with("tag-")) fs::last_write_time(file, long_ago);
  said_.clear();
  EXPECT_TRUE(pull_image(name, pull));
  EXPECT_THAT(said_, testing::AllOf(HasSubstr("does not answer"), HasSubstr("asked again in"), HasSubstr("ago is used")));
  auto other = pull_image(*parse_registry_image(host() + "/library/other:1"), pull);
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, Errc::unavailable);
  serve();
}

TEST_F(Registries, ATagIsTheSameImageForAWhile) {
  make_image("moving-1", "echo first > etc/which");
  make_image("moving-2", "echo second > etc/which");
  push("moving-1", "library/moving:1");
  EXPECT_EQ(run_job(from_registry("moving:1"), "cat /etc/which").output, "first\n");
  push("moving-2", "library/moving:1");
  EXPECT_EQ(run_job(from_registry("moving:1"), "cat /etc/which").output, "first\n") << "jobs of one build see one image";
  auto long_ago = fs::file_time_type::clock::now() - tag_memory - std::chrono::seconds(1);
  for (auto& file : fs::directory_iterator(data_.file("sandbox/images")))
    if (file.path().filename().string().starts_with("tag-")) fs::last_write_time(file, long_ago);
  EXPECT_EQ(run_job(from_registry("moving:1"), "cat /etc/which").output, "second\n");
}

TEST_F(Registries, AnImageIsPulledOnceHoweverManyWantIt) {
  std::vector<std::string> said(4);
  {
    std::vector<std::jthread> threads;
    for (auto& mine : said)
      threads.emplace_back([&, options = RegistryOptions{.registries = {"http://" + host()}}] {
        ImageStore store(data_.file("sandbox"), {});
        auto image = pull_image(*parse_registry_image(host() + "/library/tiny:1"), {.options = options, .store = store, .directory = store.directory(), .say = [&](std::string line) { mine += line + "\n"; }});
        EXPECT_TRUE(image);
      });
  }
  EXPECT_EQ(std::ranges::count_if(said, [](auto& text) { return text.contains("pulled "); }), 1);
}

TEST_F(Registries, AStopEndsAPullThatWaits) {
  ImageStore store(data_.file("sandbox"), {});
  RegistryOptions options{.registries = {"http://127.0.0.1:1"}};
  std::stop_source stop;
  Pull pull{.options = options, .store = store, .directory = store.directory(), .say = [&](std::string) { stop.request_stop(); }, .stop = stop.get_token(), .pause = std::chrono::hours(1)};
  auto pulled = pull_image(*parse_registry_image("127.0.0.1:1/x"), pull);
  ASSERT_FALSE(pulled);
  EXPECT_EQ(pulled.error().code, Errc::canceled);
}

TEST_F(Registries, LayersAreUnpackedWithoutPrivilege) {
  make_image("hostile", "mknod etc/null c 1 3; cp bin/busybox bin/suid && chmod 4755 bin/suid; chown 123:123 etc; ln -s /etc/shadow etc/link; ln -s / etc/up");
  push("hostile", "library/hostile:1");
  auto spec = from_registry("hostile:1");
  auto job = run_job(spec, "stat -c '%F %u' /etc/null; cat /etc/link 2>&1; id -u");
  EXPECT_THAT(job.output, testing::AllOf(HasSubstr("regular empty file"), Not(HasSubstr("root:")), HasSubstr("1000\n")));
  if (geteuid() != 0) return;
  for (auto& entry : fs::recursive_directory_iterator(data_.file("sandbox/images"))) {
    struct stat st;
    if (lstat(entry.path().c_str(), &st) != 0 || entry.path().string().find("/images/use-") != std::string::npos) continue;
    EXPECT_FALSE(S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) << entry.path();
    EXPECT_FALSE((st.st_mode & S_ISUID) && st.st_uid == 0) << entry.path();
  }
}

TEST_F(Registries, AnImageThatIsTooLargeUnpackedIsRefused) {
  make_image("bomb", "head -c 40000000 /dev/zero > zeros");
  push("bomb", "library/bomb:1");
  ImageStore small(data_.file("sandbox"), {.image_bytes = 20 << 20}), large(data_.file("sandbox"), {.image_bytes = 60 << 20});
  RegistryOptions options{.registries = {"http://" + host()}};
  auto name = *parse_registry_image(host() + "/library/bomb:1");
  auto refused = pull_image(name, {.options = options, .store = small, .directory = small.directory()});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::too_large);
  EXPECT_TRUE(pull_image(name, {.options = options, .store = large, .directory = large.directory()}));
}

TEST_F(Registries, TheLongestUnusedImageGoesAndNoneInUse) {
  auto limit = ImageStore::Options{.limit_bytes = 5 << 20};   // two of them
  ImageStore store(data_.file("sandbox"), limit);
  RegistryOptions options{.registries = {"http://" + host()}};
  std::vector<Image> held;
  auto get = [&](const std::string& tag) {
    make_image(tag, "head -c 100000 /dev/urandom > etc/random");
    push(tag, "library/" + tag + ":1");
    auto image = pull_image(*parse_registry_image(host() + "/library/" + tag + ":1"), {.options = options, .store = store, .directory = store.directory()});
    if (!image) throw std::runtime_error(image.error().message);
    return *std::move(image);
  };
  auto in_use = get("lru-a");
  auto b = get("lru-b").root;
  auto c = get("lru-c").root;
  EXPECT_TRUE(fs::exists(in_use.root)) << "the oldest, and in use";
  EXPECT_FALSE(fs::exists(b));
  EXPECT_TRUE(fs::exists(c));
  EXPECT_LE(store.bytes(), 5 << 20);
}

}  // namespace
}  // namespace mayfly
