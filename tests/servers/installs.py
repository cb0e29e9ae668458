"""Things fetched or built once for a user of this machine, under ~/.cache/mayfly/servers.

Each stands in a folder named after its name, pinned version and recipe. It is made beside and renamed into place, so a folder that is there
is whole; a lock keeps two runs from making the same one.
"""
import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from processes import ENDING

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "mayfly/servers"
FOLDER = pathlib.Path(__file__).resolve().parent
SCREEN = threading.Lock()
SECONDS_BETWEEN_LINES = 30


class Unavailable(Exception):
    """This machine cannot have the thing; the text says why and what would help."""


class Failed(Exception):
    """Something went wrong that should not have; the text says what and where to look."""


@contextlib.contextmanager
def locked(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def say(text):
    with SCREEN:
        print(("\r\033[K" if sys.stdout.isatty() else "") + text, flush=True)


def hint(text):
    with SCREEN:
        print(f"\r\033[K{text}", end="", flush=True)


def size_mb(folder):
    total = 0
    for where, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(where, name)).st_size
    return total / 1e6


def run(command, what, folder, log, environment=None, progress=None):
    """Runs a step of an install at low priority, showing how far it is: on a terminal all the time, else a line now and then; progress() is text for
    that, else the size of the folder is. Raises Failed with the end of its output."""
    began = shown = time.monotonic()
    with open(log, "ab") as out:
        step = subprocess.Popen(["nice", "-n", "10", *map(str, command)], stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=folder, env=environment)
        try:
            while True:
                try:
                    code = step.wait(0.2)
                    break
                except subprocess.TimeoutExpired:
                    if ENDING.is_set():
                        raise Failed(f"{what}: interrupted")
                    if time.monotonic() - shown > (0.5 if sys.stdout.isatty() else SECONDS_BETWEEN_LINES):
                        shown = time.monotonic()
                        far = progress() if progress else f"{size_mb(folder):.0f} MB"
                        (hint if sys.stdout.isatty() else say)(f"{what}: {pathlib.Path(command[0]).name}, {shown - began:.0f} s, {far}")
        except BaseException:
            step.terminate()
            step.wait()
            raise
    if code != 0:
        end = pathlib.Path(log).read_text(encoding="utf-8", errors="replace").strip().splitlines()[-12:]
        raise Failed(f"{what}: `{' '.join(map(str, command))}` ended with {code}:\n    " + "\n    ".join(end))


def recipe_key(*parts):
    """Eight hex digits over the files and words an install depends on."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.read_bytes() if isinstance(part, pathlib.Path) else str(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:8]


def installed(name, version, key, make):
    """The folder of an install; make(folder, log) fills it the first time."""
    home = CACHE / f"{name}-{version}-{key}"
    if home.is_dir():
        return home
    with locked(CACHE / f"{name}.lock"):
        if home.is_dir():  # the run that held the lock made it
            return home
        for left in CACHE.glob(f".{name}-*"):  # by a run that was killed: under the lock nobody else makes one
            shutil.rmtree(left, ignore_errors=True)
        say(f"Installing {name} {version} (once for this user)")
        began = time.monotonic()
        draft = pathlib.Path(tempfile.mkdtemp(prefix=f".{name}-", dir=CACHE))
        log = CACHE / f"{name}.log"
        log.unlink(missing_ok=True)
        draft.chmod(0o755)
        try:
            make(draft, log)
            os.rename(draft, home)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        say(f"Installed {name} {version} in {time.monotonic() - began:.0f} s, {size_mb(home):.0f} MB in {home}")
        return home
