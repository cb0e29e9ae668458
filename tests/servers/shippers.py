"""Log shippers that are not ours, for tests: rsyslog to Kafka, and syslog-ng, Telegraf and Vector by HTTP.

Debian's packages of the first two are unpacked into the user's cache instead of installed: each would take the machine's own syslog away. No package
has the others: they are used where they are in PATH.
"""
import os
import pathlib
import platform
import shutil
import signal
import subprocess

from installs import Failed, Unavailable, installed, recipe_key, run
from processes import Process, wait_for

PACKAGES = ["libestr0", "libfastjson4", "libglib2.0-0", "libivykis0", "libjson-c5", "liblognorm5", "libnet1", "libpcre3", "libwrap0", "rsyslog", "rsyslog-kafka", "syslog-ng-core", "syslog-ng-mod-http"]
VERSION = "debian"
SECONDS_TO_START = 30


def as_root(*command):
    return command if os.geteuid() == 0 else ("sudo", *command)


def unpack(folder, log):
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise Unavailable("needs a Debian: the shippers are its packages")
    what = "rsyslog and syslog-ng"
    download = ["apt-get", "download", *PACKAGES]
    try:
        run(download, what, folder, log)
    except Failed:  # the lists of packages are old, or not there
        run(as_root("apt-get", "update", "-qq"), what, folder, log)
        run(download, what, folder, log)
    for package in sorted(folder.glob("*.deb")):
        run(["dpkg-deb", "-x", package, "."], what, folder, log)
        package.unlink()


class Shipper:
    """One that runs; its places in the files it reads are kept in its folder."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process = Process(self.folder / "process")
        self.log = self.folder / "output"

    def install(self):
        release = platform.freedesktop_os_release()
        self.tree = installed("shippers", VERSION, recipe_key(release.get("ID"), release.get("VERSION_ID"), platform.machine(), PACKAGES), unpack)
        self.libraries = next(self.tree.glob("usr/lib/*/rsyslog")).parent
        paths = [self.libraries, self.tree / "lib" / self.libraries.name, self.tree / "usr/lib/syslog-ng"]
        return dict(os.environ, LD_LIBRARY_PATH=":".join(map(str, paths)))

    def start(self):
        environment = self.install()
        starter = self.process.launch(self.command(), self.log, environment=environment, directory=self.folder)
        if not wait_for(lambda: starter.poll() is not None or self.reads(), SECONDS_TO_START) or starter.poll() is not None:
            self.process.end(signal.SIGKILL)
            raise Failed(f"{type(self).__name__} did not start:\n{self.log.read_text(errors='replace')[-2000:]}")

    def stop(self, how=signal.SIGTERM):
        self.process.end(how)


class Rsyslog(Shipper):
    """Reads the lines of files by inotify (imfile) and produces one JSON record a line, keyed by the attempt."""

    CONFIG = """\
global(workDirectory="{folder}" maxMessageSize="64k")
module(load="imfile" mode="inotify")
module(load="omkafka")
template(name="record" type="list" option.jsonf="on") {{
  property(outname="file" name="$!metadata!filename" format="jsonf")
  property(outname="offset" name="$!metadata!fileoffset" format="jsonf")
  property(outname="msg" name="msg" format="jsonf")
}}
template(name="key" type="string" string="%$!attempt%")
ruleset(name="logs") {{
  set $!attempt = re_extract($!metadata!filename, "([0-9a-f-]{{36}})[.]jsonl", 0, 1, "unknown");
  action(type="omkafka" broker=["{broker}"] topic="{topic}" template="record" key="key" dynaKey="on" partitions.auto="on"
    confParam=["enable.idempotence=true", "acks=all", "linger.ms=5"] action.resumeRetryCount="-1"
    queue.type="LinkedList" queue.filename="unsent" queue.saveOnShutdown="on" queue.size="100000")
}}
input(type="imfile" File="{files}/*.jsonl" Tag="log" addMetadata="on" freshStartTail="off" ruleset="logs")
"""

    def __init__(self, folder, files, broker, topic):
        super().__init__(folder)
        (self.folder / "rsyslog.conf").write_text(self.CONFIG.format(folder=self.folder, files=files, broker=broker, topic=topic), encoding="utf-8")

    def command(self):
        return [self.tree / "usr/sbin/rsyslogd", "-n", "-f", self.folder / "rsyslog.conf", "-i", self.folder / "pid", "-M", self.libraries / "rsyslog"]

    def reads(self):
        return (self.folder / "pid").exists()

    def stop(self, how=signal.SIGTERM):
        super().stop(how)
        (self.folder / "pid").unlink(missing_ok=True)


class SyslogNg(Shipper):
    """Reads the lines of files and posts batches of JSON records, a line each."""

    CONFIG = """\
@version: 3.38
options {{ keep-hostname(yes); log-msg-size(65536); stats-freq(0); }};
source logs {{
  wildcard-file(base-dir("{files}") filename-pattern("*.jsonl") follow-freq(0.1) flags(no-parse, no-multi-line) read-old-records(yes) max-files(1000)
    log-fetch-limit(1000) log-iw-size(1000000));
}};
destination ingest {{
  http(url("{url}/runner/v1/ingest") method("POST") headers("Authorization: Bearer {token}", "Content-Type: application/x-ndjson")
    body("$(format-json --scope none file=\\"${{FILE_NAME}}\\" message=\\"${{MESSAGE}}\\")")
    delimiter("\\n") batch-lines(200) batch-timeout(100) workers(1) timeout(30) time-reopen(1) retries(1000000));
}};
log {{ source(logs); destination(ingest); flags(flow-control); }};
"""

    def __init__(self, folder, files, url, token):
        super().__init__(folder)
        config = self.folder / "syslog-ng.conf"
        config.touch(0o600)
        config.write_text(self.CONFIG.format(files=files, url=url, token=token), encoding="utf-8")

    def command(self):
        return [self.tree / "usr/sbin/syslog-ng", "--foreground", "--no-caps", "--cfgfile", self.folder / "syslog-ng.conf", "--persist-file", self.folder / "persist",
                "--pidfile", self.folder / "pid", "--control", self.folder / "control", "--module-path", self.tree / "usr/lib/syslog-ng/3.38"]

    def reads(self):
        return (self.folder / "control").exists()

    def stop(self, how=signal.SIGTERM):
        super().stop(how)
        (self.folder / "control").unlink(missing_ok=True)


class InPath(Shipper):
    """One that is used where somebody has it."""

    program = ""

    def install(self):
        if not shutil.which(self.program):
            raise Unavailable(f"there is no {self.program} in PATH")
        return os.environ

    def reads(self):
        return True  # it says nothing of itself; its lines come, or they do not


class Telegraf(InPath):
    """Tails files and posts batches of metrics, packed and in chunks; it knows no offsets."""

    program = "telegraf"
    CONFIG = """\
[agent]
  interval = "1s"
  flush_interval = "200ms"
  flush_jitter = "0s"
  metric_batch_size = 1000
  metric_buffer_limit = 100000
  omit_hostname = true
  statefile = "{folder}/state.json"
[[inputs.tail]]
  files = ["{files}/*.jsonl"]
  initial_read_offset = "saved-or-beginning"
  max_undelivered_lines = 5000
  path_tag = "path"
  data_format = "value"
  data_type = "string"
  name_override = "log"
[[outputs.http]]
  url = "{url}/runner/v1/ingest"
  method = "POST"
  data_format = "json"
  content_encoding = "gzip"
  use_batch_format = true
  [outputs.http.headers]
    Authorization = "Bearer {token}"
"""

    def __init__(self, folder, files, url, token):
        super().__init__(folder)
        config = self.folder / "telegraf.conf"
        config.touch(0o600)
        config.write_text(self.CONFIG.format(folder=self.folder, files=files, url=url, token=token), encoding="utf-8")

    def command(self):
        return [self.program, "--config", self.folder / "telegraf.conf"]


class Vector(InPath):
    """With the configuration of deploy/."""

    program = "vector"
    CONFIG = pathlib.Path(__file__).resolve().parents[2] / "deploy/vector.toml"

    def __init__(self, folder, files, url, token):
        super().__init__(folder)
        self.variables = {"MAYFLY_LOG_FILES": str(files), "MAYFLY_URL": url, "MAYFLY_SHIPPER_TOKEN": token, "VECTOR_DATA": str(self.folder)}

    def install(self):
        return {**super().install(), **self.variables}

    def command(self):
        return [self.program, "--config", self.CONFIG]
