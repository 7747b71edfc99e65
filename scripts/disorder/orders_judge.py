"""What must hold at the end: from the rows, the provider's ledger and the files. Each check says what is broken."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import psycopg.rows
from PIL import Image

ATTEMPTS = 3
# what a provider sent in full, but nobody can use: paid, and asked for anew where a repeat brought no better
USELESS = frozenset({"not_an_image", "wrong_type"})
LARGER = "ten_times"  # a whole picture, only larger than asked for: it is kept, and its result says its size
FREE = frozenset({"rate_limited", "rate_limited_bare"})  # the queue waits; no attempt is spent
REFUSAL = re.compile("safety system|content checker")  # in the provider's words
SHOWN = 8

CHILDREN = """
SELECT c.id, c.parent_id, c.status::text, c.attempt, c.failures, c.deaths, coalesce(c.error, '') AS error,
       c.result, c.payload
  FROM workerctl.job c WHERE c.parent_id = ANY(%s) ORDER BY c.id
"""
PARENTS = "SELECT id, status::text, children_total FROM workerctl.job WHERE id = ANY(%s)"
CALLS = "SELECT job_id, call_key::text, state::text FROM workerctl.spend"

Row = dict[str, Any]


@dataclass(slots=True)
class Verdict:
    """What is worth telling, and what is broken."""

    lines: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def must(self, name: str, offenders: list[Any]) -> None:
        """Note a broken promise with those that break it."""
        if offenders:
            self.broken.append(f"{name}: {len(offenders)}, {', '.join(map(str, offenders[:SHOWN]))}")


def judge(connection: psycopg.Connection[Any], ledger: Row, orders: dict[int, int], storage: Path) -> Verdict:
    """Every promise about these orders (number of pictures by job id)."""
    verdict = Verdict()
    with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        parents = cursor.execute(PARENTS, [list(orders)]).fetchall()
        children = cursor.execute(CHILDREN, [list(orders)]).fetchall()
        calls = cursor.execute(CALLS).fetchall()
    by_job = _by_job(verdict, ledger["entries"], children, {call["call_key"]: call["job_id"] for call in calls})
    made = [child for child in children if child["status"] == "succeeded"]
    _orders(verdict, parents, children, orders)
    _could_be_made(verdict, children, ledger["entries"])
    _files(verdict, made, storage)
    _paid(verdict, children, by_job)
    _tell(verdict, children, ledger)
    return verdict


def _by_job(verdict: Verdict, entries: list[Row], children: list[Row], keys: dict[str, int]) -> dict[int, list[Row]]:
    """The provider's entries of each job: known by their key, else (fal) by prompt and seed."""
    wanted = {(child["payload"]["prompt"], child["payload"]["seed"]): child["id"] for child in children}
    found: dict[int, list[Row]] = defaultdict(list)
    strangers = []
    for entry in entries:
        job = keys.get(entry["idempotency_key"]) or wanted.get((entry["prompt"], entry["seed"]))
        if job is not None:
            found[job].append(entry)
        elif entry["paid"]:
            strangers.append(entry["request_id"])
    verdict.must("paid for no known job", strangers)
    return found


def _orders(verdict: Verdict, parents: list[Row], children: list[Row], orders: dict[int, int]) -> None:
    counts = Counter(child["parent_id"] for child in children)
    ended = ("succeeded", "dead")
    verdict.must("orders that did not end", [row["id"] for row in parents if row["status"] not in ended])
    wrong = [f"{one}: {counts[one]} of {count}" for one, count in orders.items() if counts[one] != count]
    verdict.must("orders with another number of pictures than asked for", wrong)
    verdict.must("pictures that did not end", [row["id"] for row in children if row["status"] not in ended])


def _could_be_made(verdict: Verdict, children: list[Row], entries: list[Row]) -> None:
    """A picture may be missing where it was refused, or where as many calls failed as it has attempts."""
    faults = Counter(fault for entry in entries for fault in entry["faults"])
    dead = [child for child in children if child["status"] != "succeeded"]
    refused = [child for child in dead if REFUSAL.search(child["error"])]
    verdict.must("pictures that could have been made",
                 [f"{one['id']} ({one['error'][:100]})" for one in dead
                  if one not in refused and one["failures"] < ATTEMPTS])  # fmt: skip
    if len(refused) != faults["refused"]:
        verdict.broken.append(f"{faults['refused']} refusals, but {len(refused)} pictures that were refused")
    failures = sum(child["failures"] for child in children if child not in refused)
    costly = sum(count for fault, count in faults.items() if fault not in FREE)
    if failures > costly:
        verdict.broken.append(f"{failures} attempts failed, but only {costly} calls did")


def _files(verdict: Verdict, made: list[Row], storage: Path) -> None:
    keys = Counter(child["result"]["key"] for child in made)
    sizes = {child["result"]["key"]: (child["result"]["width"], child["result"]["height"]) for child in made}
    verdict.must("pictures that are there more than once", [key for key, count in keys.items() if count > 1])
    verdict.must("pictures that are not there", [key for key in keys if not (storage / key).is_file()])
    wrong = []
    for path in storage.rglob("*"):
        if path.is_file() and ".tmp" not in path.parts:
            try:
                with Image.open(path) as image:
                    image.load()
                    if image.size != sizes.get(path.relative_to(storage).as_posix(), image.size):
                        wrong.append(f"{path.name} is {image.size}")
            except (OSError, SyntaxError, ValueError) as error:
                wrong.append(f"{path.name}: {error}")
    verdict.must("files that are half-written or of another size", wrong)
    halves = list((storage / ".tmp").glob("*"))
    verdict.lines.append(f"files: {len(keys)} pictures, {len(halves)} beginnings that nobody sees in .tmp")


def _paid(verdict: Verdict, children: list[Row], by_job: dict[int, list[Row]]) -> None:
    """Each paid request is a picture, a failed one, or one that nobody could ask for any more; no picture has two."""
    ends: Counter[str] = Counter()
    flying: list[str] = []
    for child in children:
        kept = child["status"] == "succeeded"
        paid = [entry for entry in by_job[child["id"]] if entry["paid"]]
        found = Counter(_end_of(entry, kept) for entry in paid)
        ends += found
        if found["picture"] != kept or found["?"]:
            verdict.broken.append(
                f"picture {child['id']} ({child['status']}) has paid for {dict(found)}: {_told(paid)}"
            )
        for entry in paid:
            if entry["client_gone"]:
                told = "its repeat got the answer" if entry["deliveries"] else _end_of(entry, kept)
                flying.append(f"{entry['request_id']} of job {child['id']}: {told}")
    told = " + ".join(f"{count} {end}" for end, count in sorted(ends.items(), reverse=True))
    verdict.lines.append(f"paid requests: {ends.total()} = {told}")
    verdict.lines.append(f"in flight when their worker died: {len(flying)}")
    verdict.lines += [f"  {one}" for one in flying]


def _told(entries: list[Row]) -> str:
    return "; ".join(
        f"{one['request_id']} {one['outcome']}, {one['repeats']} repeats, {one['faults']}" for one in entries
    )


def _end_of(entry: Row, kept: bool) -> str:
    """What became of a paid request. One that can be asked for again must end as a picture where there is one."""
    useless = USELESS & set(entry["faults"])
    if kept and (entry["deliveries"] or LARGER in entry["faults"]) and not (useless and not entry["deliveries"]):
        return "picture"
    if useless or not kept:
        return "failed"
    if entry["idempotency_key"] is None and not entry["deliveries"]:
        return "unknown id"  # cut off before its id was heard: nobody can ask for it
    return "?"


def _tell(verdict: Verdict, children: list[Row], ledger: Row) -> None:
    faults = Counter(fault for entry in ledger["entries"] for fault in entry["faults"])
    ends = Counter(child["status"] for child in children)
    reasons = Counter(child["error"].partition(":")[2].strip()[:60] for child in children if child["status"] == "dead")
    verdict.lines.insert(0, "pictures: " + ", ".join(f"{count} {status}" for status, count in ends.items()))
    verdict.lines += [f"  dead {count} x {reason}" for reason, count in reasons.items()]
    calls = ledger["requests"] + sum(entry["repeats"] for entry in ledger["entries"])
    told = ", ".join(f"{name} {count}" for name, count in sorted(faults.items()))
    verdict.lines.append(
        f"faults in {calls} calls: {faults.total()} ({told}); at most {ledger['peak_in_hand']} at once"
    )
    died = sum(child["deaths"] for child in children)
    attempts = Counter(child["attempt"] for child in children)
    verdict.lines.append("attempts of a picture: " + ", ".join(f"{one}x {attempts[one]}" for one in sorted(attempts))
                         + f"; deaths with a picture in hand {died}")  # fmt: skip
