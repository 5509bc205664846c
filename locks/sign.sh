#!/usr/bin/env bash
# Writes SHA256SUMS of every file in a folder, and SHA256SUMS.sig with RELEASE_KEY=FILE, an SSH private key: locks/sign.sh dist
# Who receives it checks: sha256sum --check SHA256SUMS, and
#   ssh-keygen -Y verify -f allowed_signers -I release@slopeward -n slopeward-release -s SHA256SUMS.sig < SHA256SUMS
set -euo pipefail
cd "${1:?"which folder? locks/sign.sh dist"}"
rm -f SHA256SUMS SHA256SUMS.sig
sums=$(sha256sum ./*)
printf '%s\n' "$sums" > SHA256SUMS
if [ -n "${RELEASE_KEY:-}" ]; then
    ssh-keygen -Y sign -f "$RELEASE_KEY" -n slopeward-release SHA256SUMS
else
    echo "not signed: give RELEASE_KEY=FILE, an SSH private key" >&2
fi
