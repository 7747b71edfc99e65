"""Folds the facts of a reload into the roster: a release beside the committed one, its end, its commit."""

from __future__ import annotations

from msgspec.structs import replace

from . import events as ev
from .members import Exit, Slot, Words
from .roster import End, Reload, Reloaded, Roster, Team, shown_name
from .teams import every_slot, forgiven, scaled

ENDS_KEPT = 64


def began(roster: Roster, event: ev.ReloadBegan) -> Roster:
    """The new templates are teams, before the pools that they are for; parked slots wait for the new code."""
    rest = roster
    if roster.reload is not None:
        words = Words(1, "superseded by another reload")
        rest = _ended(roster, Reloaded(roster.reload.number, "superseded", words, event.at))
    reload = Reload(event.number, event.at, event.pools, event.others, event.added, event.removed, event.order)
    teams: dict[str, Team] = {}
    for name, team in rest.teams.items():
        if name in event.pools:
            template = event.pools[name].template or ""
            if template not in teams:
                teams[template] = _template(event, template)
                team = _with_canary(team, rest, reload, template)
            team = every_slot(team, _awaiting)
        teams[name] = team
    teams |= {name: _template(event, name) for name in reload.templates if name not in teams}
    return replace(rest, teams=teams, reload=reload, last_number=event.number, release_path=event.release)


def told(roster: Roster, event: ev.BecameReady) -> Roster:
    """A template says what code it has imported. Other code than its predecessor's is a release on its way.

    That happens where template and spare died, and the files had changed since: the new code must prove itself.
    """
    team = roster.teams.get(event.group)
    if team is None or team.fingerprint == event.fingerprint:
        return roster
    rest = replace(roster, teams={**roster.teams, event.group: replace(team, fingerprint=event.fingerprint)})
    pools = {name: pool.group for name, pool in roster.teams.items() if pool.group.template == event.group}
    if not team.fingerprint or not pools or roster.reload is not None or roster.booted_at is None:
        return rest
    return began(rest, ev.ReloadBegan(event.at, roster.last_number + 1, roster.release, {}, pools, {}))


def failed(roster: Roster, event: ev.ReloadFailed) -> Roster:
    """Its templates go; `plan` replaces whatever was forked from them."""
    if roster.reload is None or roster.reload.number != event.number:
        return roster
    return _ended(roster, Reloaded(event.number, "failed", event.words, event.at, event.who))


def committed(roster: Roster, event: ev.Committed) -> Roster:
    """What was new is what is; whoever else changed shall be replaced."""
    reload = roster.reload
    if reload is None or reload.number != event.number:
        return roster
    teams = dict(roster.teams)
    for name, group in reload.pools.items():
        fresh = replace(teams[name], group=group, release=reload.number)
        teams[name] = every_slot(fresh, _may_try)
    for name, group in reload.others.items():
        changed = replace(every_slot(teams[name], _may_try), group=group, release=reload.number, restart_at=event.at)
        teams[name] = changed if group.role else scaled(changed, group.instances)
    for name, group in reload.added.items():
        gone = teams.get(name)  # its last processes may still be leaving
        team = Team(group, 0, ()) if gone is None else replace(gone, group=group, retired=False, restart_at=event.at)
        teams[name] = scaled(replace(team, release=reload.number), group.instances)
    for name in reload.removed:
        teams[name] = _retired(teams[name])
    teams = {name: _without_canary(team) for name, team in _in_order(teams, reload.order).items()}
    after = replace(roster, teams=teams, reload=None, release=roster.release_path)
    after = replace(after, reloaded=Reloaded(reload.number, "committed", Words(0, ""), event.at))
    return _without_needless_templates(after)


def noted(roster: Roster, team: Team, slot: Slot, end: Exit) -> Roster:
    """An end of a process of the new release is kept for the judgement on it."""
    reload = roster.reload
    name = team.group.name
    if reload is None or end.release != reload.number or name not in (*reload.pools, *reload.templates):
        return roster
    return replace(roster, reload=replace(reload, ends=(*reload.ends, End(name, slot.number, end))[-ENDS_KEPT:]))


def without_empty_teams(roster: Roster) -> Roster:
    """A retired team, such as a template's that nobody needs, goes with its last process."""
    if not any(team.retired and team.is_empty for team in roster.teams.values()):
        return roster
    teams = {name: team for name, team in roster.teams.items() if not (team.retired and team.is_empty)}
    return replace(roster, teams=teams)


def _ended(roster: Roster, outcome: Reloaded) -> Roster:
    """Slots that waited for the new code are parked again."""
    reload = roster.reload
    assert reload is not None
    teams = {
        name: every_slot(_without_canary(team), lambda slot: _parked_again(slot, outcome.at))
        if name in reload.pools
        else team
        for name, team in roster.teams.items()
    }
    return _without_needless_templates(replace(roster, teams=teams, reload=None, reloaded=outcome))


def _without_needless_templates(roster: Roster) -> Roster:
    """Templates that no pool names leave; the workers that were forked from them stay until they are replaced."""
    needed = {team.group.template for team in roster.teams.values() if team.group.kind == "pool" and not team.retired}
    teams = {
        name: team if team.group.kind != "template" or name in needed else _retired(team)
        for name, team in roster.teams.items()
    }
    return without_empty_teams(replace(roster, teams=teams))


def _retired(team: Team) -> Team:
    return replace(every_slot(team, lambda slot: replace(slot, retired=True)), desired=0, retired=True)


def _with_canary(team: Team, roster: Roster, reload: Reload, template: str) -> Team:
    """Where no pool of this template has a worker, one is started all the same: it claims nothing and leaves again."""
    pools = (name for name, group in reload.pools.items() if group.template == template)
    if any(True for name in pools for _ in roster.teams[name].wanted):
        return team
    taken = {slot.number for slot in team.slots}
    number = next(number for number in range(1, len(taken) + 2) if number not in taken)
    slots = (*team.slots, Slot(number, canary=True, awaits_release=True))
    return replace(team, slots=tuple(sorted(slots, key=lambda slot: slot.number)))


def _without_canary(team: Team) -> Team:
    if not any(slot.canary for slot in team.slots):
        return team
    left = every_slot(team, lambda slot: replace(slot, retired=True) if slot.canary else slot)
    return replace(left, slots=tuple(slot for slot in left.slots if slot.members or not slot.canary))


def _in_order(teams: dict[str, Team], order: tuple[str, ...]) -> dict[str, Team]:
    """Each after those it waits for; what leaves, and waits for nobody any more, comes last."""
    places = {name: place for place, name in enumerate(order)}
    names = sorted(teams, key=lambda name: places.get(shown_name(name), len(places)))
    return {name: teams[name] for name in names}


def _template(event: ev.ReloadBegan, name: str) -> Team:
    group = event.templates[name]
    slots = tuple(Slot(number) for number in range(1, group.instances + 1))
    return Team(group, group.instances, slots, release=event.number)


def _awaiting(slot: Slot) -> Slot:
    return slot if slot.parked_at is None else replace(forgiven(slot), awaits_release=True)


def _parked_again(slot: Slot, at: float) -> Slot:
    if not slot.awaits_release:
        return slot
    return replace(slot, awaits_release=False, parked_at=None if slot.members else at)


def _may_try(slot: Slot) -> Slot:
    """A slot that was given up may try the new code."""
    return slot if slot.parked_at is None and not slot.awaits_release else forgiven(slot)
