"""What every test server is: where it keeps its state, on which ports, how it starts, answers and stops."""
import json
import os
import pathlib
import random
import secrets
import shutil
import signal
import socket
import time

from installs import Failed, locked
from processes import ENDING, Process, wait_for

SECONDS_TO_ANSWER = 180  # of a machine that also builds
PORTS = range(20000, 32000)  # below what the kernel hands out to clients, so that a stopped server's port is still free when it comes back


def free_port(taken):
    for _ in range(1000):
        port = random.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in taken:
            return port
    raise Failed(f"no free port between {PORTS.start} and {PORTS.stop} on 127.0.0.1")


class Server:
    """A server of one state directory. A subclass says what is particular to its kind."""

    name = ""
    variable = ""  # of the environment, that tells tests where it is
    port_names = ["port"]
    stop_signal = signal.SIGTERM
    idle = "stopped"  # the word for one that has no process
    user = ""  # that it runs as when we are root

    def __init__(self, state):
        self.state = pathlib.Path(state)
        self.folder = self.state / self.name
        self.process = Process(self.state / f"{self.name}.process")
        self.log = self.state / f"{self.name}.log"

    # A subclass defines these.

    def install(self):
        """Makes its programs ready. Raises Unavailable where this machine cannot have them."""

    def prepare(self):
        """Lays its data the first time; the folder exists and is empty."""

    def recover(self):
        """Clears what a kill left that would keep it from starting; no process of it lives."""

    def command(self):
        """What to execute, its environment (None: ours)."""
        raise NotImplementedError

    def answers(self):
        """Whether it does its work now, as a client sees it."""
        raise NotImplementedError

    def url(self):
        raise NotImplementedError

    def where(self):
        """What people look for it at."""
        return f"127.0.0.1:{self.port()}"

    def furnish(self):
        """Gives it what it should hold, if that is not there; it answers."""

    # What the kinds have in common.

    def settings(self):
        """Ports and credentials, chosen once and kept until `down`."""
        path = self.state / f"{self.name}.json"
        if path.exists():
            return json.loads(path.read_text(encoding="utf-8"))
        known = {"access": "mayfly" + secrets.token_hex(4), "secret": secrets.token_hex(16)}
        for name in self.port_names:
            known[name] = free_port(set(known.values()))
        draft = path.with_suffix(".new")
        draft.touch(0o600)
        draft.write_text(json.dumps(known), encoding="utf-8")
        os.rename(draft, path)
        return known

    def port(self, name="port"):
        return self.settings()[name]

    def known(self):
        """Whether it was started here before, and not taken down since."""
        return (self.state / f"{self.name}.json").exists()

    def pids(self):
        pid = self.process.pid()
        return [pid] if pid else []

    def lock(self):
        return locked(self.state / f"{self.name}.lock")

    def start(self):
        """Returns the seconds until it answered, 0 when it already did."""
        self.install()
        with self.lock():
            if self.process.pid() and self.answers():
                self.furnish()
                return 0.0
            self.process.end(signal.SIGKILL)
            began = time.monotonic()
            self.settings()
            self._lay()
            self.recover()
            command, environment = self.command()
            starter = self.process.launch(command, self.log, self.user, environment, self.folder)
            hopeless = lambda: starter.poll() is not None or ENDING.is_set()
            if not wait_for(lambda: hopeless() or self.answers(), SECONDS_TO_ANSWER, 0.05) or hopeless():
                self.process.end(signal.SIGKILL)
                raise Failed(f"{self.name} did not start: see {self.log}\n    " + "\n    ".join(self.last_words()))
            self.furnish()
            return time.monotonic() - began

    def _lay(self):
        laid = self.folder / "laid"
        if laid.exists():
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o755)
        self.prepare()
        laid.touch()

    def stop(self, how=None):
        with self.lock():
            return self.process.end(how or self.stop_signal)

    def remove(self):
        """Stops it and forgets its data, ports and credentials."""
        was = self.stop()
        if self.known():
            self.forget()
        shutil.rmtree(self.folder, ignore_errors=True)
        for path in self.state.glob(f"{self.name}.*"):
            path.unlink(missing_ok=True)
        return was

    def forget(self):
        """Removes what it keeps outside of its folder."""

    def last_words(self):
        return self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-12:] if self.log.exists() else []
