"""The network of those servers that need namespaces of their own: Docker's engine, Kubernetes.

A state directory has one, numbered: a bridge `mfN` of this machine at 10.213.N.1, and on it each namespace with an address of its own. What
listens at 10.213.N.1 (a gateway, a registry) is reached from all of them, and from nowhere else. Sockets lie in /run/mayfly-N, since a socket's
path is short; so do the mounts that keep the namespaces, since those of `ip netns` are shared, and any program that takes a mount namespace apart
may take them along. The kernel keeps all of that when its maker is killed, so it is found again by number and removed by `leave`, also by the
next network that is made once the state directory is gone.
"""
import ipaddress
import json
import os
import pathlib
import shutil
import signal
import subprocess

import installs
from installs import Failed, Unavailable, locked
from processes import children_of, send, started_at, wait_for

NUMBERS = range(64)
HOSTS = {"docker": 2, "kubernetes": 3}  # the last byte of an address
SECONDS_TO_DIE = 10


def run_ip(command, check):
    done = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if check and done.returncode != 0:
        raise Failed(f"`{' '.join(map(str, command))}`: {done.stdout.strip()}")
    return done.returncode == 0


def ip(*words, check=True):
    return run_ip(["ip", *words], check)


class Network:
    def __init__(self, state):
        self.state = pathlib.Path(state)
        self.record = self.state / "network.json"

    # Where things are.

    @property
    def number(self):
        return self._read()["number"]

    def exists(self):
        return self.record.exists()

    @property
    def bridge(self):
        return f"mf{self.number}"

    @property
    def subnet(self):
        return ipaddress.ip_network(f"10.213.{self.number}.0/24")

    @property
    def pods(self):
        """What a Kubernetes node gives its pods: routed, so that they and this machine see each other's addresses."""
        return ipaddress.ip_network(f"10.214.{self.number}.0/24")

    @property
    def here(self):
        """This machine's address, as the namespaces see it."""
        return str(self.subnet[1])

    def address(self, member):
        return str(self.subnet[HOSTS[member]])

    @property
    def sockets(self):
        return pathlib.Path(f"/run/mayfly-{self.number}")

    def namespace(self, member):
        """The mount that keeps it."""
        return self.sockets / f"{member}.netns"

    def inside(self, member, *command):
        """The command, to be executed in a member's namespace by the process that starts it."""
        return ["nsenter", f"--net={self.namespace(member)}", *map(str, command)]

    def ip(self, member, *words, check=True):
        return run_ip(self.inside(member, "ip", *words), check)

    # Coming and going.

    @staticmethod
    def may_exist():
        """Raises Unavailable where it is plain that it may not."""
        if os.geteuid() != 0:
            raise Unavailable("needs root: it runs in a network namespace of its own")
        if not shutil.which("ip") or not shutil.which("nsenter"):
            raise Unavailable("needs Debian's packages iproute2 and util-linux: run scripts/install-deps")

    def join(self, member):
        """Makes the network if there is none yet, and the member's namespace if it has one (HOSTS). Raises Unavailable where that cannot be."""
        self.may_exist()
        with locked(installs.CACHE / "networks.lock"):
            sweep()
            if not self.exists():
                self._create()
            known = self._read()
            if member not in known["members"]:
                self._write(dict(known, members=[*known["members"], member]))
            if member in HOSTS and not os.path.ismount(self.namespace(member)):
                self._make_namespace(member)

    def leave(self, member):
        """Ends whatever lives in the member's namespace and removes that; the last member takes the network along."""
        with locked(installs.CACHE / "networks.lock"):
            if not self.exists():
                return
            if member in HOSTS:
                self.empty(member)
            known = self._read()
            known["members"] = [other for other in known["members"] if other != member]
            self._write(known)
            if not known["members"]:
                dismantle(known["number"])
                self.record.unlink()

    def empty(self, member):
        empty_namespace(self.namespace(member))

    def _read(self):
        return json.loads(self.record.read_text(encoding="utf-8"))

    def _write(self, known):
        draft = self.record.with_suffix(".new")
        draft.write_text(json.dumps(known), encoding="utf-8")
        os.rename(draft, self.record)

    def _create(self):
        for number in NUMBERS:
            sockets = pathlib.Path(f"/run/mayfly-{number}")
            if sockets.exists():
                continue
            sockets.mkdir(mode=0o755)
            (sockets / "state").write_text(str(self.state), encoding="utf-8")
            self.state.mkdir(parents=True, exist_ok=True)
            self._write({"number": number, "members": []})
            ip("link", "del", self.bridge, check=False)
            if not ip("link", "add", self.bridge, "type", "bridge", check=False):
                dismantle(number)
                self.record.unlink()
                raise Unavailable("needs network bridges, and `ip link add NAME type bridge` is refused here")
            ip("addr", "add", f"{self.here}/24", "dev", self.bridge)
            ip("link", "set", self.bridge, "up")
            return
        raise Failed(f"{len(NUMBERS)} networks of test servers are in use: see /run/mayfly-*/state for their directories, and take some down")

    def _make_namespace(self, member):
        space, outer = self.namespace(member), f"{self.bridge}-{member[:6]}"
        space.touch()
        if subprocess.run(["unshare", f"--net={space}", "true"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode != 0:
            raise Unavailable("needs network namespaces, and `unshare --net` is refused here")
        ip("link", "del", outer, check=False)  # of a namespace that is no more
        ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", space)
        ip("link", "set", outer, "master", self.bridge, "up")
        self.ip(member, "link", "set", "lo", "up")
        self.ip(member, "addr", "add", f"{self.address(member)}/24", "dev", "eth0")
        self.ip(member, "link", "set", "eth0", "up")
        self.ip(member, "route", "add", "default", "via", self.here)


def sweep():
    """Removes the networks whose state directory somebody deleted instead of taking it down."""
    for sockets in pathlib.Path("/run").glob("mayfly-*"):
        number = sockets.name.partition("-")[2]
        state = sockets / "state"
        if not number.isdigit() or not state.exists():
            continue
        record = pathlib.Path(state.read_text(encoding="utf-8")) / "network.json"
        if not record.exists() or json.loads(record.read_text(encoding="utf-8"))["number"] != int(number):
            dismantle(int(number))


def dismantle(number):
    sockets = pathlib.Path(f"/run/mayfly-{number}")
    for space in sockets.glob("*.netns"):
        empty_namespace(space)
    ip("link", "del", f"mf{number}", check=False)
    unmount_below(sockets)
    shutil.rmtree(sockets, ignore_errors=True)


def in_namespace(space):
    """The processes that live in a network namespace, by the mount that keeps it."""
    if not os.path.ismount(space):
        return []
    wanted, found = os.stat(space), []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                its = os.stat(f"/proc/{entry}/ns/net")
            except OSError:
                continue
            if (its.st_dev, its.st_ino) == (wanted.st_dev, wanted.st_ino):
                found.append(int(entry))
    return sorted(found)


def empty_namespace(space):
    """Kills what lives in it, with its descendants: a container's shim outlives its engine, and the container its shim."""
    for _ in range(3):  # what was being started meanwhile
        family = [(pid, started_at(pid)) for pid in in_namespace(space)]
        family = {entry for pid, start in family for entry in [(pid, start), *children_of(pid)] if entry[1]}
        if not family:
            return
        for pid, start in family:
            send(pid, start, signal.SIGKILL)
        wait_for(lambda: all(started_at(pid) != start for pid, start in family), SECONDS_TO_DIE)


def unmount_below(*folders):
    lines = pathlib.Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    places = [line.split()[1].replace("\\040", " ") for line in lines]
    for place in reversed(places):
        if any(place == str(folder) or place.startswith(f"{folder}/") for folder in folders):
            subprocess.run(["umount", "--lazy", place], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def remove_cgroups(name):
    """Every cgroup of this name below a hierarchy's root, with those in it, once their processes are gone."""
    roots = [root for root in pathlib.Path("/sys/fs/cgroup").glob("*") if root.is_dir()]
    for top in [pathlib.Path("/sys/fs/cgroup") / name, *(root / name for root in roots)]:
        for where, _, _ in os.walk(top, topdown=False):
            wait_for(lambda at=where: _removed(at), 2)


def _removed(folder):
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
