#!/usr/bin/env bash
# Turn the unreleased changes of CHANGELOG.md into a release: locks/cut.sh 1.0.0
# Sets the version and the date of today in CHANGELOG.md, and the version in every pyproject.toml and CITATION.cff.
# Commits nothing. Fails if the version is not newer, or if CHANGELOG.md contains no unreleased change.
set -euo pipefail
new=${1:-}
cd "$(dirname "$0")/.."
fail() { echo "$*" >&2; exit 1; }
[[ $new =~ ^[0-9]+\.[0-9]+\.[0-9]+(rc[0-9]+)?$ ]] || fail "give a version: make cut VERSION=1.0.0"
old=$(sed -n 's/^version = "\([0-9.rc]*\)"$/\1/p' pyproject.toml)
# `sort -V` sorts 1.0.0~rc1 before 1.0.0.
newest=$(printf '%s\n%s\n' "${old/rc/~rc}" "${new/rc/~rc}" | sort -V | tail -1)
if [ "$old" = "$new" ] || [ "${newest/\~/}" != "$new" ]; then fail "$new is not newer than $old"; fi
grep -q '^## \[Unreleased\]$' CHANGELOG.md || fail "CHANGELOG.md has no line ## [Unreleased]"
awk '/^## \[/ { unreleased = ($2 == "[Unreleased]") } unreleased && /^- / { found = 1 } END { exit !found }' CHANGELOG.md ||
    fail "CHANGELOG.md has no change since $old"
sed -i "s/^version = \"$old\"$/version = \"$new\"/" pyproject.toml deploy/weights/pyproject.toml packages/*/pyproject.toml
sed -i "s/\"slopeward==$old\"/\"slopeward==$new\"/" packages/*/pyproject.toml
sed -i "s/^version: \"$old\"$/version: \"$new\"/" CITATION.cff
sed -i "s/^## \[Unreleased\]$/## [Unreleased]\n\n## [$new] - ${DAY:-$(date -u +%Y-%m-%d)}/" CHANGELOG.md
echo "$old -> $new: check the changes (git diff), commit them, add the tag v$new, then run: make release"
