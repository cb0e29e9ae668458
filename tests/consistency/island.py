"""A process in a network namespace of its own, that reaches the others over one link whose packets can be dropped: a real partition.

Servers and nodes listen on 127.0.0.1. On an island the same ports of its own 127.0.0.1 lead over the link to the mainland's, and the
mainland's port of the islander leads to the island, so nothing else is configured differently. Needs root, ip and nft.
"""
import os
import pathlib
import shutil
import subprocess
import sys

from faults import Fault

PROXY = pathlib.Path(__file__).with_name("proxy.py")
TABLE = "mayfly_partition"


def possible():
    """Why there can be no islands here, or nothing."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [tool for tool in ("ip", "nft") if not shutil.which(tool)]
    if missing:
        return f"{' and '.join(missing)} missing: scripts/install-deps"
    probe = f"mfp{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True)
    subprocess.run(["ip", "netns", "del", probe], capture_output=True)
    return f"this machine makes no network namespaces: {made.stderr.strip()}" if made.returncode else ""


def run(*words, text=None):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, input=text)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stderr.strip()}")


class Island:
    """`number` is its own on this machine; `ports` are the mainland's that it needs, `own` the ports it serves."""

    def __init__(self, number, ports, own, proxies):
        self.name = f"mf{os.getpid()}n{number}"
        self.mainland, self.inside = f"10.213.{number}.1", f"10.213.{number}.2"
        self.link_out, self.link_in = f"mo{os.getpid()}n{number}"[:15], f"mi{os.getpid()}n{number}"[:15]
        self.ports, self.relay = ports, None
        try:
            self._make(ports, own, proxies)
        except BaseException:
            self.close()
            raise

    def _make(self, ports, own, proxies):
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", self.link_out, "type", "veth", "peer", "name", self.link_in, "netns", self.name)
        run("ip", "addr", "add", f"{self.mainland}/30", "dev", self.link_out)
        run("ip", "link", "set", self.link_out, "up")
        for words in (["addr", "add", f"{self.inside}/30", "dev", self.link_in], ["link", "set", self.link_in, "up"], ["link", "set", "lo", "up"]):
            run("ip", "-n", self.name, *words)
        for port in ports:
            proxies.add(port, at=self.mainland, listen=port)
        links = [f"127.0.0.1:{port}={self.mainland}:{port}" for port in ports] + [f"{self.inside}:{port}=127.0.0.1:{port}" for port in own]
        self.relay = subprocess.Popen([*self.enter(), sys.executable, str(PROXY), *links], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.relay.stdout.readline() != "ready\n":
            raise RuntimeError(f"the relay of island {self.name} did not start")
        for port in own:
            proxies.add(port, host=self.inside, listen=port)

    def enter(self):
        """What a command line begins with to run here; the process keeps its id."""
        return ["ip", "netns", "exec", self.name]

    def drop(self, rules):
        """`rules` for packets that leave and arrive, in nft's words; {link} is the link."""
        chains = "".join(f"chain {way} {{\ntype filter hook {way} priority 0;\n{rule.format(link=self.link_in)}\n}}\n" for way, rule in rules.items())
        run("ip", "netns", "exec", self.name, "nft", "-f", "-", text=f"table inet {TABLE} {{\n{chains}}}\n")

    def heal(self):
        subprocess.run(["ip", "netns", "exec", self.name, "nft", "delete", "table", "inet", TABLE], capture_output=True)

    def close(self):
        """Whoever lives here has been ended before."""
        if self.relay:
            self.relay.stdin.close()
            self.relay.wait(10)
            self.relay.stdout.close()
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True)
        subprocess.run(["ip", "link", "del", self.link_out], capture_output=True)  # gone with its peer, unless that was never made


class Partition(Fault):
    """Packets of an island's link are dropped: all, those of one direction, or those of some servers."""

    def __init__(self, title, island):
        self.title, self.island, self.name = title, island, f"partition {title}"

    def begin(self, chance):
        some = ", ".join(str(p) for p in chance.sample(self.island.ports, chance.randrange(1, len(self.island.ports) + 1)))
        kinds = {
            "whole": {"output": 'oifname "{link}" drop', "input": 'iifname "{link}" drop'},
            "deaf": {"input": 'iifname "{link}" drop'},
            "mute": {"output": 'oifname "{link}" drop'},
            "from some servers": {"output": 'oifname "{{link}}" tcp dport {{{{ {} }}}} drop'.format(some)},
        }
        kind = chance.choice(sorted(kinds))
        self.name = f"partition {self.title}: {kind}"
        self.island.drop(kinds[kind])

    def end(self):
        self.island.heal()
