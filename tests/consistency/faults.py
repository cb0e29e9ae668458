"""What goes wrong during a run, in an order that a seed decides: caches that forget, processes that die or stand still, links that are cut."""
import os
import random
import signal
import socket
import threading
import time


class Fault:
    """Something that is wrong from begin() to end()."""

    name = ""

    def begin(self, chance):
        raise NotImplementedError

    def end(self):
        """Everything is as before."""


class Nemesis(threading.Thread):
    """One fault after another, several at a time when they overlap, until stop()."""

    def __init__(self, seed, faults, between=(0.5, 3.0), lasts=(0.2, 4.0), at_once=2):
        super().__init__(name="nemesis", daemon=True)
        self.chance, self.faults = random.Random(f"{seed} nemesis"), faults
        self.between, self.lasts, self.at_once = between, lasts, at_once
        self.log, self._open, self._over, self._failure = [], [], threading.Event(), None

    def run(self):
        try:
            began = time.monotonic()
            while not self._over.is_set():
                self._end_those_due()
                free = [f for f in self.faults if f not in (o[1] for o in self._open)]
                if free and len(self._open) < self.at_once:
                    fault = self.chance.choice(free)
                    self._open.append((time.monotonic() + self.chance.uniform(*self.lasts), fault))
                    fault.begin(self.chance)
                    self.log.append(f"{time.monotonic() - began:6.1f} {fault.name}")
                self._wait(self.chance.uniform(*self.between))
        except Exception as why:
            self._failure = why

    def _wait(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self._over.is_set():
            self._end_those_due()
            time.sleep(0.02)

    def _end_those_due(self):
        for due in [o for o in self._open if o[0] <= time.monotonic()]:
            self._open.remove(due)
            due[1].end()

    def stop(self):
        """Ends every fault. Raises what one of them raised."""
        self._over.set()
        self.join()
        for _, fault in self._open:
            fault.end()
        self._open = []
        if self._failure:
            raise self._failure


def redis_command(port, *words):
    with socket.create_connection(("127.0.0.1", port), 2) as connection:
        connection.settimeout(2)
        connection.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words))
        return connection.recv(200)


class FlushAll(Fault):
    name = "FLUSHALL"

    def __init__(self, port):
        self.port = port

    def begin(self, chance):
        try:
            redis_command(self.port, "FLUSHALL")
        except OSError:
            pass  # it is away just now, which forgets as well


class StopAndStart(Fault):
    """A server or node of tests/servers: killed, or told to end."""

    def __init__(self, server, how=signal.SIGKILL):
        self.server, self.how, self.name = server, how, f"{how.name} {server.name}"

    def begin(self, chance):
        self.server.stop(self.how)

    def end(self):
        self.server.start()


class ShutdownNoSave(StopAndStart):
    def __init__(self, server):
        super().__init__(server)
        self.name = "SHUTDOWN NOSAVE"

    def begin(self, chance):
        try:
            redis_command(self.server.port(), "SHUTDOWN", "NOSAVE")
        except OSError:
            pass
        self.server.stop(signal.SIGKILL)


class Pause(Fault):
    """SIGSTOP, then SIGCONT: a machine that stands still and does not know it."""

    def __init__(self, name, pid_of):
        self.name, self.pid_of, self.pid = f"pause {name}", pid_of, None

    def begin(self, chance):
        self.pid = self.pid_of()
        if self.pid:
            self._send(signal.SIGSTOP)

    def end(self):
        if self.pid:
            self._send(signal.SIGCONT)

    def _send(self, what):
        try:
            os.kill(self.pid, what)
        except ProcessLookupError:
            self.pid = None


class Link(Fault):
    """A proxy (proxy.py) that does for a while what a network may."""

    def __init__(self, name, proxy):
        self.title, self.proxy = name, proxy
        self.name = f"link {name}"

    def begin(self, chance):
        self.proxy.mode = chance.choice(["delay", "hold", "cut", "reset"])
        self.name = f"{self.proxy.mode} {self.title}"

    def end(self):
        self.proxy.mode = "pass"
