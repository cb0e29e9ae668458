"""Keys and certificates for a Kubernetes cluster of tests, by openssl: P-256, made once for a cluster, in well under a second."""
import base64
import json
import os
import subprocess

from installs import Failed

DAYS = "3650"


def openssl(*words, folder):
    done = subprocess.run(["openssl", *words], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"`openssl {' '.join(words)}`: {done.stdout.strip()}")


class Authority:
    """A certificate authority whose files lie in a folder."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def file(self, name):
        return self.folder / name

    def make(self):
        self.key("ca")
        openssl("req", "-x509", "-new", "-key", "ca.key", "-subj", "/CN=mayfly-tests", "-days", DAYS, "-out", "ca.crt", folder=self.folder)

    def key(self, name):
        old = os.umask(0o077)
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key", folder=self.folder)
        os.umask(old)

    def certify(self, name, subject, addresses=(), names=()):
        """A client's certificate, or a server's when it has addresses."""
        self.key(name)
        alternatives = [f"IP:{address}" for address in addresses] + [f"DNS:{dns}" for dns in names]
        lines = ["basicConstraints=CA:FALSE", "keyUsage=digitalSignature", "extendedKeyUsage=" + ("serverAuth" if alternatives else "clientAuth")]
        extensions = self.file(f"{name}.ext")
        extensions.write_text("\n".join(lines + (["subjectAltName=" + ",".join(alternatives)] if alternatives else [])) + "\n", encoding="ascii")
        openssl("req", "-new", "-key", f"{name}.key", "-subj", subject, "-out", f"{name}.csr", folder=self.folder)
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", DAYS, "-out", f"{name}.crt", "-extfile", f"{name}.ext", folder=self.folder)
        extensions.unlink()
        self.file(f"{name}.csr").unlink()

    def kubeconfig(self, name, server):
        """One for a client's certificate, whole in itself. JSON is YAML."""
        data = lambda file: base64.b64encode(self.file(file).read_bytes()).decode()
        path = self.file(f"{name}.kubeconfig")
        path.touch(0o600)
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "tests",
            "clusters": [{"name": "tests", "cluster": {"server": server, "certificate-authority-data": data("ca.crt")}}],
            "users": [{"name": name, "user": {"client-certificate-data": data(f"{name}.crt"), "client-key-data": data(f"{name}.key")}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": name}}]}, indent=1), encoding="utf-8")
        return path
