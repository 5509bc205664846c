"""`slopeward scenes`: put a scene into the inbox, detect footprints offline, train, export."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from monitor.cli.opening import ConfigOption, JsonOption, SiteOption, open_service, pick_site, print_json
from monitor.errors import SlopewardError

app = typer.Typer(help="Add scenes and detect footprints.", no_args_is_help=True)


@app.command(epilog="Example: slopeward scenes add ./scene-2026-05-12 --site north-bench")
def add(scene: Annotated[Path, typer.Argument(exists=True)], site: SiteOption, config: ConfigOption = None) -> None:
    """Copy a raster or scene folder into the inbox of a site and process it now."""
    from monitor.jobs.scenes import detect_scene

    service, db = open_service(config)
    one = pick_site(service, site)
    target = Path(service.paths.inbox) / one.id / scene.name
    if not target.exists():
        # copied under a hidden name, so that the watched folder never sees half a scene
        hidden = target.with_name(f".{target.name}.part")
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if scene.is_dir() else shutil.copy2)(scene, hidden)
        hidden.rename(target)
    said = detect_scene(db, service, one, target, datetime.now(UTC))
    print(f"{scene.name}: {said}")
    if said.startswith("failed"):
        raise typer.Exit(1)


@app.command(epilog="Example: slopeward scenes detect post.tif --model landslide4sense --out ./found --json")
def detect(
    scene: Annotated[Path, typer.Argument()],
    model: Annotated[str, typer.Option(help="Shipped weights, or a .safetensors file.")] = "generated",
    out: Annotated[Path | None, typer.Option(help="Folder for rasters, GeoJSON and preview.")] = None,
    threshold: Annotated[float | None, typer.Option(min=0.0, max=1.0)] = None,
    minimum_area_m2: Annotated[float, typer.Option("--mmu", help="Smallest footprint, true m².")] = 900.0,
    as_json: JsonOption = False,
) -> None:
    """Find footprints on one scene; needs no database and no site. Exit 4 when no pixel is valid."""
    from detection.imagery.errors import NoValidPixelsError
    from detection.imagery.lane import detect as run_detect

    payload: dict[str, Any] = {
        "scene_path": str(scene), "weights": model, "out_dir": None if out is None else str(out),
        "threshold": threshold, "minimum_area_m2": minimum_area_m2,
    }  # fmt: skip
    try:
        answer = run_detect(payload)
    except NoValidPixelsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(4) from None
    for warning in answer["warnings"]:
        typer.echo(f"warning: {warning}", err=True)
    if as_json:
        print_json(answer)
        return
    total = sum(p["area_m2"] for p in answer["polygons"])
    print(f"{len(answer['polygons'])} footprints, {total:,.0f} m², pixel {answer['pixel_area_m2']} m²")


@app.command(epilog="Example: slopeward scenes train --recipe configs/detection/generated.toml --out my.safetensors")
def train(
    recipe: Annotated[Path, typer.Option(exists=True)],
    out: Annotated[Path, typer.Option(help="The .safetensors file to write; its card lies beside it.")],
    data: Annotated[Path | None, typer.Option(help="Folder of the recipe's data.")] = None,
) -> None:
    """Train segmentation weights by a recipe; prints the card."""
    from detection.imagery.lane import train as run_train

    card = run_train({"recipe": str(recipe), "out": str(out), "data": None if data is None else str(data)})
    print(json.dumps(card, indent=2, ensure_ascii=False, default=str))


@app.command(epilog="Example: slopeward scenes export --site north-bench > footprints.geojson")
def export(site: SiteOption, config: ConfigOption = None) -> None:
    """Print all footprints of a site as GeoJSON; exit 4 when there is none."""
    from sqlalchemy import text

    _, db = open_service(config)
    with db.read() as c:
        rows = c.execute(text("SELECT * FROM scene_polygons WHERE site = :site"), {"site": site}).mappings().all()
    if not rows:
        raise typer.Exit(4)
    features = []
    for row in rows:
        facts = {k: v for k, v in row.items() if k != "geometry"}
        geometry = row["geometry"]
        if not isinstance(geometry, str):
            raise SlopewardError("scene_polygons.geometry is not text; run slopeward db verify")
        features.append({"type": "Feature", "properties": facts, "geometry": json.loads(geometry)})
    print(json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False))
