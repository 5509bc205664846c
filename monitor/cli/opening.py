"""What most verbs begin with: the configuration, the database at the right revision, one site by name."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from monitor.config import ServiceConfig, load_service, scan_sites
from monitor.domain.site import Site
from monitor.errors import NotFoundError
from monitor.store.engine import Database
from monitor.store.migrate import require_current

ConfigOption = Annotated[Path | None, typer.Option("--config", help="Service file; default configs/slopeward.toml.")]
SiteOption = Annotated[str, typer.Option("--site", help="Site id.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON lines on stdout.")]


def open_service(path: Path | None) -> tuple[ServiceConfig, Database]:
    """Read the configuration and open the database, which must be at the revision of this program."""
    config = load_service(path)
    db = Database(config.database.url)
    require_current(db)
    return config, db


def pick_site(config: ServiceConfig, site_id: str) -> Site:
    """The site of that id; NotFoundError names those there are, or why the file of this one cannot be used."""
    sites, failures = scan_sites(config.paths.sites)
    for site in sites:
        if site.id == site_id:
            return site
    for file, error in failures.items():
        if file.stem == site_id:
            raise error
    raise NotFoundError(f"no site {site_id!r} in {config.paths.sites}; there are: {', '.join(s.id for s in sites)}")


def print_json(value: Any) -> None:
    """One JSON object on one line of stdout."""
    print(json.dumps(value, ensure_ascii=False, default=str))
