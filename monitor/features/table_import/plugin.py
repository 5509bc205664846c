"""Import of tables with an unknown layout: `slopeward import`, `ingest --guess`, `sites init --table` and the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.api.hooks import AccessRule, Command, Panel, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import typer
    from fastapi import APIRouter


@hookimpl
def register_routes() -> Iterable[APIRouter]:
    """Return the pages of uploaded files."""
    from monitor.features.table_import.routes import router

    return [router]


@hookimpl
def register_access_rules() -> Mapping[str, AccessRule]:
    """Return who may import files. Everybody sees their own files; the routes check the site that a file goes to."""
    routes = (
        "GET /files",
        "POST /files",
        "GET /files/{upload}",
        "GET /files/{upload}/state",
        "POST /files/{upload}/part",
        "POST /files/{upload}/answers",
        "POST /files/{upload}/accept",
        "POST /files/{upload}/discard",
    )
    return dict.fromkeys(routes, AccessRule("operator", names_no_site=True))


@hookimpl
def register_panels() -> Iterable[Panel]:
    """Return the hint on the first page of a service without sites."""
    return [Panel("start.ways", "start_table.html")]


@hookimpl
def register_commands() -> Mapping[str, Command]:
    """Return the command `slopeward import`."""

    def load() -> typer.Typer:
        from monitor.features.table_import.cli.import_command import app

        return app

    command = Command(
        load,
        "Import readings (CSV, Excel, other files), also of a new site",
        after="run",
        rules={"import": "serves"},
        subject="Everyday commands",
    )
    return {"import": command}


@hookimpl
def import_unknown_table(
    path: Path,
    site_id: str | None,
    answers: Sequence[str],
    out: Path | None,
    bounds: Sequence[str],
    by: str | None,
    dry_run: bool,
) -> bool:
    """Import a table, and ask where its layout leaves a question open."""
    from monitor.features.table_import.cli.guess_option import guess_file

    guess_file(path, site_id, answers, out, bounds=bounds, by=by, dry_run=dry_run)
    return True
