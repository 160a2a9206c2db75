#!/usr/bin/env bash
# Make this machine the desk: JupyterLab with the notebooks, Fabric and Locust, and the way to web.
#
# Run as root, from a checkout, on Debian 12 or 13. Running it again changes nothing that is already right, and never
# touches a notebook or a result. What it changes, it says; a line that begins with "changed:" is one change.
#
#   desk.sh                the whole desk. STACKLAB_WEB is web's address
#   desk.sh environment    the Python environment alone (a box is built with it)
set -euo pipefail
umask 022

source_dir=$(cd "$(dirname "$0")/.." && pwd)
etc=/etc/stacklab
venv=/opt/stacklab/desk-venv
student=student
folder=/home/$student/stacklab
key=/home/$student/.ssh/web
known_hosts=/home/$student/.ssh/known_hosts_web
restart=

say() { echo "changed: $*"; }
fail() { echo "desk.sh: $*" >&2; exit 1; }

# Take the text on standard input as a file's content if it differs: put TARGET MODE [OWNER]. (Its status says nothing: where
# one is asked for, bash goes on after what fails in a function.)
put() {
    local new
    new=$(mktemp)
    cat > "$new"
    if cmp -s "$new" "$1"; then
        rm "$new"
        return
    fi
    install -D -m "$2" -o "${3:-root}" -g "${3:-root}" "$new" "$1"
    rm "$new"
    case $1 in /etc/jupyter/* | /etc/systemd/system/*) restart=yes ;; esac
    say "$1"
}

packages() {
    local missing=() package
    for package in ca-certificates openssh-client python3-venv rsync; do
        dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    say "packages ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -q && apt-get install -y -q --no-install-recommends "${missing[@]}"; } ||
        fail "apt-get could not install ${missing[*]}: is the network there? Run 'vagrant provision desk' when it is"
}

# The Python environment, as locked. The stamp is written last, so that an interrupted one is made again.
environment() {
    cmp -s "$source_dir/requirements/desk.lock" "$venv/.lock" && return
    say "Python environment $venv"
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    "$venv/bin/python" -I "$source_dir/provision/own_pip.py" install -q --no-deps --require-hashes \
        -r "$source_dir/requirements/desk.lock" ||
        fail "pip could not install what requirements/desk.lock names: is the network there? Run 'vagrant provision desk' when it is." \
            "(Without a network, take the box that was built from this checkout.)"
    local purelib
    purelib=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    echo "$folder" > "$purelib/stacklab.pth"
    cp "$source_dir/requirements/desk.lock" "$venv/.lock"
    restart=yes
}

# Ours, and not the one that pip wrote, which reads a person's own files of Fabric and SSH first.
fab_command() { put "$venv/bin/fab" 755 < "$source_dir/provision/files/fab"; }

user() {
    getent passwd "$student" >/dev/null && return
    useradd --create-home --shell /bin/bash "$student"
    # Earlier work, brought back to a desk that is made anew, is there before its owner.
    cp -rn /etc/skel/. "/home/$student"
    chown -R "$student:$student" "/home/$student"
    say "user $student"
}

# The code follows the checkout; a notebook that is there stays as it is, and results are never touched.
working_folder() {
    local part copied='' modes=--chmod=D755,F644
    install -d -o "$student" -g "$student" "$folder" "$folder/results" "$folder/notebooks"
    for part in app docs fabfile.py loadtests provision pyproject.toml README.md requirements stacklab; do
        [ -e "$source_dir/$part" ] || continue
        copied+=$(rsync -rlpc "$modes" --delete --itemize-changes --exclude __pycache__ --chown="$student:$student" \
            "$source_dir/$part" "$folder/")
    done
    copied+=$(rsync -rlp "$modes" --ignore-existing --itemize-changes --exclude .ipynb_checkpoints \
        --chown="$student:$student" "$source_dir/notebooks" "$folder/")
    copied+=$(rsync -rlpc "$modes" --delete --itemize-changes --chown="$student:$student" \
        "$source_dir/notebooks/recorded" "$folder/notebooks/")  # nobody works in these
    chown -R "$student:$student" "$folder/notebooks" "$folder/results"
    [ -z "$copied" ] || say "code and new notebooks in $folder"
}

# The desk's key for web. web's own key comes from the machine that started both, through stacklab-know-web.
way_to_web() {
    if [ ! -f "$key" ]; then
        install -d -m 700 -o "$student" -g "$student" "$(dirname "$key")"
        setpriv --reuid="$student" --regid="$student" --init-groups ssh-keygen -q -t ed25519 -N '' -C desk -f "$key"
        say "the desk's key for web"
    fi
    put "$etc/desk.pub" 644 < "$key.pub"
    put "$etc/desk.json" 644 <<JSON
{"web": {"address": "$STACKLAB_WEB", "user": "vagrant", "port": 22, "key_path": "$key", "known_hosts_path": "$known_hosts"}}
JSON
    put /usr/local/bin/stacklab-know-web 755 <<SCRIPT
#!/bin/sh
# Pin web's host key: stacklab-know-web 'ssh-ed25519 AAAA…'
set -eu
printf '%s %s\n' '$STACKLAB_WEB' "\$1" > '$known_hosts.new'
chown '$student:' '$known_hosts.new'
mv '$known_hosts.new' '$known_hosts'
# A web that was made anew has another network card: without this, the next connection waits for the old one.
ip neigh flush to '$STACKLAB_WEB'
SCRIPT
}

jupyterlab() {
    local token
    if [ ! -f "$etc/jupyter.env" ]; then
        token=$(python3 -c 'import secrets; print(secrets.token_hex(24))')
        (umask 077; echo "JUPYTER_TOKEN=$token" > "$etc/jupyter.env")
        say "JupyterLab's token"
    fi
    # Asks for nothing outside: the lab may have no network.
    put /etc/jupyter/labconfig/page_config.json 644 <<'JSON'
{"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": true}}
JSON
    put /etc/systemd/system/jupyterlab.service 644 <<UNIT
[Unit]
Description=JupyterLab of StackLab's desk
After=network.target

[Service]
User=$student
WorkingDirectory=$folder
EnvironmentFile=$etc/jupyter.env
Environment=STACKLAB_LAB=vagrant PATH=$venv/bin:/usr/local/bin:/usr/bin:/bin
# All addresses, since a provider forwards a port to the machine's own address and not to its loopback; with a token.
# No look for language servers, of which desk has none: it takes a third of JupyterLab's start.
ExecStart=$venv/bin/jupyter lab --no-browser --ServerApp.ip=0.0.0.0 --ServerApp.port=8888 --ServerApp.port_retries=0 --ServerApp.root_dir=$folder --ServerApp.jpserver_extensions=jupyter_lsp=False
Restart=always
RestartSec=2
NoNewPrivileges=yes
ProtectSystem=full
PrivateTmp=yes

[Install]
WantedBy=multi-user.target
UNIT
    put /etc/profile.d/stacklab.sh 644 <<PROFILE
export STACKLAB_LAB=vagrant
PATH=$venv/bin:\$PATH
PROFILE
    put /usr/local/bin/stacklab-address 755 <<SCRIPT
#!/bin/bash
# Say where JupyterLab is, once it answers: stacklab-address PORT_ON_THE_LAPTOP
set -eu
. $etc/jupyter.env
answers() { python3 -c 'import urllib.request as u; u.urlopen("http://127.0.0.1:8888/api", timeout=60)' 2>/dev/null; }
for _ in {1..300}; do
    # A look that costs nothing: on an emulated machine a Python every second would take half the CPU that JupyterLab needs.
    if (exec 3<>/dev/tcp/127.0.0.1/8888) 2>/dev/null && answers; then
        echo "JupyterLab: http://127.0.0.1:\$1/lab?token=\$JUPYTER_TOKEN"
        exit 0
    fi
    sleep 1
done
echo "JupyterLab does not answer. Its own words:" >&2
journalctl --unit jupyterlab --lines 20 --no-pager >&2
exit 1
SCRIPT
    if [ -n "$restart" ]; then
        systemctl daemon-reload
        systemctl enable -q jupyterlab
        systemctl restart jupyterlab
        say "JupyterLab restarted"
    elif ! systemctl is-active -q jupyterlab; then
        systemctl start jupyterlab
        say "JupyterLab started"
    fi
}

[ "$(id -u)" = 0 ] || fail "must run as root: sudo bash $0"
case ${1:-} in
    environment) environment ;;
    '')
        : "${STACKLAB_WEB:?must be the address of web}"
        install -d -m 755 "$etc"
        packages
        environment
        fab_command
        user
        working_folder
        way_to_web
        jupyterlab
        ;;
    *) fail "unknown argument $1" ;;
esac
