"""The typer application: global options, and every group of commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import configure, database, demonstrate, dev, doctor, init, jobs, journal, limits, processes, spend, startup, top
from .common import options

app = typer.Typer(
    name="workerctl",
    help="Supervised Python workers on a PostgreSQL queue.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(f"workerctl {__version__}")
        raise typer.Exit


@app.callback()
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


for group in (
    processes,
    journal,
    jobs,
    limits,
    database,
    configure,
    demonstrate,
    doctor,
    init,
    startup,
    top,
    dev,
    spend,
):
    group.add_to(app)
