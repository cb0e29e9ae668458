"""PostgreSQL: a cluster of its own with a password, durable (fsync), on loopback and a socket in its folder."""
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile

from installs import Failed, Unavailable
from server import Server

USERS = ["postgres", "nobody"]  # it refuses to run as root


def programs():
    """The folder of initdb and postgres: Debian keeps them out of PATH."""
    found = shutil.which("postgres")
    homes = [pathlib.Path(found).resolve().parent] if found else []
    homes += sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda home: float(home.parent.name), reverse=True)
    for home in homes:
        if (home / "initdb").exists() and (home / "postgres").exists():
            return home
    raise Unavailable("needs Debian's package postgresql: run scripts/install-deps")


def unprivileged():
    for user in USERS:
        try:
            return pwd.getpwnam(user)
        except KeyError:
            continue
    raise Unavailable(f"refuses to run as root, and none of the users {', '.join(USERS)} exists")


class Postgres(Server):
    name = "postgres"
    variable = "MAYFLY_TEST_POSTGRES"
    stop_signal = signal.SIGINT  # "fast": ends sessions, then a checkpoint

    def __init__(self, state):
        super().__init__(state)
        self.user = unprivileged().pw_name if os.geteuid() == 0 else ""

    def install(self):
        programs()

    def home(self):
        return pathlib.Path((self.folder / "home").read_text(encoding="utf-8"))

    def prepare(self):
        home = self._reachable_home()
        (self.folder / "home").write_text(str(home), encoding="utf-8")
        password = home / "password"
        password.touch(0o600)
        password.write_text(self.settings()["secret"], encoding="ascii")
        if self.user:
            shutil.chown(password, self.user)
        made = subprocess.run([programs() / "initdb", "--pgdata", home / "data", "--username", "mayfly", "--pwfile", password, "--auth", "scram-sha-256",
                               "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-instructions"],
                              **self._as_user(), cwd=home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        password.unlink()
        if made.returncode != 0:
            raise Failed(f"initdb: {made.stdout.strip()}")

    def _as_user(self):
        if not self.user:
            return {}
        entry = pwd.getpwnam(self.user)
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

    def _reachable_home(self):
        """Its folder, unless its user may not go there (a checkout below /root): then one of its own under the system's temporary folder."""
        home = self.folder / "cluster"
        home.mkdir(mode=0o700)
        if self.user:
            shutil.chown(home, self.user)
            if subprocess.run(["test", "-w", home], **self._as_user(), check=False).returncode != 0:
                home.rmdir()
                home = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-postgres-"))
                shutil.chown(home, self.user)
        return home

    def recover(self):
        # Its process id is still taken, by itself, until init reaps it, and it would believe that another of it runs.
        for lock in [self.home() / "data/postmaster.pid", *self.home().glob(".s.PGSQL.*")]:
            lock.unlink(missing_ok=True)

    def command(self):
        home = self.home()
        # A socket's path is limited to 107 bytes; TCP serves where the folder is too deep.
        socket = str(home) if len(str(home)) < 80 else ""
        options = {"listen_addresses": "127.0.0.1", "port": self.port(), "unix_socket_directories": socket, "max_connections": 200,
                   "fsync": "on", "shared_buffers": "128MB", "log_checkpoints": "off", "timezone": "UTC", "log_timezone": "UTC"}
        return [programs() / "postgres", "-D", home / "data", *(word for key, value in options.items() for word in ("-c", f"{key}={value}"))], None

    def answers(self):
        ask = [shutil.which("psql") or programs() / "psql", "--no-psqlrc", "-tAc", "select 1", "-h", "127.0.0.1", "-p", str(self.port()), "-U", "mayfly", "postgres"]
        done = subprocess.run(ask, env=dict(os.environ, PGPASSWORD=self.settings()["secret"], PGCONNECT_TIMEOUT="5"), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
        return done.stdout.strip() == "1"

    def url(self):
        return f"postgresql://mayfly:{self.settings()['secret']}@127.0.0.1:{self.port()}/postgres"

    def forget(self):
        if (self.folder / "home").exists():
            shutil.rmtree(self.home(), ignore_errors=True)
