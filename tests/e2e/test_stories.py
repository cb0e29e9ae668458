"""One story a promise, through the shipped programs."""

import json
import os
import pathlib
import random
import subprocess
import tempfile
import threading
import time
import unittest
import uuid

from world import TERMINAL, Forge, Problem, Repository, Server, Watcher, git, until

HELLO = "version: 1\njobs:\n  hello:\n    run: echo hello\n"


class Story(unittest.TestCase):
    """All stories of a class share one server."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server(slots=4).start()
        cls.forge = Forge(cls.server)

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def project(self, files, **extra):
        files = {".ci.yaml": files} if isinstance(files, str) else files
        repo = Repository(self.server.root, "p-" + uuid.uuid4().hex[:8], files)
        self.server.add_project(repo, **extra)
        return repo

    def run_build(self, files):
        repo = self.project(files)
        return self.server.finished(self.forge.push(repo))

    def job(self, build, name):
        return next(j for j in build["jobs"] if j["name"] == name)


class Webhooks(Story):
    def test_a_delivery_sent_twice_makes_one_build(self):
        repo = self.project(HELLO)
        payload, name = repo.push(), str(uuid.uuid4())
        first, second = self.forge.send("push", payload, name), self.forge.send("push", payload, name)
        self.assertEqual(first, second)
        self.assertEqual(self.forge.outcome(first)["status"], "built")
        self.assertEqual(len(self.server.get(f"/builds?project={repo.name}")["items"]), 1)

    def test_two_deliveries_of_one_meaning_make_one_build(self):
        repo = self.project(HELLO)
        payload = repo.push()
        outcomes = [self.forge.outcome(self.forge.send("push", payload))["status"] for _ in range(3)]
        self.assertEqual(outcomes, ["built", "duplicate", "duplicate"])

    def test_many_at_once_make_one_build(self):
        repo = self.project(HELLO)
        payload, deliveries = repo.push(), []
        threads = [threading.Thread(target=lambda: deliveries.append(self.forge.send("push", payload))) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        outcomes = sorted(self.forge.outcome(d)["status"] for d in deliveries)
        self.assertEqual(outcomes, ["built"] + ["duplicate"] * 7)

    def refused(self, status, *arguments, **kwargs):
        with self.assertRaises(Problem) as caught:
            self.forge.send(*arguments, **kwargs)
        self.assertEqual(caught.exception.status, status, caught.exception)
        return caught.exception.body

    def test_what_is_not_signed_is_refused(self):
        payload = self.project(HELLO).push()
        self.refused(401, "push", payload, signature="")
        self.refused(401, "push", payload, signature="sha256=" + "0" * 64)
        body = self.refused(404, "push", {"repository": {"full_name": "nobody/knows"}, "ref": "refs/heads/main"})
        self.assertIn("mayfly project add", json.dumps(body))
        self.refused(400, "push", b"this is not json")

    def test_a_push_without_a_pipeline_says_so_on_the_delivery(self):
        outcome = self.forge.outcome(self.forge.send("push", self.project({"README": "x"}).push()))
        self.assertEqual((outcome["status"], outcome["build_id"]), ("ignored", None))
        self.assertIn(".ci.yaml", outcome["detail"])

    def test_a_secret_is_rotated_without_losing_a_webhook(self):
        repo = self.project(HELLO)
        self.server.request("PATCH", f"/projects/{repo.name}", {"webhook_secret": "new"})
        self.assertEqual(self.forge.outcome(self.forge.send("push", repo.push()))["status"], "built")
        repo.commit({"x": "1"})
        self.assertEqual(self.forge.outcome(Forge(self.server, "new").send("push", repo.push()))["status"], "built")


class Pipelines(Story):
    def test_a_broken_pipeline_is_a_failed_build_with_every_error_in_its_place(self):
        build = self.run_build("version: 1\njobs:\n  a:\n    runn: make\n  b:\n    needs: [c]\n    run: make\n")
        self.assertEqual((build["status"], build["jobs"]), ("failed", []))
        texts = [e["text"] for e in build["errors"]]
        self.assertTrue(any(t.startswith(".ci.yaml:4:5:") and "run" in t for t in texts), texts)
        self.assertTrue(any(t.startswith(".ci.yaml:6:") and "c" in t for t in texts), texts)

    def test_what_cannot_run_yet_is_refused_by_name_and_place(self):
        build = self.run_build("version: 1\njobs:\n  a:\n    environment: production\n    run: make\n")
        self.assertEqual(build["status"], "failed")
        self.assertTrue(any(e["line"] == 4 and "environment" in e["message"] for e in build["errors"]), build["errors"])

    def test_a_job_that_is_left_out_reports_skipped(self):
        build = self.run_build("version: 1\njobs:\n  a:\n    if: branch == 'release'\n    run: make\n  b:\n    run: echo b\n")
        self.assertEqual([j["status"] for j in build["jobs"]], ["skipped", "succeeded"])
        self.assertEqual(build["status"], "succeeded")

    def test_finally_and_conditions_see_what_happened(self):
        build = self.run_build("""\
version: 1
jobs:
  a:
    steps:
      - run: echo first
      - run: exit 3
      - run: echo never
      - run: echo on failure
        if: failure()
    finally: [{run: echo at the end}]
  b:
    needs: [a]
    if: failure()
    run: echo "a ${{ needs.a.status }}"
""")
        self.assertEqual(build["status"], "failed")
        a = self.job(build, "a")
        self.assertEqual([s["status"] for s in a["steps"]], ["succeeded", "failed", "skipped", "succeeded", "succeeded"])
        log = self.server.job_log(a["id"]).decode()
        self.assertIn("at the end", log)
        self.assertNotIn("never", log)
        self.assertEqual(self.job(build, "b")["status"], "succeeded")

    def test_junit_reports_are_on_the_build(self):
        xml = '<testsuite name="s" tests="2" failures="1"><testcase name="good"/><testcase name="bad"><failure message="no"/></testcase></testsuite>'
        build = self.run_build(f"version: 1\njobs:\n  t:\n    run: |\n      echo '{xml}' > out.xml\n    reports: {{junit: out.xml}}\n")
        tests = build["jobs"][0]["tests"]
        self.assertEqual((tests["tests"], tests["failures"], tests["failed"][0]["name"]), (2, 1, "bad"))

    def test_ref_names_are_never_pasted_into_a_shell(self):
        repo = self.project("version: 1\non: {push: {}}\njobs:\n  a:\n    run: echo \"on ${{ branch }}.\"\n")
        evil = "x$(touch${IFS}/workspace/pwned)"
        git("branch", evil, cwd=repo.work)
        git("push", "-q", str(repo.bare), evil, cwd=repo.work)
        payload = repo.push() | {"ref": "refs/heads/" + evil}
        build = self.server.finished(self.forge.outcome(self.forge.send("push", payload))["build_id"])
        self.assertEqual(build["status"], "succeeded")
        self.assertIn(b"on " + evil.encode() + b".", self.server.job_log(build["jobs"][0]["id"]))


class Jobs(Story):
    def test_a_secret_reaches_the_step_and_never_the_log(self):
        repo = self.project("version: 1\njobs:\n  a:\n    secrets: [KEY]\n    run: echo \"it is $KEY\"; echo -n \"$KEY\" | base64; test ${#KEY} = 21\n")
        self.server.cli("secret", "set", repo.name, "KEY", stdin="correct-horse-battery")
        build = self.server.finished(self.forge.push(repo))
        self.assertEqual(build["status"], "succeeded")
        log = self.server.job_log(build["jobs"][0]["id"])
        self.assertIn(b"it is ***", log)
        self.assertNotIn(b"correct-horse", log)
        self.assertNotIn(b"Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5", log)
        for file in self.server.data.rglob("*"):
            if file.is_file() and "sandbox" not in file.parts:
                self.assertFalse(b"correct-horse-battery" in file.read_bytes(), file)

    def test_a_workspace_is_a_clone_like_any_other(self):
        build = self.run_build("version: 1\njobs:\n  a:\n    run: |\n      stat -c %a .ci.yaml\n      git log -1 --format=%s\n      git status --porcelain\n")
        self.assertEqual(self.server.job_log(build["jobs"][0]["id"]), b"644\nchange\n")

    def test_a_missing_secret_fails_the_job_and_says_what_to_do(self):
        build = self.run_build("version: 1\njobs:\n  a:\n    secrets: [NOT_SET]\n    run: echo never\n")
        self.assertEqual(build["status"], "failed")
        self.assertIn("NOT_SET", build["jobs"][0]["detail"])

    def test_cancel_flips_the_status_at_once_and_ends_every_process(self):
        marker = "mayfly-" + uuid.uuid4().hex
        repo = self.project(f"version: 1\njobs:\n  a:\n    run: trap '' TERM; echo started; (exec -a {marker} sleep 300) & while true; do sleep 1; done\n    shell: bash\n  b:\n    needs: [a]\n    run: echo never\n")
        build_id = self.forge.push(repo)
        job = until("the job speaks", lambda: (j := self.server.build(build_id)["jobs"][0])["status"] == "running" and b"started" in self.server.job_log(j["id"]) and j)
        began = time.monotonic()
        self.server.post(f"/builds/{build_id}/cancel")
        build = self.server.build(build_id)
        self.assertLess(time.monotonic() - began, 1)
        self.assertEqual((build["status"], [j["status"] for j in build["jobs"]]), ("canceled", ["canceled", "canceled"]))
        until("its processes are gone", lambda: marker not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout.replace("ps -eo", ""), 30)
        until("its runner is gone", lambda: not list((self.server.data / "runners").glob(job["id"] + "*")), 30)

    def test_out_of_memory_is_said_in_plain_words(self):
        build = self.run_build("version: 1\njobs:\n  a:\n    resources: {memory: 64Mi}\n    run: |\n      python3 -c 'x = bytearray(400 << 20); print(len(x))'\n")
        job = build["jobs"][0]
        self.assertEqual((job["status"], job["reason"]), ("failed", "oom"))
        self.assertIn("memory", job["detail"])

    def test_a_retry_runs_only_what_did_not_succeed(self):
        repo = self.project("version: 1\njobs:\n  good:\n    run: echo \"v=1\" >> $CI_OUTPUT; echo data > f\n    outputs: [f]\n  bad:\n    needs: [good]\n    run: test \"$(cat f)\" = data; exit 1\n")
        first = self.server.finished(self.forge.push(repo))
        self.assertEqual(first["status"], "failed")
        again = self.server.post(f"/builds/{first['id']}/retry")["build"]
        second = self.server.finished(again)
        good, bad = self.job(second, "good"), self.job(second, "bad")
        self.assertEqual((good["status"], good["source_job_id"]), ("cached", first["jobs"][0]["id"]))
        self.assertEqual((bad["status"], bad["exit_code"]), ("failed", 1))
        self.assertEqual((second["retry_of"], second["number"], self.server.build(first["id"])["status"]), (first["id"], 2, "failed"))

    def test_a_waiting_job_says_why(self):
        repo = self.project("version: 1\njobs:\n  wide:\n    resources: {cpu: 64}\n    run: echo never\n")
        build_id = self.forge.push(repo)
        waiting = until("it says why", lambda: self.server.build(build_id)["jobs"][0]["waiting_for"])
        self.assertIn("cpu", waiting)
        self.server.post(f"/builds/{build_id}/cancel")

    def test_path_filters_of_a_pull_request_see_what_it_changed_itself(self):
        repo = self.project("version: 1\non: {pull_request: {paths: [docs/**]}}\njobs: {a: {run: echo looked at}}\n")
        repo.push()
        git("checkout", "-q", "-b", "feature", cwd=repo.work)
        repo.commit({"src/a.c": "int a;"})
        git("checkout", "-q", "main", cwd=repo.work)
        repo.commit({"docs/later.md": "written by others since"})
        pushed = repo.push()

        def pull_request():
            git("checkout", "-q", "feature", cwd=repo.work)
            git("push", "-q", str(repo.bare), "feature", cwd=repo.work)
            head = {"sha": repo.sha, "ref": "feature", "repo": {**pushed["repository"]}}
            base = {"sha": pushed["after"], "ref": "main", "repo": {**pushed["repository"]}}
            outcome = self.forge.outcome(self.forge.send("pull_request", {
                "action": "synchronize", "number": 7, "repository": pushed["repository"], "sender": {"login": "ada"},
                "pull_request": {"number": 7, "title": "a", "user": {"login": "ada"}, "updated_at": "2026-01-01T00:00:00Z", "head": head, "base": base}}))
            return self.server.finished(outcome["build_id"])["jobs"][0]["status"]

        self.assertEqual(pull_request(), "skipped")
        git("checkout", "-q", "feature", cwd=repo.work)
        repo.commit({"docs/mine.md": "its own"})
        self.assertEqual(pull_request(), "succeeded")

    def test_a_fork_gets_no_build_unless_trusted(self):
        repo = self.project(HELLO)
        payload = repo.push()
        pull = {"action": "opened", "number": 7, "repository": payload["repository"], "sender": {"login": "eve"}, "pull_request": {
            "number": 7, "title": "x", "head": {"ref": "f", "sha": repo.sha, "repo": {"full_name": "eve/web", "clone_url": "https://forge.example/eve/web.git"}},
            "base": {"ref": "main", "sha": repo.sha, "repo": payload["repository"]}, "user": {"login": "eve"}}}
        outcome = self.forge.outcome(self.forge.send("pull_request", pull))
        self.assertEqual(outcome["status"], "ignored", outcome)
        self.assertIn("fork", outcome["detail"])


class Images(unittest.TestCase):
    """A job in an image of its own: made here of a static shell, by the tools that unpack it."""

    def make_image(self, folder):
        layout, bundle = folder / "layout", folder / "bundle"
        for command in (["init", "--layout", layout], ["new", "--image", f"{layout}:tiny"], ["unpack", "--image", f"{layout}:tiny", bundle]):
            subprocess.run(["umoci", *command], check=True, capture_output=True)
        root = bundle / "rootfs"
        for name in ("bin", "tmp", "etc", "proc", "dev", "workspace"):
            (root / name).mkdir(exist_ok=True)
        (root / "etc/mark").write_text("from the image\n")
        subprocess.run(["cp", "/bin/busybox", root / "bin/busybox"], check=True)
        for applet in ("sh", "cat", "echo", "ls"):
            (root / "bin" / applet).symlink_to("busybox")
        subprocess.run(["umoci", "repack", "--image", f"{layout}:tiny", bundle], check=True, capture_output=True)
        return layout

    def test_a_job_runs_in_an_oci_image_and_only_where_the_operator_allows(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-images-"))
        self.addCleanup(subprocess.run, ["rm", "-rf", folder])
        layout = self.make_image(folder)
        server = Server(options=("--images", str(folder))).start()
        self.addCleanup(server.close)
        text = f"version: 1\njobs:\n  a:\n    image: oci:{layout}:tiny\n    network: none\n    run: cat /etc/mark; ls /usr 2>/dev/null || echo no usr\n"
        repo = Repository(server.root, "image", {".ci.yaml": text})
        server.add_project(repo)
        build = server.finished(Forge(server).push(repo))
        log = server.job_log(build["jobs"][0]["id"]).decode() if build["jobs"][0]["attempt"] else ""
        self.assertEqual(build["status"], "succeeded", (build["jobs"][0]["detail"], log))
        self.assertIn("from the image\nno usr\n", log)
        repo.commit({".ci.yaml": text.replace(f"oci:{layout}:tiny", "/etc")})
        build = server.finished(Forge(server).push(repo))
        self.assertEqual(build["status"], "failed")


class Commands(Story):
    def test_trigger_follow_logs_and_artifacts(self):
        repo = self.project("version: 1\njobs:\n  a:\n    run: echo spoken; echo kept > kept.txt\n    artifacts: {paths: [kept.txt]}\n")
        repo.push()
        said = self.server.cli("trigger", repo.name, "--follow")
        self.assertIn("succeeded", said.stdout)
        self.assertIn("spoken", self.server.cli("logs", repo.name).stdout)
        target = self.server.root / "got.txt"
        self.server.cli("artifacts", "get", repo.name, "kept.txt", "-o", str(target))
        self.assertEqual(target.read_text(), "kept\n")
        self.assertEqual(json.loads(self.server.cli("build", repo.name, "--json").stdout)["status"], "succeeded")

    def test_metrics_tell_where_the_time_of_a_start_went(self):
        self.run_build(HELLO)
        text = self.server.get("/metrics", raw=True)[0].decode()
        for hop in ("webhook", "plan", "queue", "assign", "start", "first_byte"):
            self.assertRegex(text, f'mayfly_start_latency_seconds_count{{hop="{hop}"}} [1-9]')
        self.assertRegex(text, r'mayfly_attempts_total{outcome="success",reason=""} [1-9]')
        self.assertRegex(text, r'mayfly_builds_total{status="succeeded"} [1-9]')

    def test_the_hops_of_a_start_add_up_to_the_whole(self):
        build = self.run_build("version: 1\njobs:\n  a:\n    run: echo first\n  b:\n    needs: [a]\n    run: echo second\n")
        a, b = (next(j for j in build["jobs"] if j["name"] == name)["latency"] for name in "ab")
        hops = ("webhook", "plan", "queue", "assign", "start", "first_byte")
        for latency, known in ((a, hops), (b, hops[2:])):
            self.assertEqual([h for h in hops if latency[h] is not None], list(known))
            self.assertTrue(all(latency[h] >= 0 for h in known), latency)
            self.assertAlmostEqual(sum(latency[h] for h in known), latency["total"], delta=1e-9)
            self.assertGreater(latency["total"], 0.001)
        self.assertEqual(json.loads(self.server.cli("build", build["id"], "--json").stdout)["jobs"][0]["latency"], a)

    def test_exit_codes(self):
        repo = self.project("version: 1\njobs:\n  a:\n    run: exit 1\n")
        repo.push()
        self.assertEqual(self.server.cli("trigger", repo.name, "--follow", check=False).returncode, 1)
        self.assertEqual(self.server.cli("nonsense", check=False).returncode, 2)
        self.assertEqual(self.server.cli("builds", "--server", "http://127.0.0.1:1", check=False).returncode, 3)

    def test_a_token_of_a_lower_role_may_not_do_everything(self):
        token = self.server.post("/tokens", {"name": "reader", "role": "viewer"})["token"]
        as_viewer = {"Authorization": "Bearer " + token}
        self.assertIn("items", self.server.get("/builds", headers=as_viewer))
        with self.assertRaises(Problem) as caught:
            self.server.post("/projects", {"name": "x", "repo_url": "/x"}, headers=as_viewer)
        self.assertEqual(caught.exception.status, 403)


class Crashes(unittest.TestCase):
    def test_forty_builds_survive_a_server_that_is_killed_again_and_again(self):
        seed = int(os.environ.get("MAYFLY_SEED", random.randrange(1 << 30)))
        chance = random.Random(seed)
        server = Server(slots=4).start()
        self.addCleanup(server.close)
        repo = Repository(server.root, "many", {".ci.yaml": "version: 1\njobs:\n  a:\n    run: echo once\n  b:\n    needs: [a]\n    run: echo twice\n"})
        server.add_project(repo)
        forge, builds, sent = Forge(server), [], []

        def send_all():
            for i in range(40):
                repo.commit({"n": str(i)})
                sent.append((repo.push(), str(uuid.uuid4())))
                forge.send_until_taken("push", *sent[-1])

        sender = threading.Thread(target=send_all)
        sender.start()
        kills = 0
        while sender.is_alive() or kills < 8:
            time.sleep(chance.uniform(0.05, 0.6))
            server.kill()
            kills += 1
            server.start()
        sender.join()
        with self.subTest(seed=seed, kills=kills):
            deliveries = [forge.outcome(forge.send("push", *s)) for s in sent]
            self.assertEqual({d["status"] for d in deliveries}, {"built"})
            builds = [d["build_id"] for d in deliveries]
            self.assertEqual(len(set(builds)), 40)
            for build_id in builds:
                build = server.finished(build_id)
                self.assertEqual(build["status"], "succeeded", build)
            listed = server.get("/builds?project=many&limit=100")["items"]
            self.assertEqual({b["id"] for b in listed}, set(builds))
            self.assertEqual(sorted(b["number"] for b in listed), list(range(1, 41)))


if __name__ == "__main__":
    unittest.main()
