"""Kafka: one KRaft node, broker and controller in one small Java process.

Beside the jars the install keeps a formatted data folder and an archive of the loaded classes (AppCDS): without them each start is a second
Java process and several seconds more. The short broker session is for `kill`: a broker is not let in again before the session of the one before it has ended.
"""
import hashlib
import json
import pathlib
import shutil
import signal
import subprocess
import tempfile

from installs import FOLDER, Failed, Unavailable, installed, recipe_key, run
from processes import ENDING, Process, wait_for
from server import SECONDS_TO_ANSWER, Server, free_port

VERSION = "4.1.1"
RECIPE = FOLDER / "kafka"
OLDEST_JAVA = 17
JAVA_OPTIONS = ["-Xms128m", "-Xmx384m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData"]
CLUSTER = "bWF5Zmx5LXRlc3RzLWthZg"  # any 22 characters of base64url are a cluster's id
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
num.partitions=3
num.network.threads=2
num.io.threads=4
offsets.topic.replication.factor=1
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=3
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
broker.heartbeat.interval.ms=300
broker.session.timeout.ms=2000
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=16777216
"""


def java_version():
    java = shutil.which("java")
    if not java:
        raise Unavailable("needs Debian's package default-jre-headless: run scripts/install-deps")
    told = subprocess.run([java, "-XshowSettings:properties", "-version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout
    known = {key.strip(): value for key, _, value in (line.partition(" = ") for line in told.splitlines())}
    feature = int(known.get("java.specification.version", "0").split(".")[0])
    if feature < OLDEST_JAVA:
        raise Unavailable(f"needs Java {OLDEST_JAVA} or newer, and {java} is {feature}")
    return known["java.vm.version"]


def java(home, *options):
    jars = sorted((home / "libs").glob("*.jar"))
    return ["java", *JAVA_OPTIONS, *options, f"-Dlog4j2.configurationFile={RECIPE / 'log4j2.properties'}", "-cp", ":".join(map(str, jars))]


def answers(port):
    done = subprocess.run(["kcat", "-b", f"127.0.0.1:{port}", "-L", "-J", "-m", "2"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    try:
        return done.returncode == 0 and bool(json.loads(done.stdout)["brokers"])
    except ValueError:
        return False  # it was cut short


def check_sums(libs):
    """The jars are those this recipe was written with, no more and no other."""
    expected = dict(reversed(line.split()) for line in (RECIPE / "SHA256SUMS").read_text(encoding="ascii").splitlines())
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in libs.iterdir()}
    if wrong := sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)):
        raise Failed(f"Kafka's jars are not those of {RECIPE / 'SHA256SUMS'}: {', '.join(wrong)}")


def fetch(folder, log):
    if not shutil.which("mvn"):
        raise Unavailable("needs Debian's package maven: run scripts/install-deps")
    shutil.copy(RECIPE / "pom.xml", folder)
    run(["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=libs", "-DincludeScope=runtime"], f"kafka {VERSION}", folder, log)
    check_sums(folder / "libs")


def train(jars, folder, log):
    """Formats a data folder to copy from, and runs the broker once to archive the classes that it loads."""
    what = f"kafka {VERSION}: first start"
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        scratch = pathlib.Path(scratch)
        port = free_port(set())
        properties = scratch / "server.properties"
        properties.write_text(PROPERTIES.format(port=port, controller=free_port({port}), data=scratch / "data"), encoding="ascii")
        run([*java(jars), "kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", properties], what, scratch, log)
        shutil.copytree(scratch / "data", folder / "formatted")
        broker = Process(scratch / "process")
        starter = broker.launch([*java(jars, f"-XX:ArchiveClassesAtExit={folder / 'classes.jsa'}"), "kafka.Kafka", properties], log, directory=scratch)
        try:
            hopeless = lambda: starter.poll() is not None or ENDING.is_set()
            if not wait_for(lambda: hopeless() or answers(port), SECONDS_TO_ANSWER, 0.1) or hopeless():
                raise Failed(f"{what}: see {log}")
        finally:
            broker.end(signal.SIGTERM, 60)


class Kafka(Server):
    name = "kafka"
    variable = "MAYFLY_TEST_KAFKA"
    port_names = ["port", "controller"]

    def install(self):
        if not shutil.which("kcat"):
            raise Unavailable("needs Debian's package kcat: run scripts/install-deps")
        version = java_version()
        key = recipe_key(RECIPE / "pom.xml", RECIPE / "SHA256SUMS")
        self.jars = installed("kafka-jars", VERSION, key, fetch)
        trained = recipe_key(str(self.jars), version, JAVA_OPTIONS, PROPERTIES)
        self.trained = installed("kafka-trained", VERSION, trained, lambda folder, log: train(self.jars, folder, log))

    def prepare(self):
        shutil.copytree(self.trained / "formatted", self.folder / "data")

    def command(self):
        properties = self.folder / "server.properties"
        properties.write_text(PROPERTIES.format(port=self.port(), controller=self.port("controller"), data=self.folder / "data"), encoding="utf-8")
        return [*java(self.jars, f"-XX:SharedArchiveFile={self.trained / 'classes.jsa'}", "-Xshare:auto"), "kafka.Kafka", properties], None

    def answers(self):
        return answers(self.port())

    def url(self):
        return f"127.0.0.1:{self.port()}"
