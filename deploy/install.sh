#!/usr/bin/env bash
# Installs, upgrades or removes Slopeward as a systemd service on Debian and its relatives. Run it again: nothing changes.
#   sudo deploy/install.sh install [EXTRA...]   from this folder of sources; default: cap postgresql reports, without networks
#   sudo deploy/install.sh upgrade [EXTRA...]   a copy of the database first, then the same, then the schema
#   sudo deploy/install.sh uninstall [--purge]        --purge takes configuration and data away as well, without asking
# DESTDIR=FOLDER puts all below a folder and starts nothing, for packages and tests. PREFIX is /opt/slopeward.
set -euo pipefail
what=${1:-help}
extras=("${@:2}")
[ "${#extras[@]}" -gt 0 ] || extras=(cap postgresql reports)  # small, and missed on the night when they are needed
root=${DESTDIR:-}
prefix=${PREFIX:-/opt/slopeward}
sources=$(cd "$(dirname "$0")/.." && pwd)
etc=$root/etc/slopeward
unit=$root/etc/systemd/system/slopeward.service
state=$root/var/lib/slopeward
venv=$root$prefix/.venv
python=$venv/bin/python

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

# the environment beside the one that runs, a copy of it with what is new; on failure nothing was touched
build_program() {  # EXTRA...
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or newer is needed"
    mkdir -p "$root$prefix"
    rm -rf "$venv.new"
    trap 'rm -rf "$venv.new"' EXIT
    if [ -x "$python" ]; then
        cp -a --reflink=auto "$venv" "$venv.new" || fail "no room for a second environment in $root$prefix; what runs goes on"
    else
        python3 -m venv "$venv.new" || fail "python3-venv is needed: apt-get install python3-venv"
    fi
    "${INSTALLER:-$sources/locks/install.sh}" "$venv.new/bin/python" core "$@" || fail "the packages could not be installed; what runs goes on"
    # programs and settings bear the path of their Python
    { grep -rlIF "$venv.new" "$venv.new/bin" "$venv.new/pyvenv.cfg" || true; } | xargs -r sed -i "s#$venv\.new#$venv#g"
}

swap_program() {
    rm -rf "$venv.old"
    if [ -e "$venv" ]; then mv "$venv" "$venv.old"; fi
    mv "$venv.new" "$venv"
    rm -rf "$venv.old"
}

go_on() {  # what ran runs again, whatever stopped us
    if [ ! -e "$venv" ] && [ -e "$venv.old" ]; then mv "$venv.old" "$venv"; fi
    system start slopeward
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

is_managed() {  # whether slopeward starts a broker of its own, the default
    ! sed -n '/^\[broker\]/,/^\[[^b]/p' "$etc/slopeward.toml" | grep -E '^ *mode *=' | grep -Eqv "[\"']managed[\"']"
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
    fi
    build_program "${extras[@]}"
    runs=
    if is_live && systemctl is-active --quiet slopeward; then
        runs=yes
        trap go_on EXIT
        system stop slopeward
    fi
    swap_program
    put_files
    if is_live && systemctl is-enabled --quiet mosquitto 2>/dev/null; then
        # a managed broker is ours, with durable settings; the one of the system would take its port
        if is_managed; then systemctl disable --now mosquitto; else say "broker.mode is not managed: the system's mosquitto stays"; fi
    fi
    system daemon-reload
    system enable slopeward
    trap - EXIT
    if [ -n "$runs" ] || ls "$etc"/sites/*.toml >/dev/null 2>&1; then
        system restart slopeward
    else
        say "write a site file, then start: slopeward init NAME --out /etc/slopeward/sites/NAME.toml; systemctl start slopeward"
    fi
    ;;
upgrade)
    need_root
    [ -x "$python" ] || fail "nothing is installed below $root$prefix; run: $0 install"
    if [ -d "$state" ]; then
        call db backup || fail "no copy of the database could be made; nothing was changed"
    fi
    build_program "${extras[@]}"
    trap go_on EXIT
    system stop slopeward
    swap_program
    put_files
    system daemon-reload
    trap - EXIT
    system start slopeward # the service brings the schema up to date at its start
    if [ -d "$state" ] && ! is_live; then call db upgrade; fi
    ;;
uninstall)
    need_root
    system disable --now slopeward || true # a unit that is gone already stops nobody
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
