#!/bin/sh
# The command `slopeward` of a server: runs Slopeward with the configuration of the service. deploy/install.sh installs
# it as /usr/local/bin/slopeward. Another --config, or another SLOPEWARD_CONFIG in the environment, has priority.
# If root calls it, the command runs as the user of the service, so that its files belong to the service.
program=/opt/slopeward/.venv/bin/slopeward
etc=/etc/slopeward
user=slopeward

: "${SLOPEWARD_CONFIG:=$etc/slopeward.toml}"
export SLOPEWARD_CONFIG
[ "$(id -u)" = 0 ] || exec "$program" "$@"

if ! id -u "$user" >/dev/null 2>&1; then
    echo "slopeward: the user $user does not exist; run deploy/install.sh install" >&2
    exit 1
fi

# Only root can read the secrets. The lines have the form of EnvironmentFile= in systemd.exec(5): NAME=VALUE, also with
# the value in quotes. A variable of the caller has priority.
if [ -r "$etc/secrets.env" ]; then
    while IFS= read -r line || [ -n "$line" ]; do
        name=${line%%=*}
        value=${line#*=}
        case $line in '#'* | ';'*) continue ;; *=*) ;; *) continue ;; esac
        case $name in '' | [0-9]* | *[!A-Za-z0-9_]*) continue ;; esac
        case $value in \"*\" | \'*\') value=${value#?} value=${value%?} ;; esac
        printenv "$name" >/dev/null || export "$name=$value"
    done < "$etc/secrets.env"
fi

# runuser sets HOME to the home of the user, /var/lib/slopeward.
# New files are not for others, as in the unit.
umask 027
exec runuser -u "$user" -- "$program" "$@"
