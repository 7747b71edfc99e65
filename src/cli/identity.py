"""The only module that gives up root: `user` and `group` of [supervisor], and the home made theirs."""

from __future__ import annotations

import grp
import os
import pwd
import sys
from dataclasses import dataclass
from pathlib import Path

from ..broker.embedded import change_owner
from ..contract import Unusable
from ..settings import Loaded
from ..settings.pools import folders_of


@dataclass(frozen=True, slots=True)
class Account:
    """Who everything runs as."""

    name: str
    uid: int
    gid: int
    folder: str


def settle(loaded: Loaded) -> None:
    """Make the home the configured user's, and become that user. Raises Unusable where this cannot be."""
    account = _account(loaded)
    if os.geteuid() != account.uid:
        if os.geteuid() != 0:
            raise Unusable(
                f"[supervisor] user = {account.name!r}: only root can become {account.name}; "
                f"start as root or as {account.name}, or leave `user` out"
            )
        _refuse_unreachable(loaded, account)
        _hand_over(loaded.home, account)
        _become(account)
        change_owner(loaded.home, account.uid)


def act_as_owner(loaded: Loaded) -> None:
    """Become the configured user where root commands a home that is already theirs: what it writes must be too."""
    if os.geteuid() == 0 and loaded.home.exists():
        account = _account(loaded)
        if account.uid != 0 and loaded.home.stat().st_uid == account.uid:
            _refuse_unreachable(loaded, account)
            _become(account)


def _account(loaded: Loaded) -> Account:
    user, group = loaded.settings.supervisor.user, loaded.settings.supervisor.group
    assert user is not None
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise Unusable(
            f"[supervisor] user = {user!r}: this machine has no such user; `useradd --system {user}`"
        ) from None
    try:
        gid = entry.pw_gid if group is None else grp.getgrnam(group).gr_gid
    except KeyError:
        raise Unusable(f"[supervisor] group = {group!r}: this machine has no such group; `groupadd {group}`") from None
    return Account(user, entry.pw_uid, gid, entry.pw_dir)


def _become(account: Account) -> None:
    os.initgroups(account.name, account.gid)
    os.setgid(account.gid)
    os.setuid(account.uid)
    os.environ |= {"HOME": account.folder, "USER": account.name, "LOGNAME": account.name}


def _refuse_unreachable(loaded: Loaded, account: Account) -> None:
    """Raises Unusable for the first place that this user cannot read: better now than in a worker."""
    places = [Path(sys.executable), Path(__file__), Path(os.__file__), loaded.home.parent]
    places += [Path(folder) for folder in folders_of(loaded.settings.pools.values())]
    places += [loaded.config_path] if loaded.config_path is not None else []
    groups, before = os.getgroups(), (os.getegid(), os.geteuid())
    os.initgroups(account.name, account.gid)
    os.setegid(account.gid)
    os.seteuid(account.uid)
    try:
        closed = next((path for path in places if not os.access(path, _mode(path), effective_ids=True)), None)
    finally:
        os.seteuid(before[1])
        os.setegid(before[0])
        os.setgroups(groups)
    if closed is not None:
        raise Unusable(
            f"[supervisor] user = {account.name!r} may not read {closed}: move it below a folder that "
            f"{account.name} may enter, or open it (chmod, setfacl)"
        )


def _mode(path: Path) -> int:
    return os.R_OK | os.X_OK if path.is_dir() or path == Path(sys.executable) else os.R_OK


def _hand_over(home: Path, account: Account) -> None:
    """The home and all in it become the user's. Only a home that is root's alone is taken: nobody else could have put
    a file into it. It goes by descriptor and from the inside out, so that nothing can be exchanged meanwhile.
    """
    if not home.exists():
        home.mkdir(mode=0o700, parents=True)
    try:
        top = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise Unusable(f"{home}: {error.strerror}; give the folder itself as --home") from None
    try:
        owner = os.fstat(top)
        if owner.st_uid == account.uid:
            return
        if owner.st_uid != 0 or owner.st_mode & 0o022:
            raise Unusable(
                f"{home} is uid {owner.st_uid}'s or others may write to it: "
                f"chown -R {account.name} {home}, or give another --home"
            )
        for _, folders, files, descriptor in os.fwalk(".", topdown=False, dir_fd=top, follow_symlinks=False):
            for name in (*folders, *files):
                os.chown(name, account.uid, account.gid, dir_fd=descriptor, follow_symlinks=False)
        os.fchown(top, account.uid, account.gid)
    finally:
        os.close(top)
