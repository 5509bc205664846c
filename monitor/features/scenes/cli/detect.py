"""`slopeward scenes detect`: footprints of scenes offline, without database and site."""

import shutil
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from detection.imagery.footprints.records import INDEX, DetectionPlan, SceneDetection
from monitor.api.cli import (
    EXIT_NOTHING,
    EXIT_PARTLY,
    make_progress_printer,
    print_note,
    print_result_in_order,
    use_local_grid_file,
)
from monitor.api.errors import RefusedError
from monitor.api.extras import describe_package
from monitor.api.plugins import hooks, implementations
from monitor.api.sites import Site
from monitor.api.text import convert_reason, describe_error
from monitor.features.scenes.cli.arguments import FootprintArea, Weights, unpacked
from monitor.features.scenes.cli.earlier import (
    check_order,
    check_past,
    compare_with,
    detect_before,
    list_dates,
    not_alone,
)
from monitor.features.scenes.elsewhere import describe_not_detected, find_area, find_elsewhere
from monitor.features.scenes.remarks import explain_unread, find_coarser, result_to_json

if TYPE_CHECKING:
    from detection.imagery.footprints.coco import CocoInstances
    from detection.imagery.footprints.options import DetectionOptions
    from detection.reasons import Explanation

EPILOG = "Example: slopeward scenes detect post.tif --model landslide4sense --dem dem.tif --out ./found --json"
# Options of the command that become options of the detection without conversion.
PASSED_OPTIONS: Final = (
    *(
        "quality",
        "threshold",
        "minimum_area_m2",
        "slope_gate_deg",
        "tile",
        "halo",
        "scale",
        "force",
        "partial",
        "strict",
    ),
    *("prior", "aoi", "resample_to_m", "offset", "allow_ungeoreferenced", "max_pixels", "max_bands"),
)
INPUT, OUTPUT, STRICTNESS = "Input", "Output", "Strictness"


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectArguments:
    """What `slopeward scenes detect` takes."""

    scenes: Annotated[
        list[Path],
        typer.Argument(
            metavar="SCENE...",
            help="Rasters with named bands, folders with scene.toml, satellite products, or archives.",
        ),
    ]
    model: Weights = "auto"
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results, with one subfolder per scene if there are several.")
    ] = None
    quality: Annotated[
        Literal["standard", "best"],
        typer.Option(help="best: mean over eight flips and rotations, which takes eight times as long."),
    ] = "standard"
    threshold: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Lowest probability of a landslide pixel. Default: that of the model."),
    ] = None
    minimum_area_m2: FootprintArea = None
    slope_gate_deg: Annotated[
        float | None,
        typer.Option(
            "--slope-gate", min=0.0, max=90.0, help="Ignore ground flatter than this angle in degrees; needs --dem."
        ),
    ] = None
    tile: Annotated[int | None, typer.Option(min=1, max=100_000, help="Side of the tiles in pixels.")] = None
    halo: Annotated[
        int | None,
        typer.Option(min=0, max=100_000, help="Pixels read around each tile. Default: as many as the network needs."),
    ] = None
    pre: Annotated[
        Path | None,
        typer.Option(
            help="Earlier scene: each footprint is then new, grown, known or vanished.", rich_help_panel=INPUT
        ),
    ] = None
    dem: Annotated[
        Path | None,
        typer.Option(
            help="Elevation model in metres on any grid, or a folder of its tiles. Some weights also use the slope.",
            rich_help_panel=INPUT,
        ),
    ] = None
    prior: Annotated[Path | None, typer.Option(help="Susceptibility raster, 0 to 1.", rich_help_panel=INPUT)] = None
    aoi: Annotated[
        Path | None, typer.Option(help="Area of interest: raster, or polygons of a vector file.", rich_help_panel=INPUT)
    ] = None
    site_file: Annotated[
        Path | None,
        typer.Option(
            help="Site file: its area, which the scene must show, and its local coordinate system, [crs] local.",
            rich_help_panel=INPUT,
        ),
    ] = None
    anyway: Annotated[
        bool,
        typer.Option(
            "--anyway",
            help="Use the scene even if it is outside the area of the site of --site-file.",
            rich_help_panel=STRICTNESS,
        ),
    ] = False
    scale: Annotated[
        float | None,
        typer.Option(
            min=-1e9, max=1e9, help="Factor that converts counts to the values of the model.", rich_help_panel=INPUT
        ),
    ] = None
    offset: Annotated[
        float | None,
        typer.Option(
            min=-1e9,
            max=1e9,
            help="Number added to the counts before scaling, such as -1000 for Sentinel-2.",
            rich_help_panel=INPUT,
        ),
    ] = None
    resample_to_m: Annotated[
        float | None,
        typer.Option(
            "--resample-to",
            min=0.01,
            max=1e5,
            help="Resample the scene to pixels of this size in metres.",
            rich_help_panel=INPUT,
        ),
    ] = None
    formats: Annotated[
        str, typer.Option("--format", help="Vector files to write: gpkg, geojson.", rich_help_panel=OUTPUT)
    ] = "gpkg,geojson"
    coco: Annotated[
        Path | None,
        typer.Option(help="COCO file for the footprints of all scenes, in pixels.", rich_help_panel=OUTPUT),
    ] = None
    cracks: Annotated[
        bool,
        typer.Option(
            "--cracks", help="Also detect cracks, as lines with length, width and azimuth.", rich_help_panel=OUTPUT
        ),
    ] = False
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print grid, tiles, time and memory that are needed; write nothing.")
    ] = False
    force: Annotated[bool, typer.Option("--force", help="Detect again even if the same result exists.")] = False
    partial: Annotated[
        bool, typer.Option("--partial", help="Continue if a block cannot be read; exit 3.", rich_help_panel=STRICTNESS)
    ] = False
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Refuse scenes whose band descriptions contradict each other.", rich_help_panel=STRICTNESS
        ),
    ] = False
    allow_ungeoreferenced: Annotated[
        bool,
        typer.Option(
            "--allow-ungeoreferenced",
            help="Accept scenes without coordinates; sizes are then in pixels.",
            rich_help_panel=STRICTNESS,
        ),
    ] = False
    max_pixels: Annotated[
        int | None,
        typer.Option(
            min=1, max=10**12, help="Largest number of pixels of a raster. Default: 4e9.", rich_help_panel=STRICTNESS
        ),
    ] = None
    max_bands: Annotated[
        int | None,
        typer.Option(min=1, max=65_535, help="Largest number of bands. Default: 256.", rich_help_panel=STRICTNESS),
    ] = None


def detect(given: DetectArguments) -> None:
    """Detect landslides on scenes, without a database and a site.

    Exit 0 done, 1 bad input, 2 wrong usage, 3 part of a scene could not be read (--partial), 4 no valid pixel on the
    scene or on that of --pre, or no network fits and --pre is not given.
    """
    if given.pre is not None and (len(given.scenes) > 1 or given.out is None):
        raise typer.BadParameter("--pre goes with one scene and --out")
    if given.cracks and given.out is None:
        raise typer.BadParameter("--cracks needs --out")
    if given.cracks and not implementations("write_scene_cracks"):
        raise RefusedError(describe_package("slopeward_lab", "`slopeward scenes detect --cracks`"))
    instances = None
    if given.coco is not None and not given.dry_run:
        from detection.imagery.footprints.coco import CocoInstances

        if not given.coco.parent.is_dir():
            raise typer.BadParameter(f"--coco: no such folder: {given.coco.parent}")
        instances = CocoInstances()
    option_values: dict[str, Any] = {
        **{name: value for name in PASSED_OPTIONS if (value := getattr(given, name)) is not None},
        "weights": given.model,
        "formats": [name.strip() for name in given.formats.split(",")],
    }
    codes = []
    with (
        use_local_grid_file(given.site_file, is_required=False) as site,
        TemporaryDirectory(prefix="slopeward-detect-") as work,
    ):
        for number, scene in enumerate(given.scenes):
            folder = None if given.out is None else given.out / scene.name if len(given.scenes) > 1 else given.out
            arguments = _SceneArguments(
                scene,
                given.pre,
                given.dem,
                Path(work) / str(number),
                cracks=given.cracks,
                site=None if given.anyway else site,
            )
            run = partial(_run, option_values | {"out_dir": folder}, arguments, instances, dry_run=given.dry_run)
            codes.append(_guard(arguments, run))
    if instances is not None and given.coco is not None and instances.images:
        instances.write(given.coco)
        print_note(f"{given.coco}: {len(instances.annotations)} instances on {len(instances.images)} images")
    if 1 in codes:
        raise typer.Exit(1)
    if EXIT_PARTLY in codes:
        raise typer.Exit(EXIT_PARTLY)
    if set(codes) == {EXIT_NOTHING}:
        raise typer.Exit(EXIT_NOTHING)


@dataclass(frozen=True, slots=True)
class _SceneArguments:
    """Arguments of the command for one scene, and a temporary folder."""

    scene: Path
    pre: Path | None
    dem: Path | None
    work: Path
    cracks: bool  # whether cracks are requested
    site: Site | None  # a scene outside of its area is refused

    def format_text(self, text: str) -> str:
        """Return a text without the path of the temporary folder, and with the name of the scene."""
        text = text.replace(f"{self.work}/", "")
        return text if str(self.scene) in text else f"{self.scene}: {text}"


def _run(
    option_values: dict[str, Any], arguments: _SceneArguments, instances: "CocoInstances | None", *, dry_run: bool
) -> int:
    """Read one scene of the command line, unpacking archives. Return the exit status."""
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, arguments.work, ignore_errors=True)  # so that the disk holds one scene at a time
        scene = stack.enter_context(unpacked(arguments.scene, arguments.work / "scene"))
        pre = stack.enter_context(unpacked(arguments.pre, arguments.work / "pre")) if arguments.pre else None
        if instances is not None and option_values["out_dir"] is None:
            # COCO needs the grid of the pixels, which is read from a file of the result.
            option_values |= {"out_dir": arguments.work / "found"}
        return _detect_one(option_values, arguments, (scene, pre), instances, dry_run=dry_run)


def _make_options(
    option_values: dict[str, Any], scene: Path, arguments: _SceneArguments, part: str
) -> "DetectionOptions":
    from detection.imagery.footprints.options import DetectionOptions
    from detection.imagery.scene.heights import gather_heights

    options = DetectionOptions(scene, dem=arguments.dem, describe=convert_reason, **option_values)
    if arguments.dem is None or not arguments.dem.is_dir():
        return options
    heights = gather_heights(arguments.dem, scene, arguments.work / part)
    for note in heights.notes:
        print_note(f"warning: {arguments.format_text(note)}")
    print_note(f"{scene.name}: heights from {len(heights.tiles)} tiles of {arguments.dem}")
    return replace(options, dem=heights.path, dem_tiles=heights.tiles)


def _detect_one(
    option_values: dict[str, Any],
    arguments: _SceneArguments,
    dates: tuple[Path, Path | None],
    instances: "CocoInstances | None",
    *,
    dry_run: bool,
) -> int:
    """Read one unpacked scene and, if there is one, the scene before. Print the result and return the exit status.

    Args:
        dates: paths of the scene and of the scene before.
    """
    from detection.imagery.footprints.detect import detect as run_detect
    from detection.imagery.footprints.detect import survey

    scene, pre = dates
    check_past([scene] if pre is None else [scene, pre], datetime.now(UTC))
    _check_area(scene, arguments.site)
    since, compared = "", None
    options = _make_options(option_values, scene, arguments, "heights")
    if dry_run:
        plan: DetectionPlan = {**survey(options), "scene": str(arguments.scene)}
        _warn(plan["warnings"], arguments)
        print_result_in_order(result_to_json(plan), _format_plan(plan))
        return 0
    if pre is None:
        answer = run_detect(options, make_progress_printer())
        codes = [EXIT_NOTHING] if answer["model"] == INDEX else []
        _warn(answer["warnings"], arguments)
    else:
        check_order(scene, pre)
        before = _make_options(option_values, pre, arguments, "heights-before")
        earlier = detect_before(before, make_progress_printer())
        answer = run_detect(options, make_progress_printer())
        _warn(not_alone(answer["warnings"]), arguments)
        answer["change"] = None
        if earlier is not None:
            is_same = earlier["model_hash"] == answer["model_hash"]
            compared = list_dates(answer, earlier, options, before) if is_same else None
            answer, answer["change"], since = compare_with(answer, earlier, options, before)
        codes = [EXIT_NOTHING] if earlier is None else [EXIT_PARTLY] if earlier["unreadable_share"] else []
    if instances is not None:
        from detection.imagery.footprints.coco import read_own_grid

        instances.add(str(arguments.scene), answer, read_own_grid(scene, answer))
        if arguments.work in option_values["out_dir"].parents:
            answer["outputs"] = {}
    facts = dict[str, object]()
    lines = _format_answer(answer, since)
    if arguments.cracks:
        cracks = hooks().write_scene_cracks(detection=answer, folder=option_values["out_dir"], dates=compared)
        facts = dict(cracks.facts)
        lines = f"{lines}\n{cracks.line}"
    print_result_in_order({"scene": str(arguments.scene), **result_to_json(answer), **facts}, lines)
    return max([*codes, EXIT_PARTLY if answer["unreadable_share"] else 0])


def _check_area(scene: Path, site: Site | None) -> None:
    """Raise RefusedError if a scene lies outside the area of a site. Without a site do nothing."""
    from detection.imagery.scene.scene import read_scene

    if site is None:
        return
    elsewhere = find_elsewhere(read_scene(scene), find_area(site))
    if elsewhere is not None:
        raise RefusedError(describe_not_detected(site.id, elsewhere.distance_m))


def _guard(arguments: _SceneArguments, work: Callable[[], int]) -> int:
    """Read a scene. On an error print one line and return the exit status, so that the next scenes are still read."""
    from detection.imagery.errors import ImageryError, NoValidPixelsError

    try:
        return work()
    except NoValidPixelsError as error:
        return _refuse(arguments, describe_error(error), EXIT_NOTHING)
    except (ImageryError, RefusedError) as error:
        return _refuse(arguments, describe_error(error), 1)
    except (OSError, ArithmeticError, LookupError, RuntimeError, MemoryError) as error:
        # An error in the program or of the machine must not prevent the next scenes from being read.
        why = f"{arguments.scene}: internal error: {type(error).__name__}: {' '.join(str(error).split())}"
        return _refuse(arguments, why, 1)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _refuse(arguments: _SceneArguments, why: str, code: int) -> int:
    print_note(arguments.format_text(why))
    return code


def _warn(warnings: "Iterable[Explanation]", arguments: _SceneArguments) -> None:
    for warning in warnings:
        print_note(f"warning: {arguments.format_text(convert_reason(warning))}")


def _format_answer(answer: SceneDetection, since: str) -> str:
    warnings = [convert_reason(warning) for warning in answer["warnings"]]
    lines = [
        f"{answer['width']} x {answer['height']} px, {answer['crs']}, {answer['valid_share']:.1%} valid, "
        + ("read by no network" if answer["model"] == INDEX else f"read by {answer['model']}")
        + (f", {coarser}" if (coarser := find_coarser(warnings)) else "")
    ]
    found = answer["polygons"]
    for kind in answer["classes"]:
        own = [footprint for footprint in found if footprint["class"] == kind]
        if not own and answer["model"] == INDEX:
            lines.append(f"no footprints ({kind}): {explain_unread(warnings)}")
        elif answer["pixel_area_m2"] is None:
            lines.append(f"{len(own)} footprints ({kind}); no area without a place on the ground")
        else:
            total = sum(footprint["area_m2"] or 0.0 for footprint in own)
            lines.append(f"{len(own)} footprints ({kind}), {total:,.0f} m², pixel {answer['pixel_area_m2']} m²")
    if since:
        lines.append(f"since the scene before: {since}")
    return "\n".join(lines)


def _format_plan(plan: DetectionPlan) -> str:
    tiles = f"{plan['tiles']} tiles of {plan['tile']} px"
    read = {
        "rows": f"in rows of at most {plan['tile']} px",
        "crop": f"{tiles}, halo {plan['halo']} px",
        "hann": f"{tiles}, blended half over each other",
    }
    area = "no area" if plan["pixel_area_m2"] is None else f"pixel {plan['pixel_area_m2']} m²"
    bands = [*plan["bands"], *plan["optional_bands"]]
    return (
        f"{plan['scene']}: {plan['width']} x {plan['height']} px, {plan['crs']}, {area}\n"
        f"read by {plan['model']}; bands {', '.join(bands)}; {read[plan['blend']]}\n"
        f"about {plan['estimated_cpu_s']:.0f} s of one processor and {plan['estimated_memory_mib']} MiB"
    )
