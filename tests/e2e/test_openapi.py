"""The API is what /openapi.json says: every answer to every call, right or wrong, has a documented status and shape."""

import http.client
import json
import os
import random
import re
import unittest
import urllib.parse

import jsonschema

from world import Forge, Repository, Server

EXAMPLES = 40      # calls an operation, with what fits and what does not
STRANGE = ["", "0", "-1", "null", "a" * 300, "../../etc/passwd", "%", "\u00e9\u4e16", "00000000-0000-0000-0000-000000000000", "'; --", "<b>", "1e9", "\x7f"]


class OpenApi(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server().start()
        cls.repo = Repository(cls.server.root, "api", {".ci.yaml": "version: 1\njobs:\n  a:\n    run: echo x > f\n    artifacts: {paths: [f]}\n"})
        cls.project = cls.server.add_project(cls.repo)
        cls.build = cls.server.finished(Forge(cls.server).push(cls.repo))
        cls.description = cls.server.get("/openapi.json")
        cls.seed = int(os.environ.get("MAYFLY_SEED", random.randrange(1 << 30)))
        cls.chance = random.Random(cls.seed)
        known = {"/projects/": cls.project["id"], "/jobs/": cls.build["jobs"][0]["id"], "/builds/": cls.build["id"],
                 "/artifacts/": cls.server.get(f"/builds/{cls.build['id']}/artifacts")["items"][0]["id"],
                 "/deliveries/": cls.server.get("/deliveries")["items"][0]["id"], "/b/": cls.build["id"]}
        cls.known = known

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def resolve(self, node):
        while "$ref" in node:
            target = self.description
            for part in node["$ref"].split("/")[1:]:
                target = target[part]
            node = target
        return node

    def validate(self, value, schema):
        jsonschema.Draft202012Validator({**schema, "components": self.description["components"]}).validate(value)

    def example(self, schema):
        """A value that fits the schema, or one that does not."""
        schema = self.resolve(schema)
        if self.chance.random() < 0.25:
            return self.chance.choice([None, 7, -1, "x", "", [], {}, True, "a" * 5000, {"unknown": 1}])
        kinds = schema.get("type", "object")
        kind = kinds if isinstance(kinds, str) else self.chance.choice(kinds)
        if "enum" in schema:
            return self.chance.choice(schema["enum"])
        if kind == "object":
            fields = schema.get("properties", {})
            return {k: self.example(v) for k, v in fields.items() if k in schema.get("required", []) or self.chance.random() < 0.5}
        if kind == "array":
            return [self.example(schema["items"]) for _ in range(self.chance.randrange(3))]
        return {"integer": self.chance.randrange(-2, 600), "boolean": True, "string": self.chance.choice(STRANGE + ["main", "name", "30d"]),
                "number": 1.5, "null": None}[kind]

    def request_for(self, path, operation):
        target, query, headers = path, {}, {"Authorization": "Bearer " + self.server.token}
        if self.chance.random() < 0.1:
            headers["Authorization"] = self.chance.choice(["", "Bearer x", "Basic abc"])
        for parameter in operation.get("parameters", []):
            strange = self.chance.random() < 0.4
            value = self.chance.choice(STRANGE) if strange else str(self.example(parameter["schema"]))
            if parameter["in"] == "path":
                good = next((v for k, v in self.known.items() if path.startswith(k)), "x")
                value = value if strange and value else good if parameter["name"] == "id" else value or "x"
                if parameter["name"] == "name" and path.startswith("/pools/") and not strange:
                    value = "local"
                target = target.replace("{" + parameter["name"] + "}", urllib.parse.quote(value, safe=""))
            elif parameter["in"] == "query" and self.chance.random() < 0.5:
                query[parameter["name"]] = value
            elif parameter["in"] == "header":
                headers[parameter["name"]] = re.sub(r"[^ -~]", "x", value)
        body = None
        if "requestBody" in operation:
            content = next(iter(operation["requestBody"]["content"].values()))
            body = self.chance.choice([b"", b"{", b"[]", b"\xff\xfe", json.dumps(self.example(content["schema"])).encode()])
            if self.chance.random() < 0.6:
                body = json.dumps(self.example(content["schema"])).encode()
        if query:
            target += "?" + urllib.parse.urlencode(query)
        return target, headers, body

    def check_answer(self, operation, what, response, body):
        documented = operation["responses"].get(str(response.status))
        self.assertIsNotNone(documented, f"{what}: status {response.status} is not documented: {body[:300]}")
        documented = self.resolve(documented)
        content = documented.get("content")
        if not content or not body:
            return
        kind = response.headers["Content-Type"].split(";")[0]
        self.assertIn(kind, content, what)
        if kind.endswith("json"):
            self.validate(json.loads(body), content[kind]["schema"])

    def test_every_answer_is_documented(self):
        for path, operations in self.description["paths"].items():
            if path == "/projects/{id}" or path.endswith("/events"):
                operations = {m: o for m, o in operations.items() if m == "get" and not path.endswith("/events")}
            for method, operation in operations.items():
                for _ in range(EXAMPLES):
                    target, headers, body = self.request_for(path, operation)
                    connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
                    connection.request(method.upper(), target, body, headers)
                    response = connection.getresponse()
                    answer = response.read()
                    with self.subTest(seed=self.seed, call=f"{method.upper()} {target}", body=body):
                        self.check_answer(operation, f"{method.upper()} {target}", response, answer)
                    connection.close()

    def test_the_main_answers_have_the_documented_shape(self):
        for path, schema in ((f"/builds/{self.build['id']}", "Build"), ("/builds", "BuildSummaryPage"), ("/projects", "ProjectPage"),
                             ("/deliveries", "DeliveryPage"), ("/pools", "PoolPage"), (f"/builds/{self.build['id']}/artifacts", "ArtifactPage")):
            self.validate(self.server.get(path), {"$ref": f"#/components/schemas/{schema}"})

    def test_the_description_names_every_route(self):
        """Read from the sources: a route nobody described is a route nobody checks."""
        sources = os.path.join(os.path.dirname(__file__), "../../src/roles/gateway")
        described = {(m.upper(), p) for p, operations in self.description["paths"].items() for m in operations}
        routes = set()
        for name in os.listdir(sources):
            if name.startswith(("api_", "pages")) and name.endswith(".cpp"):
                with open(os.path.join(sources, name)) as source:
                    routes |= set(re.findall(r'router, "([A-Z]+)", "([^"]+)"', text := source.read()))
                    routes |= set(re.findall(r'router\.add(?:_stream)?\("([A-Z]+)", "([^"]+)"', text))
        routes = {r for r in routes if not r[1].startswith("/runner/")}
        self.assertGreater(len(routes), 20)
        self.assertEqual(routes, described)


if __name__ == "__main__":
    unittest.main()
