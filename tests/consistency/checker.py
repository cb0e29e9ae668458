"""Finds in a history of clients' operations what must never be seen, whatever died, lied, stood still or was cut off meanwhile.

A history is a list of operations, as dictionaries (a JSON object a line in a file). Every one has `client`, `op`, `began` and `ended`
(seconds on one steady clock) and `outcome`: "ok", "fail" (it certainly did not happen) or "unknown" (no answer came: it may have
happened, now or later). A client does one thing at a time. By `op`:

  trigger   a build asked for; `key` names what it is for: no two triggers share one. `build` when the answer names it
  cancel    `build`, `sequence` as acknowledged
  read      `build`, `sequence`, `status`, `jobs` {id: [status, attempt]}; or `missing`: true
  list      `build`, `sequence`, `status`: one row of a list
  event     `build`, `stream`, `id` [sequence, part], `kind`, and as far as the event says: `status`, `job`, `attempt`; kind "end" has no id
  census    `builds` [{build, key, sequence, status}]: all there is, asked of one gateway when everything had come to rest
"""
import collections
import dataclasses
import json
import sys

TERMINAL = {"succeeded", "failed", "canceled", "skipped", "cached"}
RANK = {"waiting": 0, "queued": 1, "assigned": 2, "running": 3}
LAST = 4


@dataclasses.dataclass
class Violation:
    kind: str
    what: str
    operations: list = dataclasses.field(default_factory=list)

    def __str__(self):
        return f"{self.kind}: {self.what}"


def rank(status):
    return LAST if status in TERMINAL else RANK[status]


def seen_sequence(operation):
    """The state of a build that an operation showed to its client, or None."""
    if operation["outcome"] != "ok":
        return None
    if operation["op"] == "event":
        return operation["id"][0] if operation.get("id") else None
    if operation["op"] in ("read", "list", "cancel", "trigger"):
        return operation.get("sequence")
    return None


def by_build(history):
    builds = collections.defaultdict(list)
    for operation in history:
        if operation.get("build"):
            builds[operation["build"]].append(operation)
    return builds


def is_read(operation):
    return operation["op"] in ("read", "list") and operation["outcome"] == "ok"


def check_sessions(history):
    """Monotonic reads and read-your-writes: what one client has seen or done, it sees ever after, through whatever gateway."""
    seen = {}  # (client, build) → the newest operation it has seen
    for operation in sorted(history, key=lambda o: o["began"]):
        if not operation.get("build") or operation["outcome"] != "ok":
            continue
        who = operation["client"], operation["build"]
        before, now = seen.get(who), seen_sequence(operation)
        if before and is_read(operation) and (now is None or now < before[0]):
            kind = "read_your_writes" if before[1]["op"] in ("trigger", "cancel") else "nonmonotonic_read"
            shown = "nothing" if now is None else f"sequence {now}"
            yield Violation(kind, f"{operation['client']} saw {shown} of build {operation['build']} after {before[0]}", [before[1], operation])
        if now is not None and (not before or now >= before[0]):
            seen[who] = now, operation


def check_real_time(history):
    """Linearizable reads: what anybody had been shown before a read began, that read shows, too."""
    for build, operations in by_build(history).items():
        shown = sorted(((o["ended"], seen_sequence(o), o) for o in operations if seen_sequence(o) is not None), key=lambda s: s[0])
        newest, at = None, 0
        for read in sorted(filter(is_read, operations), key=lambda o: o["began"]):
            while at < len(shown) and shown[at][0] < read["began"]:
                if newest is None or shown[at][1] > newest[1]:
                    newest = shown[at]
                at += 1
            now = read.get("sequence")
            if newest and newest[2]["client"] != read["client"] and (now is None or now < newest[1]):
                yield Violation("stale_read", f"{read['client']} was shown {'nothing' if now is None else now} of build {build} "
                                f"{read['began'] - newest[0]:.3f} s after {newest[2]['client']} had been shown {newest[1]}", [newest[2], read])


def states_of(operations):
    """(sequence, subject, value, operation) for everything that was said about a build and its jobs."""
    for o in operations:
        if o["outcome"] != "ok":
            continue
        if o["op"] in ("read", "list") and o.get("status"):
            yield o["sequence"], "build", (o["status"], 0), o
            for job, (status, attempt) in o.get("jobs", {}).items():
                yield o["sequence"], job, (status, attempt), o
        if o["op"] == "event" and o.get("id") and o.get("status"):
            yield o["id"][0], o.get("job") or "build", (o["status"], o.get("attempt", 0)), o
        if o["op"] == "census":
            yield o["sequence"], "build", (o["status"], 0), o


def goes_back(before, now):
    """Why one state may not follow another, or None."""
    (status, attempt), (next_status, next_attempt) = before, now
    if status in TERMINAL and next_status != status:
        return "left_terminal"
    again = status in ("assigned", "running") and next_status == "queued"  # another attempt will follow
    if next_attempt < attempt or next_attempt == attempt and rank(next_status) < rank(status) and not again:
        return "status_regress"
    return None


def check_states(history):
    """A sequence has one face, and what follows from sequence to sequence climbs the lattice."""
    for build, operations in by_build(flattened(history)).items():
        subjects = collections.defaultdict(dict)
        for sequence, subject, value, operation in states_of(operations):
            known = subjects[subject].setdefault(sequence, (value, operation))
            if known[0] != value:
                yield Violation("two_faces", f"build {build} at sequence {sequence}: {subject} was {known[0]} and {value}", [known[1], operation])
        for subject, states in subjects.items():
            ordered = sorted(states.items())
            for (sequence, (before, one)), (later, (now, other)) in zip(ordered, ordered[1:]):
                if kind := goes_back(before, now):
                    yield Violation(kind, f"build {build}: {subject} was {before} at {sequence} and {now} at {later}", [one, other])


def flattened(history):
    """A census as an operation a build."""
    for operation in history:
        if operation["op"] == "census":
            for row in operation["builds"]:
                yield {**operation, **row, "builds": None}
        else:
            yield operation


def check_streams(history):
    """An event comes once and in order over all the connections of a stream, and a stream that was followed to its end missed none."""
    streams, known = collections.defaultdict(list), collections.defaultdict(set)
    for operation in history:
        if operation["op"] == "event" and operation["outcome"] == "ok":
            streams[operation["build"], operation["stream"]].append(operation)
            if operation.get("id"):
                known[operation["build"]].add(tuple(operation["id"]))
    for (build, stream), events in streams.items():
        last, ids = None, set()
        for event in events:
            if not event.get("id"):
                continue
            now = tuple(event["id"])
            if last is not None and now <= last[0]:
                kind = "sse_duplicate" if now in ids else "sse_regress"
                yield Violation(kind, f"stream {stream} of build {build}: {now} came after {last[0]}", [last[1], event])
            last = now, event
            ids.add(now)
        if any(event["kind"] == "end" for event in events):
            # A canceled attempt may say its last words after the build's end, and so after the stream's.
            saw_the_end = any(event["kind"] == "build" and event.get("status") in TERMINAL for event in events)
            due = {now for now in known[build] if not saw_the_end or now < max(ids)}
            if missed := due - ids:
                yield Violation("sse_gap", f"stream {stream} of build {build} ended without {sorted(missed)[:5]}", events[-1:])


def check_triggers(history):
    """Acknowledged means made, once; refused means not made; unknown means at most once."""
    census = [o for o in history if o["op"] == "census" and o["outcome"] == "ok"]
    if not census:
        return
    made = collections.defaultdict(set)
    for row in census[-1]["builds"]:
        made[row["key"]].add(row["build"])
    for other in census[:-1]:
        if {(r["build"], r["sequence"], r["status"]) for r in other["builds"]} != {(r["build"], r["sequence"], r["status"]) for r in census[-1]["builds"]}:
            yield Violation("diverged", "at rest two gateways list different builds", [other, census[-1]])
    for row in census[-1]["builds"]:
        if row["status"] not in TERMINAL:
            yield Violation("unfinished", f"build {row['build']} is {row['status']} when everything has come to rest", [census[-1]])
    asked = collections.defaultdict(list)
    for operation in history:
        if operation["op"] == "trigger":
            asked[operation["key"]].append(operation)
    for key, triggers in asked.items():
        outcomes = {t["outcome"] for t in triggers}
        if "ok" in outcomes and not made[key]:
            yield Violation("lost", f"the trigger {key} was acknowledged and there is no build of it", triggers)
        if len(made[key]) > 1:
            yield Violation("doubled", f"the trigger {key} made the builds {', '.join(sorted(made[key]))}", triggers)
        if outcomes == {"fail"} and made[key]:
            yield Violation("phantom", f"the trigger {key} was refused and made {', '.join(sorted(made[key]))}", triggers)
        for trigger in triggers:
            if trigger["outcome"] == "ok" and trigger.get("build") and made[key] and trigger["build"] not in made[key]:
                yield Violation("lost", f"the trigger {key} was answered with build {trigger['build']}, which is not there", [trigger])


CHECKS = [check_sessions, check_real_time, check_states, check_streams, check_triggers]


def check(history):
    """Every violation."""
    return [violation for one in CHECKS for violation in one(history)]


def summary(history):
    """What a history holds, so that an empty one cannot pass for a good one."""
    counts = collections.Counter((o["op"], o["outcome"]) for o in history)
    return ", ".join(f"{number} {op} {outcome}" for (op, outcome), number in sorted(counts.items()))


def load(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def main(path):
    history = load(path)
    violations = check(history)
    print(summary(history))
    for violation in violations[:50]:
        print(violation)
        for operation in violation.operations[:4]:
            print("    " + json.dumps({k: v for k, v in operation.items() if k != "builds"}))
    print(f"{len(violations)} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
