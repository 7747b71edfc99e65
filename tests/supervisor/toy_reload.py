"""A world that reloads, and what is asked of it."""

from __future__ import annotations

import msgspec
from toy_world import HOUSE, World

WITH_SPARE = tuple(
    msgspec.structs.replace(group, instances=2) if group.kind == "template" else group for group in HOUSE
)


def world_of(instances: int = 4, spare: bool = True, **fields: object) -> World:
    changed = {"default": {"instances": instances}, "template": {"instances": 2 if spare else 1}}
    groups = tuple(msgspec.structs.replace(group, **changed.get(group.name, {})) for group in HOUSE)
    return World(groups, **fields).run(3)


def releases(world: World, name: str = "default") -> list[int]:
    return [member.release for _, _, member in world.members(name)]


def workers(world: World) -> set[int]:
    return {member.serial for _, _, member in world.members("default")}


def outcome(world: World) -> tuple[int, str]:
    assert world.roster.reloaded is not None
    return world.roster.reloaded.number, world.roster.reloaded.outcome
