"""Services beside jobs, and images by registry name, through the shipped programs."""

import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.request
import uuid

from world import Forge, Repository, Server


class ServiceStories(unittest.TestCase):
    options = []

    @classmethod
    def setUpClass(cls):
        cls.server = Server(slots=4, options=cls.options).start()
        cls.forge = Forge(cls.server)

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def build(self, pipeline, files=None):
        repo = Repository(self.server.root, "s-" + uuid.uuid4().hex[:8], {".ci.yaml": pipeline, **(files or {})})
        self.server.add_project(repo)
        return self.server.finished(self.forge.push(repo))

    def log(self, build, name):
        return self.server.job_log(self.job(build, name)["id"]).decode()

    def job(self, build, name):
        return next(j for j in build["jobs"] if j["name"] == name)


def missing(*programs):
    absent = [p for p in programs if not shutil.which(p)]
    return f"needs {', '.join(absent)}: run scripts/install-deps" if absent else ""


def wait_for_registry(where):
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://{where}/v2/", timeout=2).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("docker-registry does not answer")


class OfTheHost(ServiceStories):
    @unittest.skipIf(missing("redis-server", "redis-cli"), missing("redis-server", "redis-cli"))
    def test_a_job_reaches_its_redis_by_name(self):
        build = self.build("""
jobs:
  test:
    services:
      cache: {image: host, run: "redis-server --port 6379 --save ''", ready: redis-cli -h cache ping}
    run: redis-cli -h cache set greeting hello && test "$(redis-cli -h cache get greeting)" = hello
""")
        self.assertEqual(build["status"], "succeeded", self.log(build, "test"))
        self.assertIn("the service 'cache' is ready after", self.log(build, "test"))

    def test_each_job_of_a_matrix_has_its_own(self):
        build = self.build("""
jobs:
  test:
    matrix: {word: [one, two, three]}
    network: none
    services:
      web: {image: host, run: 'mkdir -p /tmp/www && cd /tmp/www && echo "$WORD" > word && exec python3 -m http.server 80', env: {WORD: "${{ matrix.word }}"}, ready: "python3 -c 'import urllib.request; urllib.request.urlopen(\\"http://web/word\\")'"}
    run: test "$(python3 -c 'import urllib.request; print(urllib.request.urlopen("http://web/word").read().decode().strip())')" = ${{ matrix.word }}
""")
        self.assertEqual(build["status"], "succeeded", "".join(self.log(build, f"test ({w})") for w in ("one", "two", "three")))

    def test_one_that_ends_early_fails_the_job_with_its_last_words(self):
        build = self.build("""
jobs:
  test:
    services: {db: {image: host, run: "echo no room for a database >&2; exit 3", ready: "false"}}
    run: echo never
""")
        job = self.job(build, "test")
        self.assertEqual((build["status"], job["reason"]), ("failed", "service"))
        self.assertEqual(job["detail"], "the service 'db' exited with 3 before it was ready")
        log = self.log(build, "test")
        self.assertIn("db | no room for a database", log)
        self.assertNotIn("never", log)

    def test_one_that_dies_under_the_job_stops_it(self):
        began = time.monotonic()
        build = self.build("""
jobs:
  test:
    services: {db: {image: host, run: "until [ -e /tmp/go ]; do sleep 0.1; done; sleep 1; echo segfault; exit 139", ready: touch /tmp/go}}
    steps: [{run: sleep 1000}]
    finally: [{run: echo cleaned up}]
""")
        self.assertLess(time.monotonic() - began, 60)
        self.assertEqual(self.job(build, "test")["detail"], "the service 'db' exited with 139 while the job ran")
        self.assertIn("cleaned up", self.log(build, "test"))
        self.assertIn("db | segfault", self.log(build, "test"))


@unittest.skipIf(missing("docker-registry", "skopeo", "umoci", "busybox"), missing("docker-registry", "skopeo", "umoci", "busybox"))
class FromARegistry(ServiceStories):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="mayfly-registry-")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            cls.registry = f"127.0.0.1:{probe.getsockname()[1]}"
        cls.options = ["--registry", f"http://{cls.registry}", "--registry-mirror", f"docker.io=http://{cls.registry}"]
        cls.start_registry()
        cls.push_image()
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.process.kill()
        cls.process.wait()
        cls.folder.cleanup()

    @classmethod
    def start_registry(cls):
        root = pathlib.Path(cls.folder.name)
        (root / "config.yml").write_text(f'version: 0.1\nlog: {{accesslog: {{disabled: true}}, level: error}}\nstorage: {{filesystem: {{rootdirectory: {root}/data}}}}\nhttp: {{addr: "{cls.registry}"}}\n')
        cls.process = subprocess.Popen(["docker-registry", "serve", root / "config.yml"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for_registry(cls.registry)

    @classmethod
    def push_image(cls):
        def run(*words):
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        root = pathlib.Path(cls.folder.name)
        layout, bundle = root / "layout", root / "bundle"
        run("umoci", "init", "--layout", layout)
        run("umoci", "new", "--image", f"{layout}:1")
        run("umoci", "unpack", *([] if os.geteuid() == 0 else ["--rootless"]), "--image", f"{layout}:1", bundle)
        bin_ = bundle / "rootfs/bin"
        bin_.mkdir(parents=True)
        shutil.copy("/bin/busybox", bin_)
        for name in ("sh", "cat", "wget", "httpd", "grep", "echo", "test", "mkdir"):
            (bin_ / name).symlink_to("busybox")
        (bundle / "rootfs/www").mkdir()
        (bundle / "rootfs/www/page").write_text("served from an image\n")
        run("umoci", "repack", "--image", f"{layout}:1", bundle)
        run("umoci", "config", "--image", f"{layout}:1", "--config.cmd", "httpd", "--config.cmd", "-f", "--config.workingdir", "/www", "--config.env", "FROM_IMAGE=yes")
        run("skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", f"oci:{layout}:1", f"docker://{cls.registry}/library/web:1")

    def test_a_job_and_its_service_run_in_images_of_the_registry(self):
        build = self.build(f"""
jobs:
  test:
    image: "{self.registry}/library/web:1"
    services: {{web: {{image: "web:1", ready: wget -q -O /dev/null http://web/page}}}}
    run: |
      test "$FROM_IMAGE" = yes
      wget -q -O - http://web/page
""")
        log = self.log(build, "test")
        self.assertEqual(build["status"], "succeeded", log)
        self.assertIn("served from an image", log)
        self.assertIn(f"pulling {self.registry}/library/web:1 (sha256:", log)

    def test_an_image_that_is_not_there_fails_the_job_at_once(self):
        build = self.build('jobs: {test: {image: "absent:1", run: echo never}}'.replace("absent", f"{self.registry}/absent"))
        job = self.job(build, "test")
        self.assertEqual((build["status"], job["reason"]), ("failed", "image_pull"))
        self.assertEqual(job["attempt"], 1)
        self.assertIn(f"there is no {self.registry}/absent:1", job["detail"])


BUILDS = missing("buildah", "docker-registry", "busybox", "ip", "slirp4netns") or ("" if os.geteuid() == 0 else "needs root, to make the namespace a registry is in")


@unittest.skipIf(BUILDS, BUILDS)
class ImageBuilds(ServiceStories):
    """A registry in a network of its own, since no job reaches this machine's loopback."""

    @classmethod
    def setUpClass(cls):
        number = os.getpid() % 200 + 20
        cls.namespace, cls.link, network = f"mfb{os.getpid()}", f"mfb{os.getpid() % 100000}", f"10.213.{number}"
        cls.registry = f"{network}.2:5000"
        cls.folder = tempfile.TemporaryDirectory(prefix="mayfly-registry-")
        cls.process = None
        cls.addClassCleanup(cls.clean_up)
        for command in (f"netns add {cls.namespace}", f"link add {cls.link} type veth peer name eth0 netns {cls.namespace}", f"addr add {network}.1/24 dev {cls.link}", f"link set {cls.link} up",
                        f"-n {cls.namespace} addr add {network}.2/24 dev eth0", f"-n {cls.namespace} link set eth0 up", f"-n {cls.namespace} link set lo up"):
            subprocess.run(["ip", *command.split()], check=True)
        root = pathlib.Path(cls.folder.name)
        (root / "config.yml").write_text(f'version: 0.1\nlog: {{accesslog: {{disabled: true}}, level: error}}\nstorage: {{filesystem: {{rootdirectory: {root}/data}}}}\nhttp: {{addr: "{cls.registry}"}}\n')
        cls.process = subprocess.Popen(["ip", "netns", "exec", cls.namespace, "docker-registry", "serve", root / "config.yml"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for_registry(cls.registry)
        cls.options = ["--user-namespaces", "--allow-network", f"{network}.0/24"]
        super().setUpClass()

    @classmethod
    def clean_up(cls):
        if cls.process:
            cls.process.kill()
            cls.process.wait()
        subprocess.run(["ip", "link", "del", cls.link], stderr=subprocess.DEVNULL)
        subprocess.run(["ip", "netns", "del", cls.namespace], stderr=subprocess.DEVNULL)
        cls.folder.cleanup()

    PIPELINE = """
jobs:
  image:
    resources: {memory: 1Gi, disk: 2Gi}
    run: |
      cp /bin/busybox .
      sh build-image --insecure --push REGISTRY/team/app:TAG --cache REGISTRY/team/app/cache .
"""
    DOCKERFILE = 'FROM scratch\nCOPY busybox /bin/sh\nRUN ["/bin/sh", "-c", "echo this is slow && echo made > /made"]\nCOPY app /app\nCMD ["/bin/sh"]\n'

    def build_image(self, tag, app):
        script = (pathlib.Path(__file__).parents[2] / "examples/build-image/build-image").read_text()
        build = self.build(self.PIPELINE.replace("REGISTRY", self.registry).replace("TAG", tag), {"Dockerfile": self.DOCKERFILE, "app": app, "build-image": script})
        log = self.log(build, "image")
        self.assertEqual(build["status"], "succeeded", log)
        return log

    def test_a_dockerfile_is_built_and_pushed_and_its_layers_are_found_again(self):
        first = self.build_image("1", "one")
        self.assertIn("this is slow\n", first.replace("\r", ""))
        manifest = urllib.request.urlopen(urllib.request.Request(f"http://{self.registry}/v2/team/app/manifests/1", headers={"Accept": "application/vnd.oci.image.manifest.v1+json"}), timeout=10)
        self.assertEqual(manifest.status, 200)
        second = self.build_image("2", "two")
        self.assertIn("Cache pulled from remote", second)
        self.assertNotIn("\nthis is slow\n", second)


if __name__ == "__main__":
    unittest.main()
