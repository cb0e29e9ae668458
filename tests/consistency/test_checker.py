"""Each violation, planted in a good history, is found; the good history has none."""
import json
import pathlib
import tempfile
import unittest

import checker

SECOND = iter(range(10**9))


def operation(op, client="a", outcome="ok", began=None, lasts=0.5, **more):
    """Operations follow each other in the order they are made, unless told when they began."""
    began = next(SECOND) if began is None else began
    return {"op": op, "client": client, "outcome": outcome, "began": began, "ended": began + lasts, **more}


def read(sequence, status="running", build="b", **more):
    return operation("read", build=build, sequence=sequence, status=status, **more)


def event(sequence, part, stream="s", kind="step", **more):
    return operation("event", build="b", stream=stream, id=[sequence, part], kind=kind, **more)


def end(stream="s"):
    return operation("event", build="b", stream=stream, kind="end")


def census(*rows, **more):
    return operation("census", builds=[{"build": b, "key": k, "sequence": n, "status": s} for b, k, n, s in rows], **more)


class Checker(unittest.TestCase):
    def kinds(self, *history):
        return [violation.kind for violation in checker.check(list(history))]

    def test_a_good_history_has_none(self):
        self.assertEqual([], self.kinds(
            operation("trigger", client="w", key="k", build="b", sequence=1),
            read(1, "queued", client="w", jobs={"j": ["queued", 0]}),
            event(1, 0, kind="build", status="queued"), event(1, 1, kind="job", job="j", status="queued"),
            read(2, jobs={"j": ["running", 1]}),
            read(2, client="other", jobs={"j": ["running", 1]}),
            event(2, 0, kind="job", job="j", status="running", attempt=1),
            read(3, jobs={"j": ["queued", 1]}),
            read(4, jobs={"j": ["running", 2]}),
            operation("cancel", client="w", build="b", sequence=5),
            read(5, "canceled", client="w", jobs={"j": ["canceled", 2]}),
            event(3, 0), event(4, 0), event(5, 0, kind="build", status="canceled"), end(),
            census(("b", "k", 5, "canceled")), census(("b", "k", 5, "canceled"))))

    def test_a_read_behind_an_earlier_one_of_the_same_client(self):
        self.assertEqual(["nonmonotonic_read"], self.kinds(read(3), read(2)))

    def test_a_read_that_finds_nothing_any_more(self):
        self.assertEqual(["nonmonotonic_read"], self.kinds(read(3), operation("read", build="b", missing=True)))

    def test_a_list_behind_a_read(self):
        self.assertEqual(["nonmonotonic_read"], self.kinds(read(3), operation("list", build="b", sequence=2, status="running")))

    def test_a_read_behind_an_event_of_the_same_client(self):
        self.assertEqual(["nonmonotonic_read"], self.kinds(event(3, 0), read(2)))

    def test_an_event_behind_a_read_is_a_stream_that_tells_history(self):
        self.assertEqual([], self.kinds(read(3), event(1, 0), event(2, 0)))

    def test_a_read_behind_the_clients_own_write(self):
        self.assertEqual(["read_your_writes"], self.kinds(operation("cancel", build="b", sequence=4), read(3)))

    def test_a_build_that_is_not_there_for_who_made_it(self):
        self.assertEqual(["read_your_writes"], self.kinds(operation("trigger", key="k", build="b", sequence=1), operation("read", build="b", missing=True)))

    def test_a_write_without_an_answer_promises_nothing(self):
        self.assertEqual([], self.kinds(read(3), operation("cancel", build="b", outcome="unknown"), read(3)))

    def test_a_read_behind_what_another_had_been_shown_before_it_began(self):
        self.assertEqual(["stale_read"], self.kinds(read(3, client="a"), read(2, client="b")))

    def test_reads_at_the_same_time_may_see_either(self):
        self.assertEqual([], self.kinds(read(3, client="a", began=1000, lasts=2), read(2, client="b", began=1001, lasts=2)))

    def test_a_status_that_leaves_its_end(self):
        self.assertEqual(["left_terminal"], self.kinds(read(3, "succeeded"), read(4, "running")))
        self.assertEqual(["left_terminal"], self.kinds(read(3, "succeeded"), read(4, "failed")))

    def test_a_jobs_status_that_leaves_its_end(self):
        self.assertEqual(["left_terminal"], self.kinds(read(3, jobs={"j": ["failed", 1]}), read(4, jobs={"j": ["queued", 2]})))

    def test_a_jobs_status_that_goes_back(self):
        self.assertEqual(["status_regress"], self.kinds(read(3, jobs={"j": ["assigned", 1]}), read(4, jobs={"j": ["waiting", 1]})))
        self.assertEqual(["status_regress"], self.kinds(read(3, jobs={"j": ["running", 2]}), read(4, jobs={"j": ["running", 1]})))

    def test_a_status_that_goes_back_in_what_different_clients_saw(self):
        self.assertEqual(["left_terminal"], self.kinds(read(4, "running", client="b", began=100, lasts=50), read(3, "failed", client="a", began=120)))

    def test_a_sequence_with_two_faces(self):
        self.assertEqual(["two_faces"], self.kinds(read(3, "running"), read(3, "queued", client="b")))
        self.assertEqual(["two_faces"], self.kinds(read(3, jobs={"j": ["running", 1]}), event(3, 1, kind="job", job="j", status="queued", attempt=1)))
        self.assertEqual(["two_faces"], self.kinds(read(3, "running"), census(("b", "k", 3, "failed"))))

    def test_an_event_that_goes_back(self):
        self.assertEqual(["sse_regress"], self.kinds(event(2, 0), event(3, 0), event(2, 1)))

    def test_an_event_that_comes_twice(self):
        self.assertEqual(["sse_duplicate"], self.kinds(event(2, 0), event(3, 0), event(2, 0)))
        self.assertEqual(["sse_duplicate"], self.kinds(event(2, 0), event(2, 0)))

    def test_two_streams_of_a_client_are_two(self):
        self.assertEqual([], self.kinds(event(2, 0), event(3, 0), event(2, 0, stream="t")))

    def test_last_words_after_the_end_of_a_build_are_due_to_nobody(self):
        over = {"kind": "build", "status": "canceled"}
        self.assertEqual([], self.kinds(event(1, 0), event(2, 0, **over), end(), event(1, 0, stream="t"), event(2, 0, stream="t", **over), event(3, 0, stream="t")))

    def test_what_a_finished_stream_missed_before_the_end_of_its_build(self):
        over = {"kind": "build", "status": "canceled"}
        self.assertEqual(["sse_gap"], self.kinds(event(1, 0), event(2, 0, **over), end(), event(1, 0, stream="t"), event(1, 1, stream="t")))

    def test_an_event_that_a_finished_stream_missed(self):
        self.assertEqual(["sse_gap"], self.kinds(event(1, 0), event(2, 0), event(1, 0, stream="t"), event(3, 0, stream="t"), event(3, 0), end("t")))

    def test_a_stream_that_was_left_may_lack_the_rest(self):
        self.assertEqual([], self.kinds(event(1, 0), event(1, 0, stream="t"), event(2, 0, stream="t"), end("t")))

    def test_an_acknowledged_trigger_that_is_lost(self):
        self.assertEqual(["lost"], self.kinds(operation("trigger", key="k"), census()))
        self.assertEqual(["lost"], self.kinds(operation("trigger", key="k", outcome="unknown"), operation("trigger", key="k"), census()))

    def test_a_trigger_answered_with_another_build(self):
        self.assertEqual(["lost"], self.kinds(operation("trigger", key="k", build="x"), census(("b", "k", 5, "failed"))))

    def test_a_trigger_that_is_doubled(self):
        for outcome in ("ok", "unknown"):
            self.assertEqual(["doubled"], self.kinds(operation("trigger", key="k", outcome=outcome), census(("b", "k", 5, "failed"), ("c", "k", 5, "failed"))))

    def test_an_unknown_trigger_may_have_made_a_build_or_not(self):
        self.assertEqual([], self.kinds(operation("trigger", key="k", outcome="unknown"), census()))
        self.assertEqual([], self.kinds(operation("trigger", key="k", outcome="unknown"), census(("b", "k", 5, "failed"))))

    def test_a_refused_trigger_that_made_a_build(self):
        self.assertEqual(["phantom"], self.kinds(operation("trigger", key="k", outcome="fail"), census(("b", "k", 5, "failed"))))

    def test_gateways_that_do_not_agree_at_rest(self):
        self.assertEqual(["diverged"], self.kinds(census(("b", "k", 5, "failed")), census(("b", "k", 6, "failed"))))
        self.assertEqual(["diverged"], self.kinds(census(), census(("b", "k", 6, "failed"))))

    def test_a_build_that_never_ends(self):
        self.assertEqual(["unfinished"], self.kinds(census(("b", "k", 5, "running"))))

    def test_a_history_in_a_file_says_what_it_holds(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "history.jsonl"
            path.write_text("".join(json.dumps(o) + "\n" for o in (read(1), read(2), read(2, outcome="unknown"))))
            self.assertEqual("2 read ok, 1 read unknown", checker.summary(checker.load(path)))
            self.assertEqual(0, checker.main(path))


if __name__ == "__main__":
    unittest.main()
