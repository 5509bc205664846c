"""Offline parts of `make release` and `make audit`, whose tools are not installed for tests."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from monitor.features.movement.simulated_record import RECORD_PATHS
from monitor.features.scenes.cli.models import RESULT_FOLDERS

ROOT = Path(__file__).parents[2]
CARDS = [
    card.with_suffix(".json").relative_to(ROOT)
    for place in ("detection/imagery/weights", "forecasting/weights")
    for card in (ROOT / place).rglob("*.safetensors")
]
APART = r"(detection/imagery/weights/measured|forecasting/weights)/"
WEIGHTS = {card.stem for card in CARDS}
# Replaces hatchling and pip, which would build for a minute, and the count of translations.
PYTHON = """#!/bin/sh
case "$1 $2" in
"-m tests.translation_coverage") [ "$3" = --urgent ] ;;
"-m hatchling") mkdir x && tar -czf dist/slopeward-1.tar.gz x ;;
"-m pip")
    for place; do unpacked=$last; last=$place; done
    [ -d "$unpacked" ] && touch dist/slopeward-1-py3-none-any.whl ;;
"- "*) exec python3 "$@" ;;
*) exit 9 ;;
esac
"""
# Replaces cyclonedx-py: one component for each package of the given lock.
LISTER = """#!/usr/bin/env python3
import json, re, sys
given = sys.argv[1:]
parts = [{"name": n, "version": v} for n, v in re.findall(r"^([\\w.-]+)==(\\S+)", open(given[-1]).read(), re.M)]
version = given[given.index("--spec-version") + 1]
with open(given[given.index("-o") + 1], "w") as out:
    json.dump({"bomFormat": "CycloneDX", "specVersion": version, "components": parts}, out)
"""


def plan(target):
    """Return the commands that make would run for a target, without those whose failures are ignored."""
    words = ["make", "-n", "-B", target, "RELEASE_KEY=key"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.replace("\\\n", "").splitlines()


def test_make_audit_runs_bandit_on_all_packages():
    lines = plan("audit")
    (bandit,) = [line for line in lines if "bin/bandit" in line]
    assert (
        bandit == "build/tools/bin/bandit -q -r monitor forecasting detection packages/*/slopeward_* -c pyproject.toml"
    )
    assert any(line.startswith("locks/audit.sh ") for line in lines[lines.index(bandit) :]), "the network comes last"
    assert ".venv/bin/ruff check --select S monitor forecasting detection packages/*/slopeward_*" in lines
    assert "\naudit: " in (ROOT / "Makefile").read_text()
    assert "\t-$(TOOLS)" not in (ROOT / "Makefile").read_text(), "make would go on after a weakness"


@pytest.fixture
def sources(tmp_path):
    """Create a repository with the sources of a release, without the packages, signed with a key of this test."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    shutil.copytree(ROOT / "locks", tmp_path / "sources/locks")
    for name in ("pyproject.toml", "NOTICE"):
        shutil.copy(ROOT / name, tmp_path / "sources")
    for path in CARDS:
        (tmp_path / "sources" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / "sources" / path)
    for name, text in (("python", PYTHON), ("lister", LISTER)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    for words in (("init", "-q"), ("add", "-A"), (*who, "commit", "-q", "-m", "x")):
        subprocess.run(["git", *words], cwd=tmp_path / "sources", check=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    return tmp_path / "sources"


def test_release_lists_all_locked_packages_and_signs_the_hashes_of_all_files(sources):
    assert "locks/release.sh .venv/bin/python build/tools/bin/cyclonedx-py" in plan("release")
    key = sources.parent / "key"
    done = subprocess.run(
        ["bash", "locks/release.sh", str(sources.parent / "python"), str(sources.parent / "lister")],
        cwd=sources,
        capture_output=True,
        text=True,
        env={**os.environ, "RELEASE_KEY": str(key)},
    )
    assert done.returncode == 0, done.stderr
    dist = sources / "dist"
    for name, locks in (("core", ["core"]), ("models", ["core", "models", "torch-pypi"])):
        found = json.loads((dist / f"slopeward-{name}.cdx.json").read_text())
        assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
        lines = [line for one in locks for line in (ROOT / f"locks/{one}.txt").read_text().splitlines()]
        wanted = {line.split("==")[0].lower() for line in lines if "==" in line and line[0].isalnum()}
        parts = {part["name"].lower(): part for part in found["components"]}
        assert parts.keys() == wanted | {"maplibre gl js", "pmtiles", "uplot"} | WEIGHTS
        assert parts["maplibre gl js"]["version"] in (ROOT / "monitor/web/vendor/maplibre-gl.mjs").read_text()
        assert parts["uplot"]["licenses"] == [{"license": {"id": "MIT"}}]
        assert "not seen" in parts["bijie"]["licenses"][0]["license"]["name"]
    sums = {line.split("  ./")[1] for line in (dist / "SHA256SUMS").read_text().splitlines()}
    assert sums == {f.name for f in dist.iterdir()} - {"SHA256SUMS", "SHA256SUMS.sig"}
    assert len(sums) == 4, sums
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=dist, check=True)
    (sources.parent / "signers").write_text(f"release@slopeward {key.with_suffix('.pub').read_text()}")
    words = ["ssh-keygen", "-Y", "verify", "-f", str(sources.parent / "signers"), "-I", "release@slopeward"]
    words += ["-n", "slopeward-release", "-s", str(dist / "SHA256SUMS.sig")]
    subprocess.run(words, input=(dist / "SHA256SUMS").read_bytes(), check=True, capture_output=True)


def test_source_archive_contains_all_files_of_the_package_and_no_others():
    from hatchling.builders.sdist import SdistBuilder

    # only the list of files, since packing takes seconds
    names = {file.distribution_path for file in SdistBuilder(str(ROOT)).recurse_included_files()}
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    for folder in (*targets["packages"], *targets["force-include"]):
        tracked = subprocess.run(["git", "ls-files", folder], cwd=ROOT, capture_output=True, text=True, check=True)
        excluded = {path for path in tracked.stdout.split("\n") if re.match(APART, path)}
        assert set(tracked.stdout.split("\n")) - {""} - excluded <= names, folder
        assert not excluded & names, folder
    required = {"LICENSE", "NOTICE", "CITATION.cff", "README.md", "CHANGELOG.md", "deploy/install.sh", "locks/core.txt"}
    assert required <= names
    assert not [n for n in names if re.search(r"__pycache__|_cache/|\.venv|\.db$|^var/|^build/|\.env$", n)]


def test_release_sets_version_and_date_once(tmp_path):
    for name in (
        "pyproject.toml",
        "deploy/weights/pyproject.toml",
        "packages/earth/pyproject.toml",
        "packages/lab/pyproject.toml",
        "CITATION.cff",
        "CHANGELOG.md",
        "locks/cut.sh",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)

    def cut(*version):
        done = subprocess.run(
            [tmp_path / "locks/cut.sh", *version],
            capture_output=True,
            text=True,
            env={**os.environ, "DAY": "2026-12-01"},
        )
        return done.returncode, done.stdout + done.stderr

    assert "give a version" in cut()[1]
    assert "not newer" in cut("0.1.9")[1]
    before = (tmp_path / "CHANGELOG.md").read_text()
    assert cut("99.0.0rc1")[0] == 0
    assert "not newer" in cut("99.0.0rc1")[1]
    (tmp_path / "CHANGELOG.md").write_text(before)
    assert cut("99.0.0")[0] == 0
    for name in (
        "pyproject.toml",
        "deploy/weights/pyproject.toml",
        "packages/earth/pyproject.toml",
        "packages/lab/pyproject.toml",
    ):
        assert 'version = "99.0.0"' in (tmp_path / name).read_text()
    for name in ("earth", "lab"):
        assert '"slopeward==99.0.0"' in (tmp_path / f"packages/{name}/pyproject.toml").read_text()
    assert 'version: "99.0.0"' in (tmp_path / "CITATION.cff").read_text()
    after = (tmp_path / "CHANGELOG.md").read_text()
    assert after == before.replace("## [Unreleased]\n", "## [Unreleased]\n\n## [99.0.0] - 2026-12-01\n", 1)
    assert "not newer" in cut("99.0.0")[1]
    assert "no change since" in cut("99.0.1")[1]


def test_package_contains_no_file_of_unknown_licence():
    """The package contains our texts, scripts named in NOTICE, and weights trained on licensed data."""
    from hatchling.builders.wheel import WheelBuilder

    names = {file.distribution_path: Path(file.path) for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    notice = (ROOT / "NOTICE").read_text()
    screenshots = "".join(path.read_text() for path in (ROOT / "docs/pictures").glob("*.py"))
    assert {"slopeward.py", "monitor/py.typed", "monitor/cli/main.py"} <= names.keys()
    ours = {f".{kind}" for kind in "py html css js svg po md toml json typed txt mako png sql".split()}
    for name, path in names.items():
        if "/vendor/" in name:
            assert path.name.startswith("LICENSE-") or path.name.split(".")[0].split("-")[0] in {
                "maplibre",
                "pmtiles",
                "uplot",
            }
        elif path.suffix == ".safetensors":
            licence = json.loads(path.with_suffix(".json").read_text())["data"]["licence"]
            assert licence.startswith("Apache-2.0"), name
        elif "/images/" in name and path.suffix != ".svg":
            assert f'"{path.stem}"' in screenshots or path.name in notice, name
        else:
            assert path.suffix in ours, name
    shipped = {path.stem for path in names.values() if path.suffix == ".safetensors"}
    apart = tomllib.loads((ROOT / "deploy/weights/pyproject.toml").read_text())
    places = apart["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    handed = {file.stem for place in places for file in (ROOT / "deploy/weights" / place).glob("*.safetensors")}
    assert not shipped & handed
    assert shipped | handed == WEIGHTS
    assert all(f"`{one}`" in (ROOT / "deploy/weights/README.md").read_text() for one in handed)
    assert apart["project"]["version"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_wheel_contains_exactly_the_benchmark_results_that_are_read():
    source = (ROOT / "monitor/features/scenes/cli/models.py").read_text()
    names = set(re.findall(r'_benchmark\("([\w-]+)"\)', source))
    names |= set(re.findall(r'"([\w-]+)"', re.search(r"^RECORDS = \((.*)\)$", source, re.MULTILINE)[1]))
    included = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"][
        "force-include"
    ]
    in_checkout, installed = RESULT_FOLDERS
    expected = {
        f"{in_checkout.relative_to(ROOT)}/{name}.json": f"monitor/{installed.name}/{name}.json" for name in names
    }
    # The page of movement reads the record of failure windows.
    record, installed_record = RECORD_PATHS
    expected[str(record.relative_to(ROOT))] = f"monitor/{installed_record.relative_to(installed.parent)}"
    assert {path: target for path, target in included.items() if "benchmarks" in path} == expected
    assert installed == ROOT / "monitor" / installed.name
