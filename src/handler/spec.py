"""A job as the database takes it, checked as far as this process can."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from .outcomes import InvalidPayload, Refused
from .registry import handlers, validate
from .texts import holds_no_number, holds_nul, is_nested_over, to_json

PAYLOAD_LIMIT_BYTES = 1024 * 1024
LONGEST = {"queue": 200, "unique_key": 500, "user_id": 200, "plan": 200}  # characters, as the queue's tables have it
DEEPEST = 500  # mappings and lists within each other, as the queue itself counts them
ONE_END = bytes.maketrans(b"]", b"}")
MANY_ENDS = b"}" * 32  # how deep nesting ends as a rule; where it does not, the queue itself refuses it
EARLIEST, LATEST = dt.datetime(1, 1, 3, tzinfo=dt.UTC), dt.datetime(9999, 12, 30, tzinfo=dt.UTC)  # whatever one's zone
OPTIONS = frozenset({"queue", "priority", "run_at", "unique_key", "user_id", "plan", "max_attempts"})
_encoder = msgspec.json.Encoder()


def job_spec(kind: str, payload: Any = None, **options: Any) -> dict[str, Any]:
    """One job as the database takes it, checked as far as this process can. Raises InvalidPayload and Refused."""
    spec = _outline(kind, payload, **options)
    _write(spec)
    if _plain_text([spec]) is None:
        _check_text(spec)
    return spec


def job_texts(jobs: Iterable[tuple[str, Any] | dict[str, Any]], at_once: int) -> Iterator[bytes]:
    """Many of them as JSON lists of up to `at_once`, each `(kind, payload)` or the arguments of `job_spec`.

    What is refused is named by its place among all.
    """
    rest = iter(jobs)
    first = 0
    while some := list(itertools.islice(rest, at_once)):
        yield _text_of(some, first)
        first += len(some)


def _text_of(jobs: list[tuple[str, Any] | dict[str, Any]], first: int) -> bytes:
    specs = _each(jobs, first, _outline_of)
    if not _write_together(specs):
        _each(specs, first, _write)
    text = _plain_text(specs)
    if text is None:
        _each(specs, first, _check_text)
        text = _encoder.encode(specs)
    return text


def _each(items: list[Any], first: int, do: Callable[[Any], Any]) -> list[Any]:
    """`do` each; `first` is the place of the first of them among its caller's jobs: a refusal says whose it is."""
    done: list[Any] = []
    try:
        for item in items:
            done.append(do(item))  # noqa: PERF401 -- its length says which of them is refused
    except (InvalidPayload, Refused) as error:
        raise type(error)(f"jobs[{first + len(done)}]: {error}") from None
    return done


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


def _write_together(specs: list[dict[str, Any]]) -> bool:
    """As `_write` of each, which costs more than twice as much; False where one of the payloads is wrong."""
    try:
        for spec, content in zip(specs, to_json([spec["payload"] for spec in specs]), strict=True):
            spec["payload"] = content
            _validate(spec)
    except InvalidPayload:
        return False
    return True


def _write(spec: dict[str, Any]) -> None:
    """Turn its payload into plain JSON types that its handler takes."""
    try:
        spec["payload"] = to_json(spec["payload"])
    except InvalidPayload as error:
        raise InvalidPayload(f"{spec['kind']}: {error}") from None
    _validate(spec)


def _validate(spec: dict[str, Any]) -> None:
    handler = handlers().get(spec["kind"])
    if handler is not None:
        validate(handler, spec["payload"])


def _plain_text(specs: list[dict[str, Any]]) -> bytes | None:
    """Their text where it holds, as most does, nothing that has to be looked at closely."""
    try:
        text = _encoder.encode(specs)
    except ValueError:
        return None
    is_plain = (
        len(text) <= PAYLOAD_LIMIT_BYTES
        and b"null" not in text
        and b"\\u0000" not in text
        and MANY_ENDS not in text.translate(ONE_END)
    )
    return text if is_plain else None


def _check_text(spec: dict[str, Any]) -> None:
    kind, content = spec["kind"], spec["payload"]
    try:
        text = _encoder.encode(spec)
    except UnicodeEncodeError as error:
        named = kind.encode(errors="backslashreplace").decode()
        raise Refused(f"{named}: half a character (a lone surrogate) is in it, which is no text") from error
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
        if (value := options.get(name)) is None:
            continue
        text = options[name] = value if isinstance(value, str) else _option_text(kind, name, value)
        if len(text) > most:
            raise Refused(f"{kind}: {name} of {len(text)} characters: at most {most} are allowed")
    for name, least, most in (("priority", -100, 100), ("max_attempts", 1, 1000)):
        number = options.get(name)
        if number is not None and (type(number) is bool or not (isinstance(number, int) and least <= number <= most)):
            raise Refused(f"{kind}: {name} {number!r} is not a whole number between {least} and {most}")


def _option_text(kind: str, name: str, value: Any) -> str:
    """A whole number, a UUID and their like as text; the queue sees what is none with a settlement at the earliest."""
    try:
        plain = to_json(value)
        if isinstance(plain, str):
            return plain
        if type(plain) is int:
            return str(plain)
    except (InvalidPayload, ValueError):
        pass
    raise Refused(f"{kind}: {name} is a text, not {type(value).__name__}")


def _instant(kind: str, run_at: Any) -> dt.datetime:
    """A datetime or its ISO text; without a zone this machine's time, as everywhere in Python; not the database's."""
    try:
        found = dt.datetime.fromisoformat(run_at) if isinstance(run_at, str) else run_at
        if isinstance(found, dt.datetime):
            found = found if found.tzinfo is not None else found.astimezone()
            if not EARLIEST <= found <= LATEST:
                raise Refused(f"{kind}: run_at {found} is no time of the years 1 to 9999")
            return found
    except (ValueError, OverflowError):
        pass
    raise Refused(f"{kind}: run_at {run_at!r:.60} is no datetime; in ten minutes: now(UTC) + timedelta(minutes=10)")
