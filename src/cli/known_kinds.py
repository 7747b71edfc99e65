"""Pure: names in the configuration that no job module knows, and which were probably meant."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches

from ..settings import Settings
from ..settings.pools import code_of, modules_key, pool_serving

LISTED = 3
PLAN = "plan:"


def unknown_kinds(settings: Settings, kinds: Collection[str]) -> Iterator[str]:
    """One line for each limit, rate, admission and scheduled task that names a kind which is not among `kinds`."""
    groups = _with_groups(kinds)
    found = [(f"limits.{name}", unknown_kind(name, kinds)) for name in settings.limits]
    found += [(f"rates.{name}", unknown_kind(name, kinds)) for name in settings.rates]
    found += [
        (f"admission.{name}", _unless_among(groups, name)) for name in settings.admission if not name.startswith(PLAN)
    ]
    found += [(f"schedule.{name}.kind", _unless_among(kinds, task.kind)) for name, task in settings.schedule.items()]
    for key, kind_and_meant in found:
        if kind_and_meant is not None:
            yield f"{key}: no job module knows the kind {kind_and_meant}"


def unserved_kinds(settings: Settings, known: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """One line for each pool's queue whose jobs nobody would take: the pool that serves it does not import their kinds.

    `known` are kinds with their queues, by one pool of all that import the same.
    """
    kinds_of = {code_of(settings.pools[name]): kinds for name, kinds in known.items()}
    for name, kinds in known.items():
        for queue in sorted(set(kinds.values())):
            server = pool_serving(settings, queue)
            theirs = kinds_of[code_of(settings.pools[server])]
            lost = sorted(kind for kind, lane in kinds.items() if lane == queue and kind not in theirs)
            if lost:
                yield (
                    f"{modules_key(settings, name)}: nobody takes {_listed(lost)}: the queue {queue!r} is the pool "
                    f"{server}'s, which does not know {'it' if len(lost) == 1 else 'them'}; @job(..., queue=...)"
                )


def unknown_job(kind: str, ever_known: Collection[str], here: Collection[str]) -> str | None:
    """What to say of a new job of a kind that no worker has ever known, where there have been workers; else None."""
    if kind in ever_known or not ever_known:
        return None
    if kind in here:
        return f"no worker has known the kind {kind!r} yet; type `workerctl reload`"
    near = get_close_matches(kind, sorted({*ever_known, *here}), n=2, cutoff=0.6)
    return f"no worker has ever known the kind {kind!r}" + (f"; did you mean {' or '.join(near)}?" if near else "")


def unknown_kind(name: str, kinds: Collection[str]) -> str | None:
    """The kind that a limit's name speaks of where it is not among `kinds`, with what was probably meant."""
    known = _with_groups(kinds)
    kind, colon, _ = name.partition(":")
    spelled = {kind.translate(str.maketrans(".-", "__")) for kind in known} if colon else ()  # of one plan
    if "{" in name or name.startswith(PLAN) or name in known or kind in spelled:
        return None
    return _unless_among(known, kind)


def _with_groups(kinds: Collection[str]) -> set[str]:
    """And what stands before their first dots."""
    return {*kinds, *(kind.partition(".")[0] for kind in kinds)}


def _unless_among(known: Collection[str], kind: str) -> str | None:
    if kind in known:
        return None
    near = get_close_matches(kind, sorted(known), n=2, cutoff=0.6)
    return repr(kind) + (f"; did you mean {' or '.join(near)}?" if near else "")


def _listed(names: Sequence[str]) -> str:
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")
