"""A job as the database takes it, checked as far as this process can."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterable
from typing import Any

import msgspec

from .outcomes import InvalidPayload, Refused
from .registry import handlers, validate
from .texts import holds_no_number, holds_nul, is_nested_over, to_json

PAYLOAD_LIMIT_BYTES = 1024 * 1024
LONGEST = {"queue": 200, "unique_key": 500, "user_id": 200, "plan": 200}  # characters, as the queue's tables have it
CHECKED_AT_ONCE = 1000
DEEPEST = 500  # mappings and lists within each other, as the queue itself counts them
ONE_END = bytes.maketrans(b"]", b"}")
MANY_ENDS = b"}" * 32  # how deep nesting ends as a rule; where it does not, the queue itself refuses it
OPTIONS = frozenset({"queue", "priority", "run_at", "unique_key", "user_id", "plan", "max_attempts"})
_encoder = msgspec.json.Encoder()


def job_spec(kind: str, payload: Any = None, **options: Any) -> dict[str, Any]:
    """One job as the database takes it, checked as far as this process can. Raises InvalidPayload and Refused."""
    spec = _outline(kind, payload, **options)
    _check_content(spec)
    return spec


def job_specs(jobs: Iterable[tuple[str, Any] | dict[str, Any]]) -> list[dict[str, Any]]:
    """Many of them, each `(kind, payload)` or the arguments of `job_spec`. What is refused is named by its place."""
    specs: list[dict[str, Any]] = []
    try:
        for job in jobs:
            specs.append(_outline_of(job))  # noqa: PERF401 -- its length says which of them is refused
    except Refused as error:
        raise Refused(f"jobs[{len(specs)}]: {error}") from None
    for start in range(0, len(specs), CHECKED_AT_ONCE):
        _check_contents(specs[start : start + CHECKED_AT_ONCE], start)
    return specs


def _outline_of(job: tuple[str, Any] | dict[str, Any]) -> dict[str, Any]:
    if isinstance(job, tuple) and len(job) in (1, 2):
        return _outline(*job)
    if isinstance(job, dict) and "kind" in job:
        return _outline(**job)
    raise Refused(f"a job is (kind, payload) or a mapping with kind, payload and options, not {job!r:.60}")


def _outline(kind: str, payload: Any = None, **options: Any) -> dict[str, Any]:
    """A spec whose payload nobody has looked at."""
    if not isinstance(kind, str) or not 1 <= len(kind) <= 200:
        raise Refused(f"a kind is a text of 1 to 200 characters, not {kind!r:.40}")
    spec = {"kind": kind, "payload": {} if payload is None else payload}
    if options:
        _check_options(kind, options)
        if options.get("run_at") is not None:
            options["run_at"] = _instant(kind, options["run_at"])
        spec |= {name: value for name, value in options.items() if value is not None}
    return spec


def _check_contents(specs: list[dict[str, Any]], first: int) -> None:
    """All at once, in half the time; one by one where something is or may be wrong.

    `first` is the place of the first of them among its caller's jobs: a refusal says whose it is.
    """
    with contextlib.suppress(InvalidPayload):
        for spec, content in zip(specs, to_json([spec["payload"] for spec in specs]), strict=True):
            spec["payload"] = content
            _validate(spec)
        if _is_plain(specs):
            return
    for place, spec in enumerate(specs, first):
        try:
            _check_content(spec)
        except (InvalidPayload, Refused) as error:
            raise type(error)(f"jobs[{place}]: {error}") from None


def _check_content(spec: dict[str, Any]) -> None:
    """Turn its payload into plain JSON types that its handler and PostgreSQL take."""
    try:
        spec["payload"] = to_json(spec["payload"])
    except InvalidPayload as error:
        raise InvalidPayload(f"{spec['kind']}: {error}") from None
    _validate(spec)
    if not _is_plain([spec]):
        _check_text(spec)


def _validate(spec: dict[str, Any]) -> None:
    handler = handlers().get(spec["kind"])
    if handler is not None:
        validate(handler, spec["payload"])


def _is_plain(specs: list[dict[str, Any]]) -> bool:
    """Whether their text, as that of most, holds nothing that has to be looked at closely."""
    try:
        text = _encoder.encode(specs)
    except ValueError:
        return False
    return (
        len(text) <= PAYLOAD_LIMIT_BYTES
        and b"null" not in text
        and b"\\u0000" not in text
        and MANY_ENDS not in text.translate(ONE_END)
    )


def _check_text(spec: dict[str, Any]) -> None:
    kind, content = spec["kind"], spec["payload"]
    try:
        text = _encoder.encode(spec)
    except UnicodeEncodeError as error:
        raise Refused(f"{kind!a}: half a character (a lone surrogate) is in it, which is no text") from error
    except ValueError as error:  # a number of thousands of digits
        raise InvalidPayload(f"{kind}: payload is not JSON: {error}") from None
    if b"null" in text and holds_no_number(content):
        raise InvalidPayload(f"{kind}: payload holds NaN or an infinity, which JSON does not have")
    if len(text) > PAYLOAD_LIMIT_BYTES and (size := len(_encoder.encode(content))) > PAYLOAD_LIMIT_BYTES:
        raise Refused(f"{kind}: payload of {size} bytes is over 1 MiB; put it into storage and pass its key")
    if holds_nul(text):
        raise Refused(f"{kind}: the character NUL is in it, which PostgreSQL cannot store")
    if text.count(b"{") + text.count(b"[") > DEEPEST and is_nested_over(DEEPEST, content):
        raise Refused(f"{kind}: payload is nested over {DEEPEST} deep")


def _check_options(kind: str, options: dict[str, Any]) -> None:
    unknown = options.keys() - OPTIONS
    if unknown:
        raise Refused(f"{kind}: unknown option {min(unknown)!r}; there are {', '.join(sorted(OPTIONS))}")
    if options.get("queue") == "":
        raise Refused(f"{kind}: a queue has a name")
    for name, most in LONGEST.items():
        if isinstance(value := options.get(name), str) and len(value) > most:
            raise Refused(f"{kind}: {name} of {len(value)} characters: at most {most} are allowed")
    for name, least, most in (("priority", -100, 100), ("max_attempts", 1, 1000)):
        number = options.get(name)
        if number is not None and (type(number) is bool or not (isinstance(number, int) and least <= number <= most)):
            raise Refused(f"{kind}: {name} {number!r} is not a whole number between {least} and {most}")


def _instant(kind: str, run_at: Any) -> dt.datetime:
    """A datetime or its ISO text; without a zone this machine's time, as everywhere in Python; not the database's."""
    try:
        found = dt.datetime.fromisoformat(run_at) if isinstance(run_at, str) else run_at
    except ValueError:
        found = None
    if not isinstance(found, dt.datetime):
        raise Refused(f"{kind}: run_at {run_at!r:.60} is no datetime; in ten minutes: now(UTC) + timedelta(minutes=10)")
    return found if found.tzinfo is not None else found.astimezone()
