"""Server processes that outlive the program that started them, and are ended by nobody else.

A process is named by its id and its start time (field 22 of /proc/PID/stat, in clock ticks since boot), together with the boot's id: an id
that was given to another process since is not ours.
"""
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

LAUNCH = pathlib.Path(__file__).with_name("launch.py")
PYTHON = "/usr/bin/python3"
SECONDS_TO_STOP = 20
ENDING = threading.Event()  # set when this program was told to end: what waits in other threads gives up


def started_at(pid):
    """The start of a live process, or None. A zombie is not alive."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else f"{boot}/{fields[19]}"


def children_of(pid):
    """(pid, start) of every living descendant."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = pathlib.Path(f"/proc/{entry}/stat").read_text(encoding="utf-8", errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry))
    found, look = [], [pid]
    while look:
        below = parents.get(look.pop(), [])
        found += [(child, started_at(child)) for child in below]
        look += below
    return [(child, start) for child, start in found if start]


def wait_for(condition, seconds, every=0.02):
    """True as soon as the condition holds, False when it does not within the time."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(every)
    return True


class Process:
    """The server process that a record file names."""

    def __init__(self, record):
        self.record = pathlib.Path(record)

    def identity(self):
        try:
            known = json.loads(self.record.read_text(encoding="utf-8"))
            return known["pid"], known["started"]
        except (FileNotFoundError, ValueError, KeyError):
            return None

    def pid(self):
        """Its process id while it lives, else None."""
        known = self.identity()
        return known[0] if known and started_at(known[0]) == known[1] else None

    def launch(self, command, log, user="", environment=None, directory=None):
        """Starts the command apart from this program: own session, no standard input, output appended to the log."""
        self.record.unlink(missing_ok=True)
        with open(log, "ab") as out:
            # Not waited for here: the server belongs to the state directory, and to init once this program has ended.
            starter = subprocess.Popen([PYTHON, "-B", "-E", "-S", LAUNCH, self.record, user, *map(str, command)],
                                       stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=directory, env=environment, start_new_session=True)
        wait_for(lambda: self.record.exists() or starter.poll() is not None, 30)
        return starter

    def signal(self, how):
        """To the process alone, if it lives."""
        known = self.identity()
        if known:
            send(*known, how)

    def end(self, how, seconds=SECONDS_TO_STOP):
        """Sends a signal and returns once neither the process nor a descendant lives; after the time, SIGKILL to what is left."""
        pid = self.pid()
        if pid is None:
            self.record.unlink(missing_ok=True)
            return False
        family = [self.identity(), *children_of(pid)]
        send(*family[0], how)
        if how == signal.SIGKILL:
            for child in family[1:]:
                send(*child, how)
        gone = lambda: all(started_at(child) != start for child, start in family)
        if not wait_for(gone, seconds):
            print(f"servers: process {pid} did not end within {seconds} s; killed", file=sys.stderr, flush=True)
            for child in family:
                send(*child, signal.SIGKILL)
            wait_for(gone, 5)
        self.record.unlink(missing_ok=True)
        return True


def send(pid, start, how):
    if started_at(pid) == start:
        try:
            os.kill(pid, how)
        except ProcessLookupError:
            pass


def resident_kib(pid):
    total = 0
    for process, _ in [(pid, None), *children_of(pid)]:
        try:
            for line in pathlib.Path(f"/proc/{process}/status").read_text(encoding="utf-8", errors="replace").splitlines():
                if line.startswith("RssAnon:"):
                    total += int(line.split()[1])
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total
