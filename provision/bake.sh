#!/usr/bin/env bash
# Bakes into a root, from inside, what both machines of `vagrant up` begin with. A box and an image of Docker's engine
# are made by it alike; one serves web and desk, and what they make needs no network.
#
#   bake.sh environments    the Python environments of both machines
#   bake.sh site            the site's code, tables and static files
#   bake.sh machine         Vagrant's user, SSH, and nothing that would be secret or of one machine
set -euo pipefail

provision=$(cd "$(dirname "$0")" && pwd)
export PIP_NO_CACHE_DIR=1

# Made here at native speed: provisioning then has only to look at them.
environments() {
    mkdir -p /opt/stacklab
    bash "$provision/web.sh" environment
    # With wheels there, pip would not look elsewhere, and a newer checkout could never bring newer packages.
    rm -rf /opt/stacklab/wheels
    bash "$provision/desk.sh" environment
}

site() { bash "$provision/web.sh" prepare; }

machine() {
    # The key is the public one, which Vagrant replaces on the first boot.
    useradd --create-home --shell /bin/bash vagrant
    install -d -m 700 -o vagrant -g vagrant /home/vagrant/.ssh
    install -m 600 -o vagrant -g vagrant "$provision/box/vagrant.pub" /home/vagrant/.ssh/authorized_keys
    echo 'vagrant ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/vagrant
    chmod 440 /etc/sudoers.d/vagrant
    printf 'UseDNS no\nPasswordAuthentication no\n' > /etc/ssh/sshd_config.d/vagrant.conf

    # Host keys are made on the first boot, each machine its own. (No RSA: slow to make, and nobody here asks for it.)
    cat > /etc/systemd/system/ssh-host-keys.service <<'UNIT'
[Unit]
Description=Make this machine's SSH host keys
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
Before=ssh.service ssh.socket

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -q -t ecdsa -N "" -f /etc/ssh/ssh_host_ecdsa_key
ExecStart=/usr/bin/ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key

[Install]
WantedBy=multi-user.target
UNIT
    printf 'HostKey /etc/ssh/ssh_host_ed25519_key\nHostKey /etc/ssh/ssh_host_ecdsa_key\n' >> /etc/ssh/sshd_config.d/vagrant.conf
    rm -f /etc/ssh/ssh_host_*
    : > /etc/machine-id
    systemctl enable --quiet ssh ssh-host-keys

    # Nobody logs in at a screen, nor has file systems to scrub; each would start at every boot. A package update in the
    # middle of a measurement would be measured too.
    systemctl mask --quiet getty@.service serial-getty@.service e2scrub_reap.service apt-daily.timer apt-daily-upgrade.timer
    # Provisioning enables them on web; desk has no use for them.
    systemctl disable --quiet nginx redis-server
    # The packages have made their indexes (of shared libraries, of the journal's messages): no boot need make them anew.
    touch /etc/.updated /var/.updated
}

case ${1:-} in
    environments | site | machine) "$1" ;;
    *) echo "bake.sh: environments, site or machine, not '${1:-}'" >&2; exit 1 ;;
esac
