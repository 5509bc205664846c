#!/usr/bin/env bash
# Write SHA256SUMS with the checksum of every file in a folder: locks/sign.sh dist
# With RELEASE_KEY=FILE, an SSH private key, also write the signature SHA256SUMS.sig. To check a release:
#   sha256sum --check SHA256SUMS
#   ssh-keygen -Y verify -f allowed_signers -I release@slopeward -n slopeward-release -s SHA256SUMS.sig < SHA256SUMS
set -euo pipefail
cd "${1:?"name a folder: locks/sign.sh dist"}"
rm -f SHA256SUMS SHA256SUMS.sig
sums=$(sha256sum ./*)
printf '%s\n' "$sums" > SHA256SUMS
if [ -n "${RELEASE_KEY:-}" ]; then
    ssh-keygen -Y sign -f "$RELEASE_KEY" -n slopeward-release SHA256SUMS
else
    echo "SHA256SUMS is not signed; set RELEASE_KEY=FILE, an SSH private key, to sign it" >&2
fi
