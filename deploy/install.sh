#!/usr/bin/env bash
# Installs, upgrades or removes Slopeward as a systemd service on Debian and its relatives. It can be repeated.
#   sudo deploy/install.sh install [EXTRA...]    installs these sources; default: cap postgresql reports (no networks)
#   sudo deploy/install.sh upgrade [EXTRA...]    backs up the database, installs these sources, and upgrades the schema
#   sudo deploy/install.sh uninstall [--purge]   --purge also deletes configuration and data, without a question
# DESTDIR=FOLDER installs below a folder and starts nothing (for packages and tests). PREFIX: default /opt/slopeward.
set -euo pipefail
what=${1:-help}
extras=("${@:2}")
[ "${#extras[@]}" -gt 0 ] || extras=(cap postgresql reports)  # small, and hard to install during an emergency
root=${DESTDIR:-}
prefix=${PREFIX:-/opt/slopeward}
sources=$(cd "$(dirname "$0")/.." && pwd)
etc=$root/etc/slopeward
unit=$root/etc/systemd/system/slopeward.service
wrapper=$root/usr/local/bin/slopeward
state=$root/var/lib/slopeward
venv=$root$prefix/.venv
python=$venv/bin/python

say() { echo "slopeward: $*" >&2; }
fail() { say "$*"; exit 1; }
is_live() { [ -z "$root" ] && command -v systemctl >/dev/null && [ -d /run/systemd/system ]; }
system() { if is_live; then systemctl "$@"; else say "not run with DESTDIR or without systemd: systemctl $*"; fi; }
# Create the user of the service, to whom its data belong. `id` would also find a dynamic user of systemd.
make_user() {
    [ -z "$root" ] || return 0
    if ! grep -q '^slopeward:' /etc/passwd; then
        useradd --system --user-group --home-dir /var/lib/slopeward --no-create-home --shell /usr/sbin/nologin slopeward
        say "created the user slopeward"
    fi
    install -d -o slopeward -g slopeward -m 750 "$state"
    # Files that root has put there, such as a backup of another machine.
    find "$state" ! -user slopeward -exec chown -h slopeward:slopeward {} +
}

need_root() { [ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "run it as root: sudo $0 $what"; }

# Install a file by renaming a complete copy. Do nothing if the file has not changed.
put() {  # SOURCE TARGET MODE
    if ! cmp -s "$1" "$2"; then
        install -D -m "$3" "$1" "$2.new" && mv "$2.new" "$2"
        say "wrote $2"
    fi
}

# Install the packages into a copy of the environment, so that a failure leaves the running one unchanged.
build_program() {  # EXTRA...
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or newer is needed"
    mkdir -p "$root$prefix"
    rm -rf "$venv.new"
    trap 'rm -rf "$venv.new"' EXIT
    if [ -x "$python" ]; then
        cp -a --reflink=auto "$venv" "$venv.new" || fail "no space for a second environment in $root$prefix; the running service was not changed"
    else
        python3 -m venv "$venv.new" || fail "python3-venv is needed: apt-get install python3-venv"
    fi
    "${INSTALLER:-$sources/locks/install.sh}" "$venv.new/bin/python" core "$@" || fail "the packages could not be installed; the running service was not changed"
    # Scripts and pyvenv.cfg contain the path of the environment.
    { grep -rlIF "$venv.new" "$venv.new/bin" "$venv.new/pyvenv.cfg" || true; } | xargs -r sed -i "s#$venv\.new#$venv#g"
}

swap_program() {  # replace the environment by the new one
    rm -rf "$venv.old"
    if [ -e "$venv" ]; then mv "$venv" "$venv.old"; fi
    mv "$venv.new" "$venv"
    rm -rf "$venv.old"
}

restart_after_failure() {
    if [ ! -e "$venv" ] && [ -e "$venv.old" ]; then mv "$venv.old" "$venv"; fi
    system start slopeward
}

put_files() {
    install -d -m 755 "$etc" "$etc/sites"
    # The user of the service may write site files, for example with `slopeward init`. The service itself may not,
    # because of ProtectSystem= in its unit.
    if [ -z "$root" ]; then chown slopeward:slopeward "$etc/sites"; fi
    if [ ! -e "$etc/slopeward.toml" ]; then
        # Absolute paths, so that commands work in every folder.
        sed -e 's#^sites = "configs/sites" #sites = "/etc/slopeward/sites" #' \
            -e 's#"sqlite:///slopeward.db" #"sqlite:////var/lib/slopeward/slopeward.db" #' \
            -e 's#^\(data\|inbox\|models\|state\|folder\|modem\) = "#&/var/lib/slopeward/#' \
            "$sources/configs/slopeward.toml" > "$etc/slopeward.toml.new"
        chmod 644 "$etc/slopeward.toml.new" && mv "$etc/slopeward.toml.new" "$etc/slopeward.toml"
        say "wrote $etc/slopeward.toml; check its settings"
    fi
    if [ ! -e "$etc/secrets.env" ]; then
        install -m 600 /dev/null "$etc/secrets.env"
        say "created $etc/secrets.env; write passwords to it, such as SLOPEWARD_SMTP__PASSWORD=..."
    fi
    put_with_prefix "$sources/deploy/slopeward.service" "$unit" 644
    put_with_prefix "$sources/deploy/slopeward-command.sh" "$wrapper" 755
}

# Install a file that contains the path of the program.
put_with_prefix() {  # SOURCE TARGET MODE
    made=$(mktemp)
    sed -e "s#/opt/slopeward#$prefix#g" "$1" > "$made"
    put "$made" "$2" "$3"
    rm -f "$made"
}

is_managed() {  # whether Slopeward starts its own broker, which is the default
    ! sed -n '/^\[broker\]/,/^\[[^b]/p' "$etc/slopeward.toml" | grep -E '^ *mode *=' | grep -Eqv "[\"']managed[\"']"
}

call() {  # run a command of slopeward in the folder of the service, as its user
    if [ -z "$root" ]; then
        (cd "$state" && "$wrapper" "$@" --config "$etc/slopeward.toml")
    else
        config=$(mktemp --suffix=.toml)
        sed -e "s#/var/lib/slopeward#$state#g" "$etc/slopeward.toml" > "$config"
        status=0
        (cd "$state" && "$root$prefix/.venv/bin/slopeward" "$@" --config "$config") || status=$?
        rm -f "$config"
        return "$status"
    fi
}

case "$what" in
install)
    need_root
    if is_live; then
        command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ] || say "Mosquitto is not installed, so the broker loses its messages at a restart: apt-get install mosquitto"
        ldconfig -p | grep -q libpangoft2 || say "Pango is not installed, so reports are HTML and not PDF: apt-get install libpango-1.0-0 libpangoft2-1.0-0"
    fi
    make_user
    build_program "${extras[@]}"
    was_running=
    if is_live && systemctl is-active --quiet slopeward; then
        was_running=yes
        trap restart_after_failure EXIT
        system stop slopeward
    fi
    swap_program
    put_files
    if is_live && systemctl is-enabled --quiet mosquitto 2>/dev/null; then
        # Slopeward starts a managed broker with durable settings. The Mosquitto of the system would occupy its port.
        if is_managed; then
            systemctl disable --now mosquitto
        else
            say "broker.mode is not managed, so the Mosquitto of the system was not disabled"
        fi
    fi
    system daemon-reload
    system enable slopeward
    trap - EXIT
    if [ -n "$was_running" ] || ls "$etc"/sites/*.toml >/dev/null 2>&1; then
        system restart slopeward
    else
        say "write a site file, then start: sudo slopeward init NAME --out /etc/slopeward/sites/NAME.toml; sudo systemctl start slopeward"
    fi
    ;;
upgrade)
    need_root
    [ -x "$python" ] || fail "nothing is installed below $root$prefix; run: $0 install"
    if [ -d "$state" ]; then
        make_user
        call db backup || fail "the database could not be backed up; nothing was changed"
    fi
    build_program "${extras[@]}"
    trap restart_after_failure EXIT
    system stop slopeward
    swap_program
    put_files
    system daemon-reload
    trap - EXIT
    system start slopeward # the service upgrades the schema at its start
    if [ -d "$state" ] && ! is_live; then call db upgrade; fi
    ;;
uninstall)
    need_root
    system disable --now slopeward || true # the unit may not exist
    rm -f "$unit" "$wrapper"
    rm -rf "$root$prefix/.venv"
    system daemon-reload
    if [ "${2:-}" = --purge ]; then
        rm -rf "$etc" "$state"
        if [ -z "$root" ] && grep -q '^slopeward:' /etc/passwd; then userdel slopeward; fi
        say "deleted configuration, data and the user slopeward"
    else
        say "kept configuration ($etc), data ($state) and the user slopeward; --purge deletes them"
    fi
    ;;
*)
    sed -n '2,6s/^# \{0,1\}//p' "$0"
    [ "$what" = help ] || [ "$what" = --help ] || exit 2
    ;;
esac
