"""An island reaches the mainland and is reached, until its packets are dropped; nothing is left of it."""
import random
import socket
import subprocess
import sys
import unittest

import island
from proxy import Proxies

ANSWER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("ready", flush=True)
while True:
    connection, _ = listener.accept()
    connection.sendall(b"hello from " + sys.argv[2].encode())
    connection.close()
"""
ASK = """
import socket, sys
try:
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 0.5) as connection:
        connection.settimeout(0.5)
        print(connection.recv(100).decode() or "an end")
except OSError as why:
    print("silence" if isinstance(why, TimeoutError) else why)
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@unittest.skipIf(island.possible(), island.possible())
class Islands(unittest.TestCase):
    def setUp(self):
        self.proxies = Proxies()
        self.addCleanup(self.proxies.close)
        self.server, self.own = free_port(), free_port()
        self.island = island.Island(250, [self.server], [self.own], self.proxies)
        self.addCleanup(self.island.close)
        self.start([], self.server, "mainland")
        self.start(self.island.enter(), self.own, "island")

    def start(self, enter, port, name):
        process = subprocess.Popen([*enter, sys.executable, "-c", ANSWER, str(port), name], stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.assertEqual("ready\n", process.stdout.readline())

    def ask(self, enter, port):
        return subprocess.run([*enter, sys.executable, "-c", ASK, str(port)], capture_output=True, text=True, timeout=20).stdout.strip()

    def test_packets_pass_until_they_are_dropped(self):
        both = lambda: (self.ask(self.island.enter(), self.server), self.ask([], self.own))
        self.assertEqual(("hello from mainland", "hello from island"), both())
        partition = island.Partition("test", self.island)
        seen = set()
        for seed in range(100):
            partition.begin(random.Random(seed))
            if partition.name in seen:
                partition.end()
                continue
            seen.add(partition.name)
            there, here = both()
            self.assertEqual("silence", there, partition.name)
            self.assertEqual("hello from island" if "some servers" in partition.name else "silence", here, partition.name)
            partition.end()
        self.assertEqual({"whole", "deaf", "mute", "from some servers"}, {name.rpartition(": ")[2] for name in seen})
        self.assertEqual(("hello from mainland", "hello from island"), both())

    def test_nothing_is_left(self):
        self.island.close()
        left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout + subprocess.run(["ip", "link"], capture_output=True, text=True).stdout
        self.assertNotIn(self.island.name, left)
        self.assertNotIn(self.island.link_out, left)


if __name__ == "__main__":
    unittest.main()
