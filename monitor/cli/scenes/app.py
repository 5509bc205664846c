"""`slopeward scenes`: put a scene into the inbox, detect footprints offline, train, export."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from monitor.cli.scenes import change, detect, export, models, review, stack, surface, track, train
from monitor.cli.session import (
    ConfigOption,
    JsonOption,
    SiteOption,
    open_service,
    pick_site,
    say,
    show,
)

app = typer.Typer(help="Add scenes and detect footprints.", no_args_is_help=True)


@app.command(epilog="Example: slopeward scenes add ./scene-2026-05-12 --site north-bench")
def add(
    scene: Annotated[Path, typer.Argument(exists=True)], site: SiteOption, config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Copy a raster, a scene folder or a product into the inbox of a site and process it now; an archive is unpacked.

    What lay there by its name is replaced: of the same time, it is another version of the scene.
    """
    from monitor.jobs.scenes.inbox import detect_scene

    service, db = open_service(config)
    one = pick_site(service, site)
    from detection.imagery.scene.products.unpack import strip_suffix

    target = Path(service.paths.inbox) / one.id / (strip_suffix(scene.name) or scene.name)
    if not (target.exists() and scene.samefile(target)):
        _put(scene, target)
    said = detect_scene(db, service, one, target, datetime.now(UTC), wait=True)
    show({"site": one.id, "scene": scene.name, "said": said}, f"{scene.name}: {said}", as_json)
    if said.startswith("failed"):
        raise typer.Exit(1)


def _put(scene: Path, target: Path) -> None:
    """Copy under a hidden name and swap, so that the watched folder never sees half a scene."""
    hidden, old = (target.with_name(f".{target.name}.{part}") for part in ("part", "old"))
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in (hidden, old):
        _remove(left)
    try:
        _bring(scene, hidden)
    except BaseException:
        _remove(hidden)
        raise
    if target.exists():
        target.rename(old)
    hidden.rename(target)
    _remove(old)


def _bring(scene: Path, hidden: Path) -> None:
    from detection.imagery.scene.products.unpack import strip_suffix, unpack

    if scene.is_dir():
        shutil.copytree(scene, hidden)
    elif strip_suffix(scene.name) is None:
        shutil.copy2(scene, hidden)
    else:
        hidden.mkdir()
        say(f"{scene.name}: {unpack(scene, hidden)} files unpacked")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


app.command(epilog=detect.EPILOG)(detect.detect)
app.command(epilog=change.EXAMPLE)(change.compare)
app.command(epilog=surface.EXAMPLE)(surface.dod)
app.command(epilog=stack.EXAMPLE)(stack.rates)
app.command(epilog=track.EXAMPLE)(track.track)
app.command(epilog=models.EXAMPLE)(models.models)
app.command(epilog=export.EXAMPLE)(export.export)


for verb, example in (
    (train.train, "slopeward scenes train --recipe landslide4sense --data DIR --out my.safetensors"),
    (train.score, "slopeward scenes score --weights my.safetensors --data DIR --with simple --json"),
    (train.explain, "slopeward scenes explain --weights my.safetensors --data DIR --patch image_15 --out x.png"),
):
    app.command(epilog=f"Example: {example}")(verb)
app.add_typer(review.app, name="review")
