"""Debian's docker-registry, with this repository's small images in it.

Where there are networks of tests (network.py) it listens at this machine's address on one, so that Docker's engine and a Kubernetes node reach it by
the same reference as this machine does; else on loopback.
"""
import json
import shutil
import subprocess
import urllib.request

import images
from installs import Failed, Unavailable
from network import Network
from server import Server


class Registry(Server):
    name = "registry"
    variable = "MAYFLY_TEST_REGISTRY"
    NETWORK_PORT = 5000  # on the network's address, so that a node can be told before it is up

    def __init__(self, state):
        super().__init__(state)
        self.network = Network(state)

    def install(self):
        if not shutil.which("docker-registry") or not shutil.which("skopeo"):
            raise Unavailable("needs Debian's packages docker-registry and skopeo: run scripts/install-deps")
        for name in images.SETTINGS:
            images.archive(name)

    def recover(self):
        try:
            self.network.join(self.name)
        except Unavailable:
            pass

    def where(self):
        return f"{self.network.here}:{self.NETWORK_PORT}" if self.network.exists() else f"127.0.0.1:{self.port()}"

    def command(self):
        config = self.folder / "config.json"
        config.write_text(json.dumps({"version": 0.1, "log": {"level": "warn", "accesslog": {"disabled": True}},
                                      "storage": {"filesystem": {"rootdirectory": str(self.folder / "data")}, "delete": {"enabled": True}},
                                      "http": {"addr": self.where(), "secret": self.settings()["secret"]}}), encoding="utf-8")
        return ["docker-registry", "serve", config], None

    def answers(self):
        try:
            with urllib.request.urlopen(self.url() + "/v2/", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def has(self, image):
        repository, _, tag = image.partition(":")
        try:
            with urllib.request.urlopen(f"{self.url()}/v2/{repository}/tags/list", timeout=10) as answer:
                return tag in (json.load(answer)["tags"] or [])
        except OSError:
            return False

    def furnish(self):
        for name in images.SETTINGS:
            if not self.has(images.reference(name)):
                push(images.archive(name), f"{self.where()}/{images.reference(name)}")

    def url(self):
        return f"http://{self.where()}"

    def forget(self):
        self.network.leave(self.name)


def push(archive, reference):
    done = subprocess.run(["skopeo", "copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false", f"docker-archive:{archive}", f"docker://{reference}"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"skopeo could not push {archive} to {reference}: {done.stdout.strip()}")
