"""Docker's engine of Debian, started by hand in a network namespace of its own: it sets the policy of FORWARD and leaves its chains behind.

It knows the runtimes runc and runsc (where that can be built), holds the images of images.py, and may pull from the registry beside it. Its socket
is of this machine, so nothing of a client needs to be in the namespace. A kill leaves its containers running, as with a real one.
"""
import http.client
import json
import shutil
import socket
import sys

import images
import runsc
from installs import Failed, Unavailable
from network import Network, remove_cgroups, unmount_below
from server import Server

SECONDS_TO_LOAD = 120


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("docker", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask(path, method, target, body=None, headers=None, timeout=SECONDS_TO_LOAD):
    """A request to the engine at a socket. Returns its status and bytes."""
    connection = UnixConnection(path, timeout)
    try:
        connection.request(method, target, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class DockerEngine(Server):
    name = "docker"
    variable = "MAYFLY_TEST_DOCKER"
    port_names = []

    def __init__(self, state):
        super().__init__(state)
        self.network = Network(state)

    def install(self):
        if not shutil.which("dockerd"):
            raise Unavailable("needs Debian's package docker.io: run scripts/install-deps")
        self.network.may_exist()
        for name in images.SETTINGS:
            images.archive(name)
        try:
            self.runsc = runsc.program()
        except Unavailable as why:
            print(f"servers: docker is without runsc: {why}", file=sys.stderr, flush=True)
            self.runsc = None

    def socket(self):
        return self.network.sockets / "docker.sock"

    def where(self):
        return str(self.socket())

    def url(self):
        return f"unix://{self.socket()}"

    def cgroup(self):
        return f"mayfly-{self.network.number}-docker"

    def recover(self):
        self.network.join(self.name)
        self._run_folder().mkdir(exist_ok=True)
        # Both numbers may be another's by now, or its own until init reaps it.
        for pid in [self.folder / "pid", self._run_folder() / "containerd/containerd.pid"]:
            pid.unlink(missing_ok=True)

    def _run_folder(self):
        return self.network.sockets / "docker"

    def command(self):
        config = self.folder / "daemon.json"
        config.write_text(json.dumps({
            "hosts": [self.url()], "data-root": str(self.folder / "data"), "exec-root": str(self._run_folder()), "pidfile": str(self.folder / "pid"),
            "cgroup-parent": f"/{self.cgroup()}", "exec-opts": ["native.cgroupdriver=cgroupfs"], "storage-driver": "overlay2", "log-level": "warn",
            "insecure-registries": [str(self.network.subnet)], "runtimes": {"runsc": {"path": str(self.runsc)}} if self.runsc else {},
            "shutdown-timeout": 5}), encoding="utf-8")
        return self.network.inside(self.name, "dockerd", "--config-file", config), None

    def answers(self):
        try:
            return ask(self.socket(), "GET", "/_ping", timeout=5)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def furnish(self):
        for name in images.SETTINGS:
            if ask(self.socket(), "GET", f"/images/{images.reference(name)}/json")[0] == 200:
                continue
            with open(images.archive(name), "rb") as archive:
                status, said = ask(self.socket(), "POST", "/images/load?quiet=1", archive, {"Content-Type": "application/x-tar"})
            if status != 200 or b"errorDetail" in said:
                raise Failed(f"docker did not take the image {name}: {said.decode(errors='replace').strip()}")

    def forget(self):
        if not self.network.exists():  # it came no further
            return
        number = self.cgroup()
        self.network.leave(self.name)  # which ends containers and their shims
        unmount_below(self.folder)
        remove_cgroups(number)
