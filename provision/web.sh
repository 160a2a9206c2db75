#!/usr/bin/env bash
# Make this machine the web host: packages, users, secrets, certificates, the Django site, the units.
#
# Run as root, from a checkout, on Debian 12 or 13 or Ubuntu 24.04. Running it again changes nothing that is
# already right. No tunable stands in here: those are StackSettings, rendered and committed at the end.
# What it changes, it says; a line that begins with "changed:" is one change.
#
#   web.sh                the whole web host
#   web.sh environment    the Python environment alone
#   web.sh certificates   those that end soon, anew, for the names they have (a timer's work)
#   web.sh tables         those of the lab's site in PostgreSQL
#   web.sh prepare        the site's code, tables and static files alone (a box is built with both)
set -euo pipefail
# What fails within $(…) ends it too. What stands among a command's words does not end anything: a variable takes it first.
shopt -s inherit_errexit
umask 022

source_dir=$(cd "$(dirname "$0")/.." && pwd)
home=/opt/stacklab
etc=/etc/stacklab
state=/var/lib/stacklab
reload=''   # systemd is to read its units anew
pending=$state/restart   # units whose program (not settings) changed: to be taken up, by the next run if this one is cut off

say() { echo "changed: $*"; }
# A new file comes, or takes an old one's place, whole: also where the power fails. into_place NEW PATH
into_place() {
    sync "$1"
    mv "$1" "$2"
    sync "${2%/*}"
}
# More lines in a list of ours, all or none: note LIST LINE…
note() {
    [ -d "$state" ] || { mkdir -p "$state"; sync "${state%/*}"; }
    { cat "$1" 2>/dev/null || true; printf '%s\n' "${@:2}"; } > "$1.next"
    into_place "$1.next" "$1"
}
# must_restart UNIT…: at the end, have the units take up what changed; remembered should this run be cut off.
must_restart() { note "$pending" "$@"; }
fail() { echo "web.sh: $*" >&2; exit 1; }
# What provisioning brings is noted before it is there, so that provision/brought can take it away: brought KIND NAME…
list=$state/brought
brought() {
    local kind=$1 name lines=()
    shift
    for name; do
        grep -qsxF "$kind $name" "$list" || lines+=("$kind $name")
    done
    [ ${#lines[@]} = 0 ] || note "$list" "${lines[@]}"
}
# Files of ours; of one that somebody else had there, what it was is kept: brought_files PATH…
brought_files() {
    local path
    for path; do
        grep -qsxF -e "file $path" -e "original $path" "$list" && continue
        if { [ -e "$path" ] || [ -L "$path" ]; } && ! grep -qsx "late list" "$list"; then
            mkdir -p "$state/originals"
            (cd / && cp -a --parents "${path#/}" "$state/originals/")
            sync --file-system "$state"
            brought original "$path"
        else
            brought file "$path"
        fi
    done
}
# What others had here before us, looked at once; that all of it has been, the last line says.
begin() {
    local unit package path somaxconn
    ! grep -qsxF "begun list" "$list" || return 0
    if [ -e "$etc/settings.json" ]; then   # by a version that kept no list: which packages and users it brought is not known
        brought late list
    else
        for unit in nginx redis-server uwsgi gunicorn; do
            if systemctl is-enabled -q "$unit" 2>/dev/null; then brought enabled "$unit"; fi
            if systemctl is-active -q "$unit" 2>/dev/null; then brought active "$unit"; fi
        done
        shopt -s dotglob nullglob
        for path in "$home"/* "$etc"/* "$state"/*; do   # such as the wheels of a container lab's machine
            case $path in "$home/source" | "$list"*) ;; *) brought kept "$path" ;; esac
        done
        shopt -u dotglob nullglob
        while read -r package; do
            if is_installed "$package"; then brought had "$package"; fi
        done < "$source_dir/provision/packages.txt"
        somaxconn=$(cat /proc/sys/net/core/somaxconn)
        brought sysctl "net.core.somaxconn=$somaxconn"
    fi
    brought begun list
}
is_installed() { dpkg-query -W -f '${Status}\n' "$1" 2>/dev/null | grep -q 'ok installed'; }
# Copy a file if it differs: install_file SOURCE TARGET [MODE [UNIT…]]; the units are to take it up. (Its status says nothing:
# where one is asked for, bash goes on after what fails in a function.)
install_file() {
    case $2 in "$etc"/*) ;; *) brought_files "$2" ;; esac
    ! cmp -s "$1" "$2" || return 0
    [ $# -lt 4 ] || must_restart "${@:4}"   # before it is there: a run that is cut off between the two must not forget it
    install -D -m "${3:-644}" "$1" "$2"
    case $2 in /etc/systemd/system/*) reload=yes ;; esac
    say "$2"
}

link() { [ "$(readlink "$2")" = "$1" ] || ln -sfn "$1" "$2"; }

# shellcheck source=provision/certificates.sh
. "$source_dir/provision/certificates.sh"

[ "$(id -u)" = 0 ] || fail "must run as root: sudo bash $0"
[ -f /etc/debian_version ] || fail "this is not Debian or Ubuntu; the web host needs one of them"

packages() {
    local missing=() package
    while read -r package; do
        is_installed "$package" || missing+=("$package")
    done < "$source_dir/provision/packages.txt"
    [ ${#missing[@]} = 0 ] || install_packages
}
install_packages() {
    # A container lab's machine has no way out, and a newer one has what an older lacks.
    local said tries=0 coming remains do="is the network there? Run this again when it is. A container lab has none: 'fab destroy', then 'fab up'"
    local install=(install -y -q --no-install-recommends --no-remove -o DPkg::Lock::Timeout=600 "${missing[@]}")
    say "packages ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    until said=$(apt-get update -q 2>&1); do
        # A machine that has just booted looks for news by itself, and of this lock the option above knows nothing.
        case $said in *"Could not get lock"*) [ $((tries += 1)) -gt 120 ] || { sleep 5; continue; } ;; esac
        echo "$said" >&2
        fail "no ${missing[*]}: $do"
    done
    # What will come, with what it depends on, is noted before it does. ("Inst NAME [" is an upgrade of what was there.)
    said=$(apt-get -s "${install[@]}" 2>&1) || { echo "$said" >&2; fail "apt-get cannot install ${missing[*]}"; }
    coming=$(sed -nE 's/^Inst ([^ :]+)[^ ]* \(.*\[([^]]+)\]\).*/\1:\2/p' <<< "$said")
    # shellcheck disable=SC2086 # a package's name has no blanks
    remains=$({ dpkg-query -W -f '${binary:Package} ${db:Status-Status}\n' $coming 2>/dev/null || true; } | sed -n 's/ config-files$//p')
    # shellcheck disable=SC2086
    { brought remains $remains; brought package $coming; }
    brought_files /etc/postgresql-common/createcluster.d/stacklab.conf
    sh "$source_dir/provision/no-main-cluster" ""
    apt-get "${install[@]}" || {
        for package in $coming; do   # what did not come is not ours when somebody else brings it
            dpkg-query -W "$package" >/dev/null 2>&1 || sed -i "/^package $package\$/d" "$list"
        done
        fail "no ${missing[*]}: $do"
    }
}

users() {
    local name
    for name in stacklab uwsgi daphne; do
        getent group "$name" >/dev/null || { brought group "$name"; groupadd --system "$name"; say "group $name"; }
    done
    for name in uwsgi daphne; do
        getent passwd "$name" >/dev/null || {
            brought user "$name"
            useradd --system --gid "$name" --home-dir /nonexistent --shell /usr/sbin/nologin "$name"
            say "user $name"
        }
        usermod -a -G stacklab "$name"
    done
    usermod -a -G redis daphne
    for name in /etc/uwsgi /etc/gunicorn /etc/nginx/conf.d; do
        [ -e "$name" ] || brought folder "$name"
    done
    [ -e /var/log/daphne ] || brought tree /var/log/daphne
    install -d -m 755 "$home" "$home/lib" "$state" "$etc" "$etc/tls"
    install -d -m 770 -o root -g stacklab "$state/db"
    install -d -m 755 "$state/sites/lab"
    install -d -m 755 -o daphne -g daphne /var/log/daphne
    install -d -m 755 /etc/uwsgi /etc/gunicorn /etc/nginx/conf.d
}

# The code, copied from the checkout, whose own modes say nothing: it may have come by a ZIP or from Windows.
code() {
    local copied modes=--chmod=D755,F644
    copied=$(
        # What was compiled here is left alone, but goes with a folder that is no longer there ("p": of no use to protect it).
        rsync -rlpc "$modes" --delete --itemize-changes --filter '-p __pycache__' "$source_dir/app/" "$home/app/"
        rsync -rlpc "$modes" --delete --itemize-changes --filter '-p __pycache__' --exclude box --exclude docker --exclude image \
            "$source_dir/provision/" "$home/provision/"
        mkdir -p "$home/lib/stacklab"
        rsync -rlpc "$modes" --delete --itemize-changes --include __init__.py --include errors.py --include files.py --include settings.py \
            --include site.py --include version.py --include /stack/ --include /stack/render.py \
            --include /stack/services/ --include '/stack/services/*.py' --exclude '*' "$source_dir/stacklab/" "$home/lib/stacklab/"
    )
    # stacklab.stack.render looks for the templates in provision/ beside the package, as in a checkout.
    link "$home/provision" "$home/lib/provision"
    [ -z "$copied" ] || say "code in $home"
    # The lab's own site has a place as any other has (see build-site); which is in force, the link /opt/stacklab/site says.
    link "$home/app" "$state/sites/lab/code"
    link "$home/venv" "$state/sites/lab/venv"
    link "$state/static" "$state/sites/lab/static"
    link "$etc/app.env" "$state/sites/lab/site.env"
    # The units name it, also where the settings of a host of before there were other sites are still to be committed.
    [ -e "$home/site" ] || link "$state/sites/lab" "$home/site"
}

# The Python environment, as locked.
environment() {
    local lock="$source_dir/provision/requirements.lock" stamp="$home/venv/.lock"
    cmp -s "$lock" "$stamp" && return
    say "Python environment $home/venv"
    [ -x "$home/venv/bin/python" ] || python3 -m venv "$home/venv"
    [ -e "${HOME:-/root}/.cache/pip" ] || brought tree "${HOME:-/root}/.cache/pip"
    local from=() do="is the network there? Run this again when it is"
    if [ -d "$home/wheels" ]; then
        from=(--no-index --find-links "$home/wheels")
        do="those that came with this machine are of an older lab: 'fab destroy', then 'fab up'"
    fi
    "$home/venv/bin/python" -I "$source_dir/provision/own_pip.py" install -q --require-hashes "${from[@]}" -r "$lock" ||
        fail "pip could not install what provision/requirements.lock names: $do." "A package that was withdrawn, or whose hash is another: 'make lock' names those of today"
    sync --file-system "$home"   # what a stamp says is done is there, also after a power cut
    install -m 644 "$lock" "$stamp"
}

secrets() {
    local hosts
    hosts=$(names)
    # shellcheck disable=SC2086 # a host has no blanks
    certificates $hosts
    # shellcheck disable=SC2001 # a line each
    hosts=$(sed 's/.*:.*/[&]/' <<< "$hosts")   # as it stands in a URL

    local key='' new allowed served
    [ ! -e "$etc/app.env" ] || key=$(sed -n 's/^STACKLAB_SECRET_KEY=//p' "$etc/app.env")
    [ -n "$key" ] || key=$(openssl rand -base64 48 | tr -d '\n=+/')
    new=$(mktemp)
    allowed=$(paste -sd, <<< "$hosts")
    served=$(paste -sd' ' <<< "$hosts")
    cat > "$new" <<ENV
STACKLAB_SECRET_KEY=$key
STACKLAB_ALLOWED_HOSTS=$allowed
STACKLAB_DATABASE=$state/db/site.sqlite3
STACKLAB_STATIC=$state/static
STACKLAB_REDIS=unix:///run/redis/stacklab.sock
ENV
    install_file "$new" "$etc/app.env" 640 uwsgi daphne
    chown root:stacklab "$etc/app.env"
    # nginx does not start where it is to listen on IPv6 and the kernel has none: only who is asked for by it listens.
    local six=''
    case $hosts in *:*) six='listen [::]:443 ssl' ;; esac
    echo "server_name $served;${six:+ $six;}" > "$new"
    install_file "$new" "$etc/names.conf" 644 nginx
    echo "${six:+$six default_server backlog=4096;}" > "$new"
    [ -z "$six" ] || install_file "$new" "$etc/default-ipv6.conf" 644 nginx
    rm "$new"
}

units() {
    local files="$source_dir/provision/files" unit newest
    for unit in nginx uwsgi gunicorn postgresql daphne@ uvicorn@ hypercorn@ granian@; do
        install_file "$files/sandbox.conf" "/etc/systemd/system/${unit/#postgresql/stacklab-postgresql}.service.d/sandbox.conf" 644 "${unit%@}"
    done
    for unit in uwsgi gunicorn; do
        install_file "$files/$unit.service" "/etc/systemd/system/$unit.service" 644 "$unit"
    done
    install_file "$files/stacklab-postgresql.service" /etc/systemd/system/stacklab-postgresql.service 644 postgresql
    for unit in postgresql.conf pg_hba.conf pg_ident.conf; do
        install_file "$files/$unit" "$etc/postgresql/$unit" 644 postgresql
    done
    newest=$(printf '%s\n' /usr/lib/postgresql/* | sort -V | tail -n 1)
    link "$newest" "$home/postgresql"
    install_file "$files/stacklab-recover.service" /etc/systemd/system/stacklab-recover.service
    install_file "$files/stacklab-certificates.service" /etc/systemd/system/stacklab-certificates.service
    install_file "$files/stacklab-certificates.timer" /etc/systemd/system/stacklab-certificates.timer
    install_file "$files/nginx-stacklab.conf" /etc/systemd/system/nginx.service.d/stacklab.conf 644 nginx
    install_file "$files/redis-stacklab.conf" /etc/systemd/system/redis-server.service.d/stacklab.conf
    install_file "$files/logrotate" /etc/logrotate.d/stacklab
    install_file "$files/logrotate.timer" /etc/systemd/system/logrotate.timer.d/stacklab.conf
    # Also for unit files that a run which was cut off had put there.
    [ -z "$reload$(systemctl show -P NeedDaemonReload nginx uwsgi gunicorn stacklab-postgresql redis-server daphne@1 | grep yes || true)" ] || systemctl daemon-reload
    brought_files /etc/redis/redis.conf
    if ! cmp -s "$files/redis.conf" /etc/redis/redis.conf; then
        systemctl stop redis-server   # and so it is started below, also where this is cut off here
        install_file "$files/redis.conf" /etc/redis/redis.conf
        chown redis:redis /etc/redis/redis.conf
    fi
    systemctl is-active -q redis-server || systemctl start redis-server
}

# As the site's own user, with the site's own environment: manage COMMAND…
manage() {
    (
        set -a
        # shellcheck source=/dev/null
        . "$etc/app.env"
        cd "$home/app"
        setpriv --reuid=uwsgi --regid=uwsgi --init-groups "$home/venv/bin/python" manage.py "$@"
    )
}

# Those of the lab's site in PostgreSQL.
tables() { STACKLAB_DATABASE_SERVER=postgresql manage migrate -v 0; }

# What the site's own commands make of the code: tables, static files. The stamp is written when all of it is done.
site() {
    local stamp="$state/site" now
    now=$(cd "$home" && find app venv/.lock -type f ! -path '*/__pycache__/*' -exec sha256sum {} + | sort | sha256sum)
    [ "$(cat "$stamp" 2>/dev/null)" != "$now" ] || return 0
    install -d -m 755 -o uwsgi -g uwsgi "$state/static"
    "$home/venv/bin/python" -m compileall -q "$home/app"
    manage migrate -v 0
    ! systemctl is-active -q stacklab-postgresql || tables   # a later start of it makes them by itself
    chmod 660 "$state/db/site.sqlite3"
    chgrp stacklab "$state/db/site.sqlite3"
    manage collectstatic -v 0 --noinput --clear
    manage check --deploy --fail-level WARNING
    must_restart uwsgi daphne
    sync --file-system "$state"
    echo "$now" > "$stamp"
}

settings() {
    local outcome restart_json path paths
    paths=$(PYTHONPATH="$home/lib" python3 -c 'from stacklab.stack.services import SERVICES as all
print(*(file.path for service in all.values() for file in service.templates))')
    for path in $paths; do
        case $path in "$etc"/*) ;; *) brought_files "$path" ;; esac
    done
    brought_files /var/log/nginx/requests.jsonl
    touch "$pending"
    restart_json=$(sort -u "$pending" | sed '/^$/d; s/.*/"&"/' | paste -sd,)
    outcome=$(
        PYTHONPATH="$home/lib" "$home/venv/bin/python" "$home/provision/first-settings" "[$restart_json]" |
            /usr/bin/python3 "$home/provision/commit-settings"
    )
    python3 - "$outcome" <<'PY'
import json, sys
outcome = json.loads(sys.argv[1])
if not outcome["ok"]:
    sys.exit(f"web.sh: the settings could not be applied: {outcome['message']}\n{outcome['journal']}")
for path in outcome["changed"]:
    print("changed:", path)
for unit in outcome["reloaded"]:
    print("changed: reloaded", unit)
PY
    local unit enabled=
    for unit in stacklab.target daphne.target stacklab-recover stacklab-certificates.timer; do
        systemctl is-enabled -q "$unit" || { systemctl enable -q --no-reload "$unit"; enabled=yes; }
    done
    # These have init scripts too, for whose sake `enable` has systemd read all units anew, twice each.
    for unit in nginx redis-server; do
        systemctl is-enabled -q "$unit" || { systemctl add-wants -q --no-reload multi-user.target "$unit"; enabled=yes; }
    done
    # Else each later `systemctl` would warn that units have changed on disk.
    [ -z "$enabled" ] || systemctl daemon-reload
    systemctl is-active -q stacklab-certificates.timer || systemctl start stacklab-certificates.timer
    # Of before stacklab.target started the server that is chosen.
    rm -f /etc/systemd/system/multi-user.target.wants/uwsgi.service
    # Of before a key and its certificate were one file; nothing that is in force names them any longer.
    rm -f "$etc"/tls/{ca,web,daphne}.key "$etc"/tls/{web,daphne}.crt
    rm -f "$pending"
}

# What takes long and is the same on every machine, for a box that is being built: nothing runs, and no secret stays.
prepare() {
    users
    code
    secrets
    site
    # (Nor the list: to whoever has the box all of it was there before.)
    rm -rf "$etc" "$pending" "$list" "$state/originals"
}

case ${1:-} in
    environment | prepare | tables) "$1" ;;
    certificates)
        hosts=$(sed 's/^server_name //; s/;.*//' "$etc/names.conf" | tr -d '[]')
        # shellcheck disable=SC2086 # a host has no blanks
        certificates $hosts
        # Nothing is touched, and nobody's change or measurement disturbed, where nothing was renewed.
        [ ! -s "$pending" ] || settings
        ;;
    '')
        begin
        packages
        users
        environment
        code
        secrets
        units
        site
        settings
        ;;
    *) fail "unknown argument $1" ;;
esac
