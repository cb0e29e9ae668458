"""What deploy/ says is true: its configurations are accepted, and its parts refer to each other."""
import pathlib
import re
import shutil
import subprocess
import tempfile
import tomllib
import unittest

import yaml

from world import BIN

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
ROLES = {"gateway", "builds", "scheduler", "runners", "logs"}
OF_THE_CLUSTER = {"Namespace", "RuntimeClass", "ClusterRoleBinding"}
NAMESPACES = {"mayfly", "mayfly-runners"}
SECRETS = {"database", "redis", "s3_access_key", "s3_secret_key", "runner_key", "sealing_key", "owner_token"}


class Deploy(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-deploy-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        shutil.copy(DEPLOY / "make-secrets", cls.folder)
        subprocess.run([cls.folder / "make-secrets"], check=True)
        cls.secrets = cls.folder / "secrets"

    def check(self, text, mounted_at, roles):
        """What `mayfly serve` says to a configuration whose secrets lie where the container has them."""
        config = self.folder / "mayfly.yaml"
        config.write_text(text.replace(mounted_at, str(self.secrets)))
        done = subprocess.run([BIN / "mayfly", "serve", "--config", config, "--roles", roles, "--check"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode, done.stdout

    def assert_usable(self, text, mounted_at, roles):
        status, said = self.check(text, mounted_at, roles)
        self.assertEqual(status, 0, f"{roles}: {said}")

    def test_secrets_are_made_once_and_for_nobody_else(self):
        before = {path.name: path.read_bytes() for path in self.secrets.iterdir()}
        subprocess.run([self.folder / "make-secrets"], check=True)
        self.assertEqual({path.name: path.read_bytes() for path in self.secrets.iterdir()}, before)
        self.assertLessEqual(SECRETS, before.keys())
        self.assertEqual(self.secrets.stat().st_mode & 0o077, 0)
        self.assertTrue(all(before.values()))

    def test_compose_runs_two_of_every_role_with_a_configuration_that_can_be_used(self):
        compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
        nodes = {name: service for name, service in compose["services"].items() if "build" in service}
        self.assertEqual(set(nodes), ROLES)
        text = compose["configs"]["mayfly"]["content"]
        for name, service in nodes.items():
            self.assertEqual(service["command"], ["serve", "--config", service["configs"][0]["target"], "--roles", name])
            self.assertEqual(service["deploy"]["replicas"], 2)
            self.assertLessEqual(set(service["depends_on"]), set(compose["services"]))
            self.assert_usable(text, "/run/secrets", name)
        for service in compose["services"].values():
            self.assertLessEqual(set(service.get("secrets", [])), set(compose["secrets"]))
            self.assertIn("healthcheck", service)
            volumes = {volume.partition(":")[0] for volume in service.get("volumes", [])}
            self.assertLessEqual(volumes, set(compose["volumes"]))
        for secret in compose["secrets"].values():
            self.assertTrue((self.folder / secret["file"]).exists(), secret)
        used = set(re.findall(r"/run/secrets/(\w+)", text))
        self.assertLessEqual(used, set(nodes["gateway"]["secrets"]))

    def test_a_mistake_in_a_configuration_is_found(self):
        text = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["configs"]["mayfly"]["content"]
        status, said = self.check(text.replace("brokers:", "broker:"), "/run/secrets", "logs")
        self.assertEqual(status, 2)
        self.assertIn("broker", said)

    def manifests(self):
        for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
            for document in yaml.safe_load_all(path.read_text()):
                self.assertTrue(document["apiVersion"] and document["metadata"]["name"], path)
                if document["kind"] not in OF_THE_CLUSTER:
                    self.assertIn(document["metadata"]["namespace"], NAMESPACES, path)
                yield document

    def of_kind(self, kind, namespace="mayfly"):
        return {document["metadata"]["name"]: document for document in self.manifests() if document["kind"] == kind and document["metadata"].get("namespace", namespace) == namespace}

    def test_the_cluster_runs_two_of_every_role_with_a_configuration_that_can_be_used(self):
        text = self.of_kind("ConfigMap")["mayfly"]["data"]["mayfly.yaml"]
        claims, accounts = self.of_kind("PersistentVolumeClaim"), self.of_kind("Deployment")
        self.assertEqual(set(accounts), ROLES)
        for name, deployment in accounts.items():
            spec = deployment["spec"]["template"]["spec"]
            (container,) = spec["containers"]
            self.assertEqual(deployment["spec"]["replicas"], 2)
            self.assertEqual(container["args"], ["serve", "--config", "/etc/mayfly/mayfly.yaml", "--roles", name])
            self.assert_usable(text, "/etc/mayfly-secrets", name)
            self.assertEqual({probe: container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")},
                             {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"})
            self.assertEqual(spec["automountServiceAccountToken"], name == "runners", name)
            self.assertFalse(container["securityContext"]["allowPrivilegeEscalation"])
            volumes = {volume["name"]: volume for volume in spec["volumes"]}
            self.assertEqual({mount["name"] for mount in container["volumeMounts"]}, set(volumes))
            self.assertEqual(volumes["config"]["configMap"]["name"], "mayfly")
            self.assertEqual(volumes["secrets"]["secret"]["secretName"], "mayfly")
            self.assertIn(volumes["mirrors"]["persistentVolumeClaim"]["claimName"], claims)
        self.assertEqual(set(re.findall(r"/etc/mayfly-secrets/(\w+)", text)), SECRETS)

    def test_selectors_of_the_cluster_select_what_is_there(self):
        deployments = self.of_kind("Deployment")
        pods = {name: deployment["spec"]["template"]["metadata"]["labels"] for name, deployment in deployments.items()}

        def selected(labels):
            return {name for name, known in pods.items() if labels.items() <= known.items()}

        for name, deployment in deployments.items():
            self.assertEqual(selected(deployment["spec"]["selector"]["matchLabels"]), {name})
        budgets = self.of_kind("PodDisruptionBudget")
        self.assertEqual(set(budgets), ROLES)
        for name, budget in budgets.items():
            self.assertEqual(selected(budget["spec"]["selector"]["matchLabels"]), {name})
            self.assertEqual(budget["spec"]["minAvailable"], 1)
        service = self.of_kind("Service")["gateway"]["spec"]
        self.assertEqual(selected(service["selector"]), {"gateway"})
        ports = {port["name"]: port["containerPort"] for port in deployments["gateway"]["spec"]["template"]["spec"]["containers"][0]["ports"]}
        self.assertIn(service["ports"][0]["targetPort"], ports)
        for policy in self.of_kind("NetworkPolicy").values():
            labels = policy["spec"]["podSelector"].get("matchLabels", {})
            self.assertTrue(selected(labels), policy["metadata"]["name"])
            for rule in policy["spec"].get("ingress", []):
                self.assertTrue(all(port["port"] in ports for port in rule["ports"]))
        config = self.of_kind("ConfigMap")["mayfly"]["data"]["mayfly.yaml"]
        self.assertIn(f"http://gateway.mayfly.svc:{service['ports'][0]['port']}", config)

    def test_the_image_has_every_library_of_the_programs(self):
        installed = set(re.findall(r"[a-z0-9][a-z0-9.+-]+", (DEPLOY / "Dockerfile").read_text()))
        base = {"libc6", "libgcc-s1", "libstdc++6"}  # of the image it begins with
        for program in ("mayfly", "mayfly-runner", "mayfly-init"):
            listed = subprocess.run(["ldd", BIN / program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
            needed = re.findall(r"NEEDED +(\S+)", subprocess.run(["llvm-objdump-19", "-p", BIN / program], stdout=subprocess.PIPE, text=True, check=True).stdout)
            for library in needed:
                path = re.search(rf"{re.escape(library)} => (\S+)", listed)
                if path:
                    self.assertLessEqual({package_of(path[1])} - base, installed, f"{program} needs {library}")

    def test_vector_sends_to_the_route_that_takes_it(self):
        vector = tomllib.loads((DEPLOY / "vector.toml").read_text())
        sink, source = vector["sinks"]["ingest"], vector["sources"]["attempts"]
        self.assertEqual(sink["inputs"], ["attempts"])
        self.assertTrue(sink["uri"].endswith("/runner/v1/ingest"))
        self.assertIn("/runner/v1/ingest", (ROOT / "src/roles/gateway/api_ingest.cpp").read_text())
        self.assertEqual((source["file_key"], source["offset_key"]), ("file", "offset"))
        self.assertTrue(source["include"][0].endswith("/*.jsonl"))
        if not shutil.which("vector"):
            self.skipTest("there is no vector in PATH to say what it thinks of its configuration")
        environment = {"MAYFLY_LOG_FILES": "/tmp", "VECTOR_DATA": str(self.folder), "MAYFLY_URL": "http://127.0.0.1:1", "MAYFLY_SHIPPER_TOKEN": "x", "PATH": "/usr/bin:/bin:/usr/local/bin"}
        subprocess.run(["vector", "validate", "--no-environment", DEPLOY / "vector.toml"], env=environment, check=True)


def package_of(library):
    """Debian's package of a file, whichever of its paths dpkg knows it by."""
    for path in (library, str(pathlib.Path(library).resolve()), "/usr" + library, "/usr" + str(pathlib.Path(library).resolve()), library.removeprefix("/usr")):
        found = subprocess.run(["dpkg", "-S", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        if found.returncode == 0:
            return found.stdout.split(":")[0]
    return library


if __name__ == "__main__":
    unittest.main()
