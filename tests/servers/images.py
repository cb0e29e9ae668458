"""Container images for tests, made of this machine's own files: no registry of the world is asked.

`local/busybox:1` is a static busybox, 2 MB. `local/debian:1` has what most jobs need (bash, git, coreutils, curl, …): the files of Debian packages
as they are installed here. `local/redis:1` is a service. One archive an image, which `docker load`, `ctr import` and skopeo (as `docker-archive:`
or `oci-archive:`) all read; the same files make the same bytes.
"""
import hashlib
import io
import json
import os
import pathlib
import platform
import re
import shutil
import stat
import subprocess
import sys
import tarfile

from installs import FOLDER, Unavailable, installed, recipe_key

APPLETS = ["sh", "ash", "awk", "cat", "chmod", "chown", "cp", "cut", "date", "dd", "df", "dmesg", "echo", "env", "expr", "false", "find", "grep", "head", "hostname", "httpd", "id", "ip",
           "kill", "ln", "ls", "mkdir", "mkfifo", "mount", "mv", "nc", "nslookup", "od", "ping", "printenv", "printf", "ps", "pwd", "readlink", "rm", "rmdir", "sed", "seq", "sha256sum",
           "sleep", "sort", "stat", "sync", "tail", "tar", "tee", "test", "timeout", "touch", "tr", "true", "tty", "umount", "uname", "uniq", "unshare", "vi", "wc", "wget", "which",
           "whoami", "xargs", "yes"]
PACKAGES = {"debian": ["base-files", "bash", "ca-certificates", "coreutils", "curl", "dash", "diffutils", "findutils", "git", "grep", "gzip", "hostname", "iproute2", "mawk", "procps",
                       "sed", "tar", "util-linux"],
            "redis": ["bash", "coreutils", "dash", "redis-server", "redis-tools"]}
# Not worth their size here, and perl only for the parts of git that nothing here uses.
LEFT_OUT = re.compile(r"(debconf.*|dpkg|init-system-helpers|perl.*|libperl.*|lsb-base|sysvinit-utils|adduser|passwd|logrotate|cron.*|systemd.*|udev|libpam.*)$")
SKIPPED = re.compile(r"/usr/share/(doc|doc-base|man|info|locale|lintian|bug|bash-completion|zsh|fish|perl|perl5)(/|$)|/usr/share/doc|/var/lib/dpkg|/lib/systemd|/usr/lib/systemd")
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
SETTINGS = {"busybox": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
            "debian": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["bash"]},
            "redis": {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["redis-server", "--save", "", "--protected-mode", "no"], "ExposedPorts": {"6379/tcp": {}}}}
FILES = {"etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
         "etc/group": b"root:x:0:\nnogroup:x:65534:\n", "etc/nsswitch.conf": b"passwd: files\ngroup: files\nhosts: files dns\n"}


class Layer:
    """A layer's tar, in memory. A path is added once, its folders before it."""

    def __init__(self):
        self.raw = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.raw, mode="w", format=tarfile.GNU_FORMAT)
        self.held = set()
        for folder in ["dev", "etc", "proc", "root", "run", "sys", "tmp", "var", "var/tmp"]:
            self.folder(folder, 0o1777 if folder.endswith("tmp") else 0o755)

    def _add(self, name, kind, mode=0o755, link="", data=None):
        if name in self.held:
            return
        self.held.add(name)
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode, entry.linkname = kind, mode, link
        entry.size = len(data or b"")
        self.tar.addfile(entry, io.BytesIO(data) if data is not None else None)

    def folder(self, name, mode=0o755):
        self.parents(name)
        self._add(name, tarfile.DIRTYPE, mode)

    def parents(self, name):
        for parent in reversed(pathlib.PurePosixPath(name).parents[:-1]):
            self._add(str(parent), tarfile.DIRTYPE)

    def link(self, name, target):
        self.parents(name)
        self._add(name, tarfile.SYMTYPE, 0o777, target)

    def file(self, name, data, mode=0o755):
        self.parents(name)
        self._add(name, tarfile.REGTYPE, mode, "", data)

    def of_this_machine(self, path):
        """A file, folder or link as it is here, under its true path (/bin/sh lies in /usr/bin)."""
        path = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        name = path.lstrip("/")
        try:
            state = os.lstat(path)
        except FileNotFoundError:
            return
        if stat.S_ISLNK(state.st_mode):
            self.link(name, os.readlink(path))
            if "/etc/alternatives/" in os.readlink(path):
                self.of_this_machine(os.readlink(path))
        elif stat.S_ISDIR(state.st_mode):
            self.folder(name, stat.S_IMODE(state.st_mode))
        elif stat.S_ISREG(state.st_mode):
            self.file(name, pathlib.Path(path).read_bytes(), stat.S_IMODE(state.st_mode) & 0o1777)

    def bytes(self):
        self.tar.close()
        return self.raw.getvalue()


def busybox_layer():
    program = shutil.which("busybox")
    if not program:
        raise Unavailable("needs Debian's package busybox-static: run scripts/install-deps")
    layer = Layer()
    layer.file("bin/busybox", pathlib.Path(program).read_bytes())
    for applet in APPLETS:
        layer.link(f"bin/{applet}", "busybox")
    for name, data in FILES.items():
        layer.file(name, data, 0o644)
    return layer.bytes()


def installed_packages():
    """name → (names it needs, as alternatives count all) of every installed package."""
    told = subprocess.run(["dpkg-query", "-W", "-f", "${Package}\t${db:Status-Status}\t${Pre-Depends}, ${Depends}\t${Provides}\n"], stdout=subprocess.PIPE, text=True, check=True).stdout
    needs, provided = {}, {}
    for line in told.splitlines():
        name, state, depends, provides = line.split("\t")
        if state == "installed":
            needs[name] = [word for word in re.sub(r"\([^)]*\)|:any", "", depends).replace("|", ",").replace(" ", "").split(",") if word]
            for word in re.sub(r"\([^)]*\)", "", provides).replace(" ", "").split(","):
                provided.setdefault(word, name)
    return needs, provided


def closure(roots):
    needs, provided = installed_packages()
    if missing := [name for name in roots if name not in needs]:
        raise Unavailable(f"needs Debian's packages {', '.join(missing)}: run scripts/install-deps")
    found, look = set(), list(roots)
    while look:
        name = look.pop()
        name = name if name in needs else provided.get(name)
        if name and name not in found and not LEFT_OUT.match(name):
            found.add(name)
            look += needs[name]
    return sorted(found)


def libraries_of(program):
    told = subprocess.run(["ldd", program], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout
    return re.findall(r"(/\S+) \(0x", told)


def packages_layer(roots, programs=()):
    """What the packages consist of, and programs of ours in /usr/local/bin with the libraries they need."""
    layer = Layer()
    for name in ["bin", "sbin", "lib", "lib64"]:
        if os.path.islink(f"/{name}"):
            layer.link(name, os.readlink(f"/{name}"))
    for name, data in FILES.items():
        layer.file(name, data, 0o644)
    files = subprocess.run(["dpkg-query", "-L", *closure(roots)], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    for path in sorted({line for line in files if line.startswith("/") and line != "/." and not SKIPPED.search(line)}):
        layer.of_this_machine(path)
    layer.of_this_machine("/usr/bin/awk")
    bundle = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
    if bundle.exists() and "ca-certificates" in roots:
        layer.file("etc/ssl/certs/ca-certificates.crt", bundle.read_bytes(), 0o644)
    for program in programs:
        layer.file(f"usr/local/bin/{pathlib.Path(program).name}", pathlib.Path(program).read_bytes())
        for library in libraries_of(program):
            layer.of_this_machine(library)
            layer.of_this_machine(os.path.realpath(library))
    return layer.bytes()


def write_archive(path, name, layer, settings):
    blobs = {}

    def blob(media, data):
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(data)}

    oci = "application/vnd.oci.image"
    layers = [blob(f"{oci}.layer.v1.tar", layer)]
    config = blob(f"{oci}.config.v1+json", json.dumps({
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()), "os": "linux", "created": "1970-01-01T00:00:00Z",
        "config": dict(settings, WorkingDir="/"), "rootfs": {"type": "layers", "diff_ids": [entry["digest"] for entry in layers]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "mayfly tests"}]}).encode())
    manifest = blob(f"{oci}.manifest.v1+json", json.dumps({"schemaVersion": 2, "mediaType": f"{oci}.manifest.v1+json", "config": config, "layers": layers}).encode())
    manifest["annotations"] = {"io.containerd.image.name": f"docker.io/{name}", "org.opencontainers.image.ref.name": name.rpartition(":")[2]}
    place = lambda entry: "blobs/sha256/" + entry["digest"].partition(":")[2]
    texts = {"oci-layout": {"imageLayoutVersion": "1.0.0"}, "index.json": {"schemaVersion": 2, "manifests": [manifest]},
             "manifest.json": [{"Config": place(config), "RepoTags": [name], "Layers": [place(entry) for entry in layers]}]}
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as out:
        for file, data in [*((file, json.dumps(text).encode()) for file, text in texts.items()), *((f"blobs/sha256/{digest}", data) for digest, data in blobs.items())]:
            entry = tarfile.TarInfo(file)
            entry.size, entry.mode = len(data), 0o644
            out.addfile(entry, io.BytesIO(data))


def write_runner_image(path, name, programs):
    """What a pod's runner needs: our programs, git and a shell."""
    write_archive(path, name, packages_layer(PACKAGES["debian"], programs), SETTINGS["debian"])


def reference(name):
    return f"local/{name}:1"


def archive(name):
    """The archive of one of SETTINGS' images, made the first time."""
    packages = PACKAGES.get(name, ["busybox-static"])
    if not shutil.which("dpkg-query"):
        raise Unavailable("needs a Debian: its images are made of the packages installed here")
    versions = subprocess.run(["dpkg-query", "-W", *packages], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout
    make = lambda folder, _log: write_archive(folder / "image.tar", reference(name), packages_layer(packages) if name in PACKAGES else busybox_layer(), SETTINGS[name])
    return installed(f"image-{name}", "1", recipe_key(FOLDER / "images.py", versions), make) / "image.tar"


if __name__ == "__main__":
    for wanted in sys.argv[1:] or SETTINGS:
        print(archive(wanted))
