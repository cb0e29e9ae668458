// Services beside jobs, with the real mayfly-init in their sandboxes.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>

#include "adapters/sandbox/tools.h"
#include "adapters/sandbox/unique_fd.h"
#include "runner/control/service.h"
#include "runner/sandbox/testing/sandbox_fixture.h"

namespace mayfly {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Service : public EveryIsolation {
 protected:
  /// A job whose first process runs this script, with these services on the host's own programs.
  SandboxSpec beside(std::vector<ServiceSpec> services) {
    auto spec = make_spec();
    spec.init_path = MAYFLY_STATIC_INIT;
    spec.pids = 256;
    spec.services = std::move(services);
    spec.say = [this](std::string line) { said_.push_back(std::move(line)); };
    return spec;
  }
  static ServiceSpec host(std::string name, std::string run, std::string ready = "") { return {.name = std::move(name), .image = "host", .run = std::move(run), .env = {}, .ready = std::move(ready)}; }

  /// A sandbox whose init waits for a job it is never given; the control end is kept.
  std::unique_ptr<Sandbox> launch(SandboxSpec spec) {
    int control[2], log[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control) != 0 || pipe2(log, O_CLOEXEC) != 0) throw std::runtime_error("no socket");
    control_ = UniqueFd(control[0]);
    UniqueFd inner(control[1]), log_reader(log[0]), log_writer(log[1]);
    spec.control_fd = inner.get();
    spec.log_fd = log_writer.get();
    auto sandbox = loop_.run(launch_sandbox(loop_.loop(), std::move(spec)));
    if (!sandbox) throw std::runtime_error(sandbox.error().message);
    return *std::move(sandbox);
  }

  std::optional<ServiceFailure> started(Sandbox& sandbox) { return loop_.run(sandbox.start_services()); }
  /// What a job's process that runs beside finds: here by a service of its own, since the job's init has no job.
  static std::string python(const std::string& code) { return "python3 -c '" + code + "'"; }

  UniqueFd control_;
  std::vector<std::string> said_;
};

MAYFLY_ON_EVERY_ISOLATION(Service);

constexpr const char* greets = "import socket; s = socket.create_server((\"127.0.0.1\", 7000))\nwhile 1: s.accept()[0].sendall(b\"hello\")";

TEST_P(Service, IsReachedByItsNameWithoutAnyNetwork) {
  auto not_here = " && test \"$(readlink /proc/self/ns/net)\" != '" + std::filesystem::read_symlink("/proc/self/ns/net").string() + "'";
  auto sandbox = launch(beside({host("greeter", python(greets)), host("guest", "sleep 1000", python("import socket; assert socket.create_connection((\"greeter\", 7000), 2).recv(5) == b\"hello\"") + not_here)}));
  auto failure = started(*sandbox);
  EXPECT_FALSE(failure) << failure->what;
  EXPECT_THAT(said_, testing::UnorderedElementsAre(HasSubstr("the service 'greeter' is ready after"), HasSubstr("the service 'guest' is ready after")));
}

TEST_P(Service, LivesInAWorldOfItsOwn) {
  auto spec = beside({host("one", "touch /tmp/mine; echo $HOME $SECRET $(cat /etc/hostname); ls /tmp; ps -e | wc -l; id -u; exit 1", "false"), host("two", "touch /tmp/other; sleep 1000")});
  spec.services[0].env = {{"SECRET", "own"}};
  auto sandbox = launch(spec);
  auto failure = started(*sandbox);
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->name, "one");
  EXPECT_EQ(failure->reason, Reason::service);
  EXPECT_EQ(failure->what, "the service 'one' exited with 1 before it was ready");
  EXPECT_FALSE(failure->again);
  ASSERT_EQ(failure->last_lines.size(), 4u) << testing::PrintToString(failure->last_lines);
  EXPECT_EQ(failure->last_lines[0], "/home/mayfly own one");
  EXPECT_EQ(failure->last_lines[1], "mine");
  EXPECT_LE(std::stoi(failure->last_lines[2]), 6) << "no process of the job or of the other service";
  EXPECT_EQ(failure->last_lines[3], "1000");
}

TEST_P(Service, MayOpenLowPorts) {
  auto sandbox = launch(beside({host("web", python("import socket, time; s = socket.create_server((\"0.0.0.0\", 80)); time.sleep(1000)"), python("import socket; socket.create_connection((\"web\", 80), 2)"))}));
  auto failure = started(*sandbox);
  EXPECT_FALSE(failure) << failure->what << testing::PrintToString(failure->last_lines);
}

TEST_P(Service, ThatEndsLaterIsTold) {
  auto sandbox = launch(beside({host("db", "until [ -e /tmp/go ]; do sleep 0.01; done; sleep 1; echo out of ideas; exit 3", "touch /tmp/go"), host("other", "sleep 1000")}));
  auto early = started(*sandbox);
  ASSERT_FALSE(early) << early->what;
  auto failure = loop_.run(sandbox->service_ended());
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->what, "the service 'db' exited with 3 while the job ran");
  EXPECT_THAT(failure->last_lines, ElementsAre("out of ideas"));
}

TEST_P(Service, ThatEatsTheMemoryIsToldApart) {
  auto spec = beside({host("hog", "until [ -e /tmp/go ]; do sleep 0.01; done; exec python3 -c 'x = bytearray(1 << 30)'", "touch /tmp/go")});
  auto sandbox = launch(spec);
  ASSERT_FALSE(started(*sandbox));
  auto failure = loop_.run(sandbox->service_ended());
  ASSERT_TRUE(failure);
  if (!sandbox->out_of_memory()) GTEST_SKIP() << "no memory limit holds on this machine";
  EXPECT_EQ(failure->what, "the service 'hog' was killed while the job ran: it and the job ran out of memory, their limit is 256 MiB");
}

TEST_P(Service, EndsWithTheJob) {
  auto spec = beside({host("db", "setsid sleep 1000 & touch /tmp/up; sleep 1000", "[ -e /tmp/up ]")});
  auto sandbox = launch(spec);
  ASSERT_FALSE(started(*sandbox));
  auto runs = [&] {   // anything of the attempt, which its cgroup has
    for (auto& entry : std::filesystem::directory_iterator("/proc"))
      if (read_whole(entry.path() / "cgroup").contains(spec.attempt.str())) return true;
    return false;
  };
  if (geteuid() == 0) EXPECT_TRUE(runs());
  control_.reset();   // its init ends
  ASSERT_TRUE(loop_.run(sandbox->wait()));
  sandbox.reset();
  for (int i = 0; i < 500 && runs(); ++i) usleep(10'000);   // the kernel's own tidying up
  EXPECT_FALSE(runs());
}

TEST_P(Service, WritesToItsOwnFilesOnTheJobsDisk) {
  auto sandbox = launch(beside({host("db", "dd if=/dev/zero of=/tmp/fill bs=1M count=200 2>&1 | tail -1; exit 0", "false")}));
  ASSERT_TRUE(started(*sandbox));
  if (geteuid() == 0) {
    EXPECT_TRUE(sandbox->disk_full());
  }
  EXPECT_TRUE(std::filesystem::is_empty(sandbox->paths().workspace_host));
}

TEST_P(Service, WithAnImageThatIsNotThereSaysSo) {
  auto spec = beside({{.name = "db", .image = "/no/such/image", .run = "x", .env = {}, .ready = {}}});
  auto sandbox = launch(spec);
  auto failure = started(*sandbox);
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->reason, Reason::image_pull);
  EXPECT_FALSE(failure->again);
  EXPECT_THAT(failure->what, HasSubstr("the service 'db' could not be started: image: /no/such/image"));
}

TEST_P(Service, OfAnImageRunsWhatTheImageSaysWithWhatItSays) {
  for (auto program : {"skopeo", "umoci", "busybox"})
    if (find_program(program).empty()) GTEST_SKIP() << program << " is not installed";
  auto images = data_.file("images"), layout = images + "/layout", image = layout + ":one", bundle = data_.file("bundle");
  auto must = [](const std::string& command) { ASSERT_EQ(std::system(("(" + command + ") >/dev/null 2>&1").c_str()), 0) << command; };
  must("mkdir -p " + images + " && umoci init --layout " + layout + " && umoci new --image " + image + " && umoci unpack --image " + image + " " + bundle);
  must("cd " + bundle + "/rootfs && mkdir -p bin etc var/lib/db data home && cp /bin/busybox bin/ && for n in sh cat ls id touch httpd wget sleep grep; do ln -s busybox bin/$n; done && echo page > data/index.html && chown 70:70 var/lib/db");
  std::ofstream(bundle + "/rootfs/bin/entry") << "#!/bin/sh\nset -e\n[ $GREETING = hi ]\ntouch $PWD/in-the-directory /var/lib/db/of-its-user /vol/of-a-volume\nexec \"$@\"\n";
  must("chmod 755 " + bundle + "/rootfs/bin/entry && umoci repack --image " + image + " " + bundle);
  must("umoci config --image " + image + " --config.env GREETING=hi --config.entrypoint entry --config.cmd httpd --config.cmd -f --config.cmd -p --config.cmd 80 --config.workingdir /data --config.volume /vol --config.user 70");
  auto spec = beside({{.name = "web", .image = "oci:" + image, .run = {}, .env = {}, .ready = "wget -q -O - http://web/ | grep page"}});
  spec.image_directories = {images};
  auto sandbox = launch(spec);
  auto failure = started(*sandbox);
  EXPECT_FALSE(failure) << failure->what << testing::PrintToString(failure->last_lines);
}

}  // namespace
}  // namespace mayfly
