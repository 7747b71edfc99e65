"""Pure: which fault explains an execution that went on after its job had been given to another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from disorder.homes import KIND_LIMIT
from disorder.records import Execution, Record, most_at_once
from disorder.strike import Struck

AFTERMATH_SECONDS = 25.0  # a lease, and what it takes to notice its end


def blame(runs: list[Execution], limited: set[int], struck: list[Struck], say: Callable[[str], None]) -> list[str]:
    """Tell how many unfenced executions and seats there were beside the rows, and why; those that nothing explains."""
    outlived = [run for run in runs if run.outlived]
    causes = Counter(explanation(run, struck) for run in outlived)
    told = ", ".join(f"{cause} {count}" for cause, count in sorted(causes.items())) or "none"
    say(f"executions that went on after a later attempt had begun, unfenced: {len(outlived)} ({told})")
    truly = most_at_once(run for run in runs if run.job_id in limited)
    say(f"jobs of the limited kind that truly ran at once, these included: {truly} (its limit is {KIND_LIMIT})")
    within = most_at_once(
        run._replace(ended=min(run.ended, run.let_go))
        for run in runs
        if run.job_id in limited and run.began < run.let_go
    )
    unexplained = [f"{run.job_id} attempt {run.attempt}" for run in outlived if explanation(run, struck) == "nothing"]
    broken = (
        [f"ran on unfenced though neither frozen nor cut off: {', '.join(unexplained[:10])}"] if unexplained else []
    )
    return broken + (
        [f"{within} jobs of the limited kind ran at once, all within their claims"] if within > KIND_LIMIT else []
    )


def slept(records: Iterable[Record], struck: list[Struck]) -> set[tuple[int, int]]:
    """(job, attempt) that began after a later attempt had, in a process that had been stopped since its claim."""
    highest: dict[int, int] = {}
    found = set()
    for record in records:
        if record.word == "began":
            if record.attempt < highest.get(record.job_id, 0):
                run = Execution(record.job_id, record.attempt, record.pid, record.at, record.at, outlived=True)
                found |= {(record.job_id, record.attempt)} if explanation(run, struck) == "frozen" else set()
            highest[record.job_id] = max(record.attempt, highest.get(record.job_id, 0))
    return found


def explanation(run: Execution, struck: Iterable[Struck]) -> str:
    """`frozen`: its process was stopped; `cut off`: its way to the database, or the database itself, was gone."""
    near = [done for done in struck if done.victims and done.at <= run.ended
            and run.began <= done.at + done.fault.seconds + AFTERMATH_SECONDS]  # fmt: skip
    if any(run.pid in done.victims and done.fault.deed in ("stop", "freeze") for done in near):
        return "frozen"
    if any(done.fault.target in ("network", "postgres", "backend") for done in near):
        return "cut off"
    if any(done.fault.deed == "kill" and done.fault.target in ("supervisor", "agent") for done in near):
        return "on its way out"
    return "nothing"
