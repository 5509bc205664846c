#!/usr/bin/env bash
# Installs, upgrades or removes Slopeward as a systemd service on Debian and its relatives. Run it again: nothing changes.
#   sudo deploy/install.sh install [service|models]   from this folder of sources; service: without networks (default)
#   sudo deploy/install.sh upgrade [service|models]   a copy of the database first, then the same, then the schema
#   sudo deploy/install.sh uninstall [--purge]        --purge takes configuration and data away as well, without asking
# DESTDIR=FOLDER puts all below a folder and starts nothing, for packages and tests. PREFIX is /opt/slopeward.
set -euo pipefail
what=${1:-help}
root=${DESTDIR:-}
prefix=${PREFIX:-/opt/slopeward}
sources=$(cd "$(dirname "$0")/.." && pwd)
etc=$root/etc/slopeward
unit=$root/etc/systemd/system/slopeward.service
state=$root/var/lib/slopeward
python=$root$prefix/.venv/bin/python

say() { echo "slopeward: $*" >&2; }
fail() { say "$*"; exit 1; }
is_live() { [ -z "$root" ] && command -v systemctl >/dev/null && [ -d /run/systemd/system ]; }
system() { if is_live; then systemctl "$@"; else say "not run here: systemctl $*"; fi; }
need_root() { [ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "run it as root: sudo $0 $what"; }

# a file of ours, written whole; one that is the same stays as it is
put() {  # SOURCE TARGET MODE
    if ! cmp -s "$1" "$2"; then
        install -D -m "$3" "$1" "$2.new" && mv "$2.new" "$2"
        say "wrote $2"
    fi
}

put_program() {  # the environment beside the old one; it takes its place when it is whole
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or newer is needed"
    mkdir -p "$root$prefix"
    if [ ! -x "$python" ]; then
        python3 -m venv "$root$prefix/.venv" || fail "python3-venv is needed: apt-get install python3-venv"
    fi
    "${INSTALLER:-$sources/locks/install.sh}" "$python" "$1" || fail "the packages could not be installed; what runs goes on"
}

put_files() {
    install -d -m 755 "$etc" "$etc/sites"
    if [ ! -e "$etc/slopeward.toml" ]; then
        sed -e 's#^sites = .*#sites = "/etc/slopeward/sites"#' "$sources/configs/slopeward.toml" > "$etc/slopeward.toml.new"
        chmod 644 "$etc/slopeward.toml.new" && mv "$etc/slopeward.toml.new" "$etc/slopeward.toml"
        say "wrote $etc/slopeward.toml: look at it"
    fi
    if [ ! -e "$etc/secrets.env" ]; then
        install -m 600 /dev/null "$etc/secrets.env"
        say "made $etc/secrets.env: passwords go there, as SLOPEWARD_SMTP__PASSWORD=..."
    fi
    made=$(mktemp)
    sed -e "s#/opt/slopeward#$prefix#g" "$sources/deploy/slopeward.service" > "$made"
    put "$made" "$unit" 644
    rm -f "$made"
    install -d -m 755 "$root/usr/local/bin"
    ln -sfn "$prefix/.venv/bin/slopeward" "$root/usr/local/bin/slopeward"
}

call() {  # a verb, as the user of the service, in its folder
    local program=$root$prefix/.venv/bin/slopeward
    if is_live; then
        systemd-run --quiet --wait --pipe -p DynamicUser=yes -p User=slopeward -p StateDirectory=slopeward \
            -p WorkingDirectory=/var/lib/slopeward -p EnvironmentFile=-/etc/slopeward/secrets.env \
            "$program" "$@" --config "$etc/slopeward.toml"
    else
        (cd "$state" && "$program" "$@" --config "$etc/slopeward.toml")
    fi
}

case "$what" in
install)
    need_root
    if is_live; then
        command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ] || say "apt-get install mosquitto: without it the broker forgets at a restart"
        ldconfig -p | grep -q libpangoft2 || say "apt-get install libpango-1.0-0 libpangoft2-1.0-0: without them reports are HTML"
        # its own one would take the port; ours has durable settings
        if systemctl is-enabled --quiet mosquitto 2>/dev/null; then systemctl disable --now mosquitto; fi
    fi
    put_program "${2:-service}"
    put_files
    system daemon-reload
    system enable slopeward
    if ls "$etc"/sites/*.toml >/dev/null 2>&1; then
        system restart slopeward
    else
        say "write a site file, then start: slopeward sites init NAME --out /etc/slopeward/sites/NAME.toml; systemctl start slopeward"
    fi
    ;;
upgrade)
    need_root
    [ -x "$python" ] || fail "nothing is installed below $root$prefix; run: $0 install"
    if [ -d "$state" ]; then
        call db backup || fail "no copy of the database could be made; nothing was changed"
    fi
    system stop slopeward
    put_program "${2:-service}"
    put_files
    system daemon-reload
    system start slopeward # the service brings the schema up to date at its start
    if [ -d "$state" ] && ! is_live; then call db upgrade; fi
    ;;
uninstall)
    need_root
    system disable --now slopeward
    rm -f "$unit" "$root/usr/local/bin/slopeward"
    rm -rf "$root$prefix/.venv"
    system daemon-reload
    if [ "${2:-}" = --purge ]; then
        rm -rf "$etc" "$state" "$root/var/lib/private/slopeward"
        say "configuration and data are gone"
    else
        say "configuration ($etc) and data ($state) stay; --purge takes them away"
    fi
    ;;
*)
    sed -n '2,6s/^# \{0,1\}//p' "$0"
    [ "$what" = help ] || [ "$what" = --help ] || exit 2
    ;;
esac
