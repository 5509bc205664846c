"""What `make release` and `make audit` do, as far as it needs no network: their tools are not installed for tests."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# stands in for pip, which would build the package for a minute
PYTHON = """#!/bin/sh
[ "$1 $2" = "-m pip" ] || exit 9
touch dist/slopeward-1-py3-none-any.whl
"""
# stands in for cyclonedx-py: one part for each package of the lock that it is given
LISTER = """#!/usr/bin/env python3
import json, re, sys
given = sys.argv[1:]
parts = [{"name": n, "version": v} for n, v in re.findall(r"^([\\w.-]+)==(\\S+)", open(given[-1]).read(), re.M)]
version = given[given.index("--spec-version") + 1]
with open(given[given.index("-o") + 1], "w") as out:
    json.dump({"bomFormat": "CycloneDX", "specVersion": version, "components": parts}, out)
"""


def plan(target):
    """The commands of a target as make would give them, one a line; those that fail silently are none."""
    words = ["make", "-n", "-B", target, "RELEASE_KEY=key"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.replace("\\\n", "").splitlines()


def test_make_audit_always_runs_bandit_over_all_three_wings():
    lines = plan("audit")
    (bandit,) = [line for line in lines if "bin/bandit" in line]
    assert bandit == "build/tools/bin/bandit -q -r monitor forecasting detection -c pyproject.toml"
    assert any(line.startswith("locks/audit.sh ") for line in lines[lines.index(bandit) :]), "the network comes last"
    assert ".venv/bin/ruff check --select S monitor forecasting detection" in lines
    assert "\naudit: " in (ROOT / "Makefile").read_text()
    assert "\t-$(TOOLS)" not in (ROOT / "Makefile").read_text(), "make would go on after a weakness"


@pytest.fixture
def sources(tmp_path):
    """A commit of what a release is made of, without the packages; the key of this test signs it."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    shutil.copytree(ROOT / "locks", tmp_path / "sources/locks")
    shutil.copy(ROOT / "pyproject.toml", tmp_path / "sources")
    for name, text in (("python", PYTHON), ("lister", LISTER)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    for words in (("init", "-q"), ("add", "-A"), (*who, "commit", "-q", "-m", "x")):
        subprocess.run(["git", *words], cwd=tmp_path / "sources", check=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    return tmp_path / "sources"


def test_make_release_lists_every_locked_part_and_signs_the_hashes_of_all_files(sources):
    assert "locks/release.sh .venv/bin/python build/tools/bin/cyclonedx-py" in plan("release")
    key = sources.parent / "key"
    done = subprocess.run(
        ["bash", "locks/release.sh", str(sources.parent / "python"), str(sources.parent / "lister")],
        cwd=sources, capture_output=True, text=True, env={**os.environ, "RELEASE_KEY": str(key)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    dist = sources / "dist"
    for name, locks in (("service", ["service"]), ("models", ["models", "torch-pypi"])):
        found = json.loads((dist / f"slopeward-{name}.cdx.json").read_text())
        assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
        lines = [line for one in locks for line in (ROOT / f"locks/{one}.txt").read_text().splitlines()]
        wanted = {line.split("==")[0].lower() for line in lines if "==" in line and line[0].isalnum()}
        assert {part["name"].lower() for part in found["components"]} == wanted
    sums = {line.split("  ./")[1] for line in (dist / "SHA256SUMS").read_text().splitlines()}
    assert sums == {f.name for f in dist.iterdir()} - {"SHA256SUMS", "SHA256SUMS.sig"}
    assert len(sums) == 3
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=dist, check=True)
    (sources.parent / "signers").write_text(f"release@slopeward {key.with_suffix('.pub').read_text()}")
    words = ["ssh-keygen", "-Y", "verify", "-f", str(sources.parent / "signers"), "-I", "release@slopeward"]
    words += ["-n", "slopeward-release", "-s", str(dist / "SHA256SUMS.sig")]
    subprocess.run(words, input=(dist / "SHA256SUMS").read_bytes(), check=True, capture_output=True)
