#!/usr/bin/env bash
# Gives what stands under Unreleased in CHANGELOG.md a version and the date of today, and pyproject.toml the same version.
# locks/cut.sh 1.0.0; nothing is committed. Refuses a version that is not newer, and a changelog without changes.
set -euo pipefail
new=${1:-}
cd "$(dirname "$0")/.."
fail() { echo "$*" >&2; exit 1; }
[[ $new =~ ^[0-9]+\.[0-9]+\.[0-9]+(rc[0-9]+)?$ ]] || fail "which version? make cut VERSION=1.0.0"
old=$(sed -n 's/^version = "\([0-9.rc]*\)"$/\1/p' pyproject.toml)
newest=$(printf '%s\n%s\n' "${old/rc/~rc}" "${new/rc/~rc}" | sort -V | tail -1)  # 1.0.0rc1 is before 1.0.0
if [ "$old" = "$new" ] || [ "${newest/\~/}" != "$new" ]; then fail "$new is not newer than $old"; fi
grep -q '^## \[Unreleased\]$' CHANGELOG.md || fail "CHANGELOG.md has no line ## [Unreleased]"
awk '/^## \[/ { mine = ($2 == "[Unreleased]") } mine && /^- / { found = 1 } END { exit !found }' CHANGELOG.md ||
    fail "CHANGELOG.md has no change since $old"
sed -i "s/^version = \"$old\"$/version = \"$new\"/" pyproject.toml deploy/weights/pyproject.toml packages/*/pyproject.toml
sed -i "s/\"slopeward==$old\"/\"slopeward==$new\"/" packages/*/pyproject.toml
sed -i "s/^version: \"$old\"$/version: \"$new\"/" CITATION.cff
sed -i "s/^## \[Unreleased\]$/## [Unreleased]\n\n## [$new] - ${DAY:-$(date -u +%Y-%m-%d)}/" CHANGELOG.md
echo "$old -> $new: look at it (git diff), commit, tag v$new, then make release"
