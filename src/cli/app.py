"""The typer application: global options, and the groups of commands that a command line needs."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from .common import options
from .words import command_word

# Each module and the words that it answers to: `status` imports one of them, and is 30 ms faster for it.
GROUPS = {
    "processes": ("start", "stop", "restart", "reload", "scale", "status", "ls", "show", "reset"),
    "journal": ("logs", "why", "flush"),
    "jobs": ("enqueue", "jobs"),
    "limits": ("limits",),
    "database": ("migrate", "nodes", "queue", "schedule"),
    "configure": ("config",),
    "demonstrate": ("demo",),
    "doctor": ("doctor",),
    "init": ("init",),
    "startup": ("startup",),
    "top": ("top",),
    "dev": ("dev",),
    "spend": ("spend",),
}


def make_app(arguments: Sequence[str] = ()) -> typer.Typer:
    """The application for this command line; all of it where its command is not known, or none is given."""
    app = typer.Typer(
        name="workerctl",
        help="Supervised Python workers on a PostgreSQL queue.",
        no_args_is_help=True,
        add_completion=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(global_options)
    word = command_word(arguments)
    chosen = [name for name, words in GROUPS.items() if word in words]
    for name in chosen or GROUPS:
        importlib.import_module(f".{name}", __package__).add_to(app)
    if chosen:  # typer reads the signature of each command that it is told of: 1 ms
        app.registered_commands = [each for each in app.registered_commands if each.name == word]
        app.registered_groups = [each for each in app.registered_groups if each.name == word]
    return app


def _version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(f"workerctl {__version__}")
        raise typer.Exit


def global_options(
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="The TOML file; else WORKERCTL_CONFIG, workerctl.toml, config/."),
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option("--home", readable=False, help="State, sockets, logs, embedded PostgreSQL; else WORKERCTL_HOME."),
    ] = None,
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Keep the global options for the command that follows."""
    options.config, options.home = config, home
