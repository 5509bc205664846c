#!/usr/bin/env bash
# Installs the servers that tests start (Mosquitto, PostgreSQL, Chromium, sshd, gammu-smsd, pdftotext; MariaDB for tests marked soak, if it is named), only what is missing, from Debian packages;
# with names as arguments only those. Ends with 1 where a program is not found after it was installed. Without root or sudo it says what to
# install and goes on: on a laptop those tests are skipped, with CI set they fail; a demonstration takes a broker that forgets.
set -euo pipefail

wanted=("$@")
[ ${#wanted[@]} -gt 0 ] || wanted=(mosquitto postgresql chromium openssh-server gammu-smsd poppler-utils)
has_mosquitto() { command -v mosquitto || [ -x /usr/sbin/mosquitto ]; }
has_postgresql() { compgen -G '/usr/lib/postgresql/*/bin/initdb'; }
has_openssh-server() { [ -x /usr/sbin/sshd ]; }
has_mariadb-server() { [ -x /usr/sbin/mariadbd ]; }
has_gammu-smsd() { command -v gammu-smsd; }
has_poppler-utils() { command -v pdftotext; }
has_chromium() { command -v chromium || command -v google-chrome; }
packages=()
for name in "${wanted[@]}"; do
    "has_$name" >/dev/null 2>&1 || packages+=("$name")
done
[ ${#packages[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "not installed: ${packages[*]} (install them with your package manager; tests that need them are skipped)" >&2
    exit 0
fi
if [ "$(id -u)" -eq 0 ]; then
    as_root=()
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root=(sudo -n)
else
    echo "not installed: ${packages[*]} (run: sudo apt-get install ${packages[*]}; tests that need them are skipped)" >&2
    exit 0
fi
echo "installing ${packages[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
# the packages are for tests: no server of theirs shall run on this machine
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod +x "$policy"
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi
"${as_root[@]}" apt-get update -qq
# --reinstall: a package that is there without its program would else be left as it is
"${as_root[@]}" apt-get install -y -qq --no-install-recommends --reinstall "${packages[@]}" >/dev/null
for name in "${packages[@]}"; do
    "has_$name" >/dev/null 2>&1 || { echo "$name was installed and its program is still not found" >&2; exit 1; }
done
