// Attempts to get out of a sandbox. Each runs twice: against all defences, where it must fail, and without the one that is
// meant against it, where it must succeed; else the test would prove nothing.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "adapters/sandbox/unique_fd.h"
#include "runner/sandbox/testing/sandbox_fixture.h"

namespace mayfly {
namespace {

using testing::HasSubstr;
using testing::Not;

/// Where an attack that has won says so.
constexpr const char* won = "ESCAPED";

struct Attack {
  const char* name;
  Defences with;       // what stands in its way
  Defences without;    // the same, less what it is about
  const char* script;  // sh; see the variables in prelude()
};


void PrintTo(const Attack& attack, std::ostream* out) { *out << attack.name; }

/// A process of this machine, of our uid, that waits to be attacked.
class Victim final {
 public:
  Victim() : pid_(fork()) {
    if (pid_ == 0)
      for (;;) pause();
  }
  ~Victim() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

/// A server on a unix socket, as a container engine has it: whoever connects owns the machine.
UniqueFd listen_on(const std::string& name, bool abstract) {
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  name.copy(at.sun_path + (abstract ? 1 : 0), sizeof at.sun_path - 2);
  auto size = offsetof(sockaddr_un, sun_path) + name.size() + 1;
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&at), socklen_t(size)), 0);
  EXPECT_EQ(listen(fd.get(), 8), 0);
  return fd;
}

class Escape : public SandboxTest {
 protected:
  // Not below /tmp, which a sandbox's first process covers on its way.
  static void SetUpTestSuite() { setenv("TMPDIR", "/var/tmp", 1); }
  static void TearDownTestSuite() { unsetenv("TMPDIR"); }

  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "the attacks are tried as from a server that runs as root; unprivileged_test.cpp has the other case";
    chmod(data_.path().c_str(), 0755);
    std::ofstream(secret_) << "secret\n";
    socket_ = listen_on(data_.file("engine.sock"), false);
    chmod(data_.file("engine.sock").c_str(), 0777);
    abstract_ = listen_on("mayfly-test-" + std::to_string(getpid()), true);
  }

  /// $HOST: what stands before a path of the host, where its root is shown. $PY: python with libc at hand.
  std::string prelude() const {
    return "exec 2>&1; HOST=; [ -d /host ] && HOST=/host; export HOST; SECRET=$HOST" + secret_ + "; SOCKET=$HOST" + data_.file("engine.sock") +
           "; ABSTRACT=mayfly-test-" + std::to_string(getpid()) + "; VICTIM=" + std::to_string(victim_.pid()) + R"sh(
export SOCKET ABSTRACT VICTIM
try() { python3 -c "
import ctypes, os, socket, sys, fcntl, struct
libc = ctypes.CDLL(None, use_errno=True)
def call(*a):
  r = libc.syscall(*a)
  if r < 0: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
  return r
def check(r):
  if r < 0: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
$1
print('ESCAPED')"; }
)sh";
  }

  std::string attack(const std::string& script, Defences defences) { return run_job(make_spec(), prelude() + script, defences).output; }

  std::string secret_ = data_.file("secret");
  Victim victim_;
  UniqueFd socket_, abstract_;
};

/// The same script on the machine itself, as `uid`: what is left of an attack when there is no sandbox at all.
std::string run_outside(uid_t uid, const std::string& script) {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  pid_t pid = fork();
  if (pid == 0) {
    if (uid != 0 && (setgid(uid) != 0 || setuid(uid) != 0)) _exit(1);
    dup2(ends[1], 1);
    dup2(ends[1], 2);
    execl("/bin/sh", "sh", "-c", script.c_str(), nullptr);
    _exit(127);
  }
  close(ends[1]);
  std::string output;
  char buffer[4096];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;) output.append(buffer, std::size_t(n));
  close(ends[0]);
  waitpid(pid, nullptr, 0);
  return output;
}

class Attempt : public Escape, public testing::WithParamInterface<Attack> {};

TEST_P(Attempt, FailsAndWouldNotWithoutItsDefence) {
  auto& attempt = GetParam();
  EXPECT_THAT(attack(attempt.script, attempt.with), Not(HasSubstr(won)));
  auto undefended = attack(attempt.script, attempt.without);
  bool possible = undefended.find(won) != std::string::npos || run_outside(0, prelude() + attempt.script).find(won) != std::string::npos;
  if (!possible) GTEST_SKIP() << "NOT PROVEN: this kernel does not have what the attack needs: " << undefended;
  EXPECT_THAT(undefended, HasSubstr(won)) << "the attack fails for another reason than its defence";
}

constexpr Defences all{};
constexpr Defences no_list{.allow_list = false};
constexpr Defences no_uid{.own_uid = false};
constexpr Defences no_list_no_uid{.own_uid = false, .allow_list = false};
constexpr Defences no_seccomp{.seccomp = false};
constexpr Defences no_seccomp_all_capabilities{.seccomp = false, .no_capabilities = false};
constexpr Defences no_process_namespace{.process_namespace = false};
constexpr Defences no_process_namespace_no_uid{.own_uid = false, .process_namespace = false};
constexpr Defences dumpable_init{.undumpable_init = false};
constexpr Defences host_network{.network_namespace = false};

const Attack on_the_host[] = {
    // Files of the host: two walls, each tried alone.
    {"ReadShadowThroughTheUid", no_list, no_list_no_uid, "cat $HOST/etc/shadow >/dev/null && echo ESCAPED"},
    {"ReadShadowThroughTheAllowList", no_uid, no_list_no_uid, "cat $HOST/etc/shadow >/dev/null && echo ESCAPED"},
    {"ReadAWorldReadableFileOfTheHost", all, no_list, "grep -q secret $SECRET && echo ESCAPED"},
    {"ReadTheServersData", all, no_list_no_uid, "ls $HOST/root $(dirname $SECRET)/runners >/dev/null && echo ESCAPED"},
    {"WriteAFileOfTheHost", no_list, no_list_no_uid, "echo >> $SECRET && echo ESCAPED"},
    {"ConnectToASocketOfTheHost", all, no_list, "try 's = socket.socket(socket.AF_UNIX); s.connect(os.environ[\"SOCKET\"])'"},
    {"ConnectToAnAbstractSocketOfTheHost", all, host_network, "try 's = socket.socket(socket.AF_UNIX); s.connect(chr(0) + os.environ[\"ABSTRACT\"])'"},
    // Processes of the host.
    {"SeeAProcessOfTheHost", all, no_process_namespace, "[ -d /proc/$VICTIM ] && echo ESCAPED"},
    {"SignalAProcessThroughItsNamespace", no_uid, no_process_namespace_no_uid, "kill -0 $VICTIM && echo ESCAPED"},
    {"SignalAProcessThroughTheUid", no_process_namespace, no_process_namespace_no_uid, "kill -0 $VICTIM && echo ESCAPED"},
    // mayfly-init, of the same uid and in the same namespaces.
    {"OpenTheDescriptorsOfInit", all, dumpable_init, "try '\nopened = 0\nfor n in os.listdir(\"/proc/1/fd\"):\n  try: os.open(\"/proc/1/fd/\" + n, os.O_WRONLY); opened += 1\n  except OSError: pass\nassert opened'"},
    {"ReadTheMemoryOfInit", all, dumpable_init, "try 'os.open(\"/proc/1/mem\", os.O_RDWR)'"},
    {"TraceInit", all, dumpable_init, "try 'check(libc.ptrace(0x4206, 1, None, None))'"},
    {"SetThePatternOfCoreFiles", all, no_process_namespace_no_uid, "try 'os.open(\"/proc/sys/kernel/core_pattern\", os.O_WRONLY)'"},
    {"OpenTheSysrqTrigger", all, no_process_namespace_no_uid, "try 'os.open(\"/proc/sysrq-trigger\", os.O_WRONLY)'"},
};

// A job under gVisor may do to its own kernel what it can.
const Attack on_the_kernel[] = {
    {"Mount", all, no_seccomp, "try 'check(libc.unshare(0x10020000)); open(\"/proc/self/uid_map\", \"w\").write(f\"0 {os.getuid()} 1\"); check(libc.mount(b\"x\", b\"/mnt\", b\"tmpfs\", 0, None))'"},
    {"Chroot", all, no_seccomp_all_capabilities, "try 'check(libc.chroot(b\"/tmp\"))'"},
    {"MakeAUserNamespace", all, no_seccomp, "try 'check(libc.unshare(0x10000000))'"},
    {"CloneIntoAUserNamespace", all, no_seccomp, "try '\np = call(56, 0x10000000 | 17, 0, 0, 0, 0)\nif p == 0: os._exit(0)'"},
    {"SetTheHostName", all, no_seccomp, "try 'check(libc.unshare(0x14000000)); check(libc.sethostname(b\"x\", 1))'"},
    {"UseKeyrings", all, no_seccomp, "try 'call(250, 0, -3, 1)'"},
    {"UseUserfaultfd", all, no_seccomp, "try 'call(323, 1)'"},
    {"UseIoUring", all, no_seccomp, "try 'call(425, 8, ctypes.create_string_buffer(120))'"},
    {"TypeIntoATerminal", all, no_seccomp, "try '\nimport pty, termios\nm, s = pty.openpty()\nif os.fork(): os._exit(os.wait()[1])\nos.setsid(); fcntl.ioctl(s, termios.TIOCSCTTY, 0)\nfcntl.ioctl(s, termios.TIOCSTI, b\"x\")'"},
    {"OpenARawSocket", all, no_seccomp, "try 'check(libc.unshare(0x50000000)); socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)'"},
    {"OpenAPacketSocket", all, no_seccomp, "try 'check(libc.unshare(0x50000000)); socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'"},
    {"OpenANetlinkSocketOtherThanForRoutes", all, no_seccomp, "try 'socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15)'"},
    {"OpenAVirtualMachineSocket", all, no_seccomp, "try 'socket.socket(40, socket.SOCK_STREAM)'"},
    {"OpenACryptoSocket", all, no_seccomp, "try 'socket.socket(38, socket.SOCK_SEQPACKET)'"},
};

INSTANTIATE_TEST_SUITE_P(Host, Attempt, testing::ValuesIn(on_the_host), [](auto& info) { return info.param.name; });
INSTANTIATE_TEST_SUITE_P(Kernel, Attempt, testing::ValuesIn(on_the_kernel), [](auto& info) { return info.param.name; });

class AttemptUnderGvisor : public Attempt {
 protected:
  void SetUp() override {
    if (runsc_for_tests().empty()) GTEST_SKIP() << no_runsc;
    isolation_ = "gvisor";
    Attempt::SetUp();
  }
};

TEST_P(AttemptUnderGvisor, Fails) {
  auto output = run_job(make_spec(), "#undumpable\n" + prelude() + GetParam().script + "; echo tried").output;
  EXPECT_THAT(output, testing::AllOf(Not(HasSubstr(won)), HasSubstr("tried")));
}

INSTANTIATE_TEST_SUITE_P(Host, AttemptUnderGvisor, testing::ValuesIn(on_the_host), [](auto& info) { return info.param.name; });

TEST_F(Escape, ASetuidProgramGivesNothing) {
  auto make_setuid = [](const std::string& path) {
    std::filesystem::copy_file("/usr/bin/id", path);
    ASSERT_EQ(chown(path.c_str(), 0, 0), 0);
    ASSERT_EQ(chmod(path.c_str(), 04755), 0);
  };
  make_setuid(data_.file("suid"));
  EXPECT_EQ(run_outside(12345, data_.file("suid") + " -u"), "0\n");
  auto job = start(make_spec(), "until [ -e go ]; do sleep 0.01; done; ./suid -u");
  make_setuid(job.sandbox().paths().workspace_host + "/suid");
  std::ofstream(job.sandbox().paths().workspace_host + "/go") << "";
  EXPECT_EQ(job.finish().output, "1000\n");
  EXPECT_THAT(run_job("su -c id 2>&1; mount -t tmpfs x /mnt 2>&1; grep '^Cap' /proc/self/status; grep NoNewPrivs /proc/self/status").output,
              testing::AllOf(Not(HasSubstr("uid=0")), HasSubstr("CapPrm:\t0000000000000000"), HasSubstr("CapEff:\t0000000000000000"),
                             HasSubstr("CapBnd:\t0000000000000000"), HasSubstr("NoNewPrivs:\t1")));
}

TEST_F(Escape, ADeviceCannotBeMade) {
  auto attack = "mknod ${1:-/tmp}/kmem c 1 11 && echo ESCAPED";
  EXPECT_THAT(run_outside(0, "set -- " + data_.path().string() + "; " + attack), HasSubstr(won));
  EXPECT_THAT(run_job(attack).output, Not(HasSubstr(won)));
  EXPECT_THAT(run_job("ls /dev").output, Not(testing::AnyOf(HasSubstr("vda"), HasSubstr("sda"), HasSubstr("loop"), HasSubstr("kmsg"), HasSubstr("kvm"))));
}

TEST_F(Escape, AProcessOfTheHostCannotBeTraced) {
  auto attack = prelude() + "try 'check(libc.ptrace(16, int(os.environ[\"VICTIM\"]), None, None))'";
  EXPECT_THAT(run_outside(0, attack), HasSubstr(won));
  EXPECT_THAT(run_job(attack).output, Not(HasSubstr(won)));
  EXPECT_THAT(run_job(make_spec(), attack, no_process_namespace_no_uid).output, Not(HasSubstr(won))) << "the user namespace is a wall too";
}

TEST_F(Escape, AJobMayTraceItself) {
  EXPECT_THAT(attack("try 'p = os.fork()\nif p == 0: os.pause() if hasattr(os, \"pause\") else __import__(\"signal\").pause()\ncheck(libc.ptrace(16, p, None, None)); os.kill(p, 9)'", all), HasSubstr(won))
      << "sanitizers and debuggers need this";
}

TEST_F(Escape, WhatAJobWritesOverTheHostsRootStaysInIt) {
  auto name = "mayfly-escape-" + fresh_attempt().str();
  auto job = run_job("for d in / /etc /usr /usr/bin /usr/local/lib /opt /var/lib; do echo x > $d/" + name + " || echo \"not in $d\"; done; rm /usr/bin/id; type id || echo gone");
  EXPECT_EQ(job.output, "id: not found\ngone\n");
  for (auto directory : {"/", "/etc/", "/usr/", "/usr/bin/", "/usr/local/lib/", "/opt/", "/var/lib/"}) EXPECT_FALSE(std::filesystem::exists(directory + name)) << directory;
  EXPECT_TRUE(std::filesystem::exists("/usr/bin/id"));
  EXPECT_EQ(run_job("ls /usr/bin/id; ls -d /usr/local/lib/" + name + " 2>/dev/null").output, "/usr/bin/id\n") << "nor does the next job find it";
}

TEST_F(Escape, OnlyWhatIsNamedIsThere) {
  auto job = run_job("ls -A / /home /root /run /tmp /var /srv /mnt /media | sort -u | tr '\\n' ' '");
  for (auto absent : {" boot ", " lost+found ", " docker.sock ", " dbus ", " systemd "}) EXPECT_THAT(job.output, Not(HasSubstr(absent)));
  EXPECT_THAT(run_job("find / -xdev -name '*.sock' -o -xdev -type s 2>/dev/null").output, "");
  EXPECT_EQ(run_job("for f in shadow gshadow sudoers ssl/private machine-id ssh/ssh_host_rsa_key; do [ -e /etc/$f ] && echo $f; done; ls /etc/ssl/certs >/dev/null && echo certs").output,
            "certs\n");
}

TEST_F(Escape, TheServersDataIsHiddenAlsoBelowADirectoryThatIsShown) {
  std::string pattern = "/opt/mayfly-test-XXXXXX", data = mkdtemp(pattern.data());
  chmod(data.c_str(), 0755);
  std::ofstream(data + "/token") << "t";
  auto spec = make_spec();
  spec.attempt_dir = data + "/runners/" + spec.attempt.str();
  std::filesystem::create_directories(spec.attempt_dir);
  auto script = "ls " + data + " >/dev/null 2>&1 && echo ESCAPED; [ -d /opt ] && echo opt";
  EXPECT_EQ(run_job(make_spec(), script).output, "ESCAPED\nopt\n") << "of another server it would be seen";
  EXPECT_EQ(run_job(spec, script).output, "opt\n");
  std::filesystem::remove_all(data);
}

TEST_F(Escape, AnotherJobsWorkspaceIsOutOfReach) {
  auto other = start(make_spec(), "umask 0; echo secret > mine; echo ready; sleep 100");
  ASSERT_EQ(other.read_line(), "ready\n");
  auto attack = prelude() + "grep secret $HOST" + other.sandbox().paths().workspace_host + "/mine && echo ESCAPED";
  EXPECT_THAT(run_job(attack).output, Not(HasSubstr(won)));
  EXPECT_THAT(run_job(make_spec(), attack, no_list).output, Not(HasSubstr(won))) << "its uid is another one";
  EXPECT_THAT(run_job(make_spec(), attack, no_list_no_uid).output, HasSubstr(won));
}

TEST_F(Escape, NoDescriptorAndNoEnvironmentIsInherited) {
  UniqueFd leak(open(secret_.c_str(), O_RDONLY));  // not close-on-exec
  setenv("MAYFLY_TEST_PASSWORD", "hunter2", 1);
  auto job = run_job("ls -l /proc/self/fd; env; tr '\\0' '\\n' < /proc/1/environ");
  EXPECT_THAT(job.output, Not(HasSubstr("secret")));
  EXPECT_THAT(job.output, Not(HasSubstr("hunter2")));
  EXPECT_THAT(job.output, HasSubstr("HOME=/home/mayfly"));
  unsetenv("MAYFLY_TEST_PASSWORD");
}

TEST_F(Escape, SystemCallsNobodyHasReviewedDoNotExist) {
  EXPECT_THAT(attack("try 'call(463, 0, 0, 0, 0)'", all), HasSubstr("Function not implemented"));
  EXPECT_THAT(attack("try 'call(435, 0, 0)'", all), HasSubstr("Function not implemented")) << "clone3";
  EXPECT_THAT(attack("try 'call(0x40000000 | 39)'", all), Not(HasSubstr(won))) << "x32";
}

TEST_F(Escape, OrdinaryBuildToolsStillWork) {
  auto job = run_job("python3 -c 'import threading, subprocess, multiprocessing\nt = threading.Thread(target=print, args=(1,)); t.start(); t.join()\n"
                     "print(subprocess.run([\"echo\", \"2\"], capture_output=True).stdout)\nwith multiprocessing.Pool(2) as p: print(p.map(abs, [-3]))\n"
                     "import socket; print(bool(socket.if_nameindex()))' 2>&1; git init -q . && git -c user.name=a -c user.email=b commit -q --allow-empty -m x && git log --oneline | wc -l");
  EXPECT_EQ(job.output, "1\nb'2\\n'\n[3]\nTrue\n1\n");
}

}  // namespace
}  // namespace mayfly
