"""A real node of the Kubernetes of kubernetes.py: containerd and kubelet, in the control plane's network namespace.

Its pods get addresses that this machine routes to, and reach this machine at the network's address, where a test's gateway may listen. Images are
imported by file. Pods with the runtime class handler `runsc` run where gVisor's shim may lower an oom_score_adj, which takes CAP_SYS_RESOURCE.
"""
import functools
import json
import os
import pathlib
import shutil
import signal
import subprocess

import go
import images
import installs
import runsc
from installs import Failed, Unavailable, installed, locked, recipe_key, run
from kubernetes import Kubernetes, programs
from network import ip, remove_cgroups, unmount_below
from parts import Parts
from processes import children_of, send, started_at, wait_for
from registry import Registry

NODE = "real-node"
BRIDGE = "cni0"
PLUGINS = pathlib.Path("/usr/lib/cni")
PAUSE = "local/pause:1"
SYSCTLS = ["vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops"]  # the kubelet sets them for the whole machine
CONTAINERD = """\
version = 2
root = "{folder}/containerd"
state = "{sockets}/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
  address = "{sockets}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".registry.mirrors."{registry}"]
    endpoint = ["http://{registry}"]
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"""
GVISOR = """\
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runsc]
    runtime_type = "io.containerd.runsc.v1"
"""


def build_shim(folder, log):
    run(["go", "install", "-ldflags=-s -w", f"gvisor.dev/gvisor/shim@{runsc.VERSION}"], "gVisor's shim", folder, log, go.environment(GOBIN=str(folder)))
    os.rename(folder / "shim", folder / "containerd-shim-runsc-v1")


@functools.cache
def may_lower_oom_score():
    return subprocess.run(["sh", "-c", "echo -1 >/proc/self/oom_score_adj"], stderr=subprocess.DEVNULL, check=False).returncode == 0


def pause_archive():
    """The image of the container that holds a pod's namespaces: busybox that sleeps, and ends when it is told."""
    def make(folder, _log):
        settings = {"Entrypoint": ["/bin/sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done"], "Env": ["PATH=/bin"]}
        images.write_archive(folder / "image.tar", PAUSE, images.busybox_layer(), settings)
    return installed("image-pause", "1", recipe_key(pathlib.Path(images.__file__), PAUSE), make) / "image.tar"


class KubeNode(Parts):
    name = "kubenode"
    variable = "MAYFLY_TEST_KUBENODE"

    def __init__(self, state):
        super().__init__(state)
        self.cluster = Kubernetes(state)

    def install(self):
        self.network.may_exist()
        for program, package in {"containerd": "containerd", "ctr": "containerd", "runc": "runc", "mount": "util-linux"}.items():
            if not shutil.which(program):
                raise Unavailable(f"needs Debian's package {package}: run scripts/install-deps")
        if not (PLUGINS / "bridge").exists():
            raise Unavailable("needs Debian's package containernetworking-plugins: run scripts/install-deps")
        for name in images.SETTINGS:
            images.archive(name)
        self.programs = programs()
        self.gvisor = None
        if may_lower_oom_score():
            self.gvisor = [runsc.program().parent, installed("runsc-shim", runsc.VERSION.partition("-")[2], recipe_key("1"), build_shim)]
        self.cluster.start()

    def names(self):
        return ["containerd", "kubelet"]

    def where(self):
        return f"{self.network.address(self.member)} as {NODE}"

    def url(self):
        return NODE

    def environment(self):
        return dict(os.environ, PATH=":".join([*map(str, self.gvisor or []), os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")]))

    @property
    def socket(self):
        return self.network.sockets / "containerd.sock"

    def cgroup(self):
        return f"mayfly-{self.network.number}-node"

    def recover(self):
        self.network.join(self.name)
        save_sysctls(self.state)
        subprocess.run(self.network.inside(self.member, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"), check=True)
        inside = functools.partial(self.network.ip, self.member)
        if not inside("link", "show", BRIDGE, check=False):
            inside("link", "add", BRIDGE, "type", "bridge")
            inside("addr", "add", f"{self.network.pods[1]}/24", "dev", BRIDGE)
            inside("link", "set", BRIDGE, "up")
        ip("route", "replace", self.network.pods, "via", self.network.address(self.member))
        make_cgroup(self.cgroup())

    def prepare(self):
        authority, address = self.cluster.authority, self.network.address(self.member)
        authority.certify("kubelet", f"/O=system:nodes/CN=system:node:{NODE}")
        authority.certify("kubelet-server", f"/CN={NODE}", ["127.0.0.1", address], [NODE])
        authority.kubeconfig("kubelet", f"https://{self.cluster.where()}")
        (self.folder / "cni").mkdir()
        (self.folder / "cni/10-bridge.conflist").write_text(json.dumps({"cniVersion": "1.0.0", "name": "mayfly", "plugins": [
            {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "ipMasq": False, "hairpinMode": True,
             "ipam": {"type": "host-local", "dataDir": str(self.folder / "addresses"), "routes": [{"dst": "0.0.0.0/0"}],
                      "ranges": [[{"subnet": str(self.network.pods), "rangeStart": str(self.network.pods[10]), "gateway": str(self.network.pods[1])}]]}}]}), encoding="utf-8")
        (self.folder / "resolv.conf").write_text("nameserver 127.0.0.1\n", encoding="ascii")

    def parts(self):
        return {"containerd": (self._containerd(), lambda: self.ctr("version").returncode == 0), "kubelet": (self._kubelet(), self.ready)}

    def _containerd(self):
        config = self.folder / "containerd.toml"
        registry = f"{self.network.here}:{Registry.NETWORK_PORT}"
        config.write_text(CONTAINERD.format(folder=self.folder, sockets=self.network.sockets, pause=PAUSE, plugins=PLUGINS, registry=registry) + (GVISOR if self.gvisor else ""), encoding="utf-8")
        return ["containerd", "--config", config]

    def _kubelet(self):
        pki, config = self.cluster.authority.file, self.folder / "kubelet.json"
        config.write_text(json.dumps({
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "failCgroupV1": False, "cgroupDriver": "cgroupfs", "cgroupRoot": f"/{self.cgroup()}",
            "failSwapOn": False, "oomScoreAdj": 0, "containerRuntimeEndpoint": f"unix://{self.socket}", "podLogsDir": str(self.folder / "logs"),
            "resolvConf": str(self.folder / "resolv.conf"), "serializeImagePulls": False, "maxPods": 110, "kubeAPIQPS": 100, "kubeAPIBurst": 200, "eventRecordQPS": 100, "eventBurst": 200,
            "address": self.network.address(self.member), "healthzBindAddress": "127.0.0.1", "tlsCertFile": str(pki("kubelet-server.crt")), "tlsPrivateKeyFile": str(pki("kubelet-server.key")),
            "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}, "x509": {"clientCAFile": str(pki("ca.crt"))}}, "authorization": {"mode": "Webhook"},
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"}, "imageGCHighThresholdPercent": 100, "imagePullCredentialsVerificationPolicy": "NeverVerify",
            "nodeStatusUpdateFrequency": "5s", "nodeLeaseDurationSeconds": 20}), encoding="utf-8")
        return [self.programs / "kubelet", f"--config={config}", f"--kubeconfig={pki('kubelet.kubeconfig')}", f"--root-dir={self.folder / 'kubelet'}", f"--hostname-override={NODE}",
                f"--node-ip={self.network.address(self.member)}", "--node-labels=mayfly.dev/node=real", f"--cert-dir={self.folder / 'certificates'}"]

    def start_part(self, name, command, answers):
        started = super().start_part(name, command, answers)
        if name == "containerd":
            self._import()  # the kubelet needs the image of its sandboxes
        return started

    def ctr(self, *words):
        return subprocess.run(["ctr", "--address", self.socket, "--namespace", "k8s.io", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)

    def _import(self):
        there = self.ctr("images", "list", "-q").stdout.split()
        for name, archive in [(PAUSE, pause_archive), *((images.reference(name), functools.partial(images.archive, name)) for name in images.SETTINGS)]:
            if f"docker.io/{name}" not in there:
                done = self.ctr("images", "import", archive())
                if done.returncode != 0:
                    raise Failed(f"containerd did not take {archive()}: {done.stdout.strip()}")

    def ready(self):
        status, said = self.cluster.api().raw("GET", f"/api/v1/nodes/{NODE}")
        conditions = json.loads(said).get("status", {}).get("conditions", []) if status == 200 else []
        return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)

    def answers(self):
        return self.ctr("version").returncode == 0 and self.ready()

    def forget(self):
        if not self.network.exists():  # it came no further
            return
        end_shims(self.socket)
        unmount_below(self.folder, self.network.sockets / "containerd")
        remove_cgroups(self.cgroup())
        ip("route", "del", self.network.pods, check=False)
        self.network.leave(self.name)
        restore_sysctls(self.state)


def end_shims(socket):
    """Containers and their shims outlive containerd."""
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"containerd-shim" not in words[0] or str(socket).encode() not in words:
            continue
        pid = int(entry.name)
        family = [(pid, started_at(pid)), *children_of(pid)]
        for process, start in family:
            send(process, start, signal.SIGKILL)
        wait_for(lambda members=family: all(started_at(process) != start for process, start in members), 10)


def make_cgroup(name):
    """In every hierarchy: the kubelet puts its pods below, and does not make it."""
    for root in pathlib.Path("/sys/fs/cgroup").iterdir():
        if root.is_symlink() or not (root / "cgroup.procs").exists():
            continue
        place = root / name
        place.mkdir(exist_ok=True)
        for file in ["cpuset.cpus", "cpuset.mems"]:
            if (place / file).exists():
                (place / file).write_text((root / file).read_text(encoding="ascii"), encoding="ascii")


def sysctl_record():
    return installs.CACHE / "sysctls.json"


def save_sysctls(state):
    """What they were before the first of the nodes that run now."""
    with locked(sysctl_record().with_suffix(".lock")):
        known = read_sysctls()
        values = known["values"] or {name: pathlib.Path(f"/proc/sys/{name}").read_text(encoding="ascii").strip() for name in SYSCTLS}
        sysctl_record().write_text(json.dumps({"values": values, "states": sorted({*known["states"], str(state)})}), encoding="utf-8")


def read_sysctls():
    try:
        known = json.loads(sysctl_record().read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {"values": {}, "states": []}
    return dict(known, states=[state for state in known["states"] if (pathlib.Path(state) / "kubenode.json").exists()])


def restore_sysctls(state):
    with locked(sysctl_record().with_suffix(".lock")):
        known = read_sysctls()
        states = [other for other in known["states"] if other != str(state)]
        if states:
            sysctl_record().write_text(json.dumps(dict(known, states=states)), encoding="utf-8")
            return
        for name, value in known["values"].items():
            pathlib.Path(f"/proc/sys/{name}").write_text(value, encoding="ascii")
        sysctl_record().unlink(missing_ok=True)
