"""The container lab for real: machines are booted, killed, shut down and removed."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from here import slowly, wait_until

from stacklab.errors import HostError, HostRefused, LabError, LabNotRunning
from stacklab.files import ROOT
from stacklab.labs import machine, nspawn, storage
from stacklab.labs.container import ContainerLab
from stacklab.labs.host import Host
from stacklab.labs.machine import machine_name
from stacklab.labs.network import Subnet

pytestmark = pytest.mark.usefixtures("container_labs")


def subnet_of(lab):
    return Subnet(lab._machine.record()["index"])


def start(action, lab):
    """The command that does `action` as root, as a process that can be killed."""
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    return subprocess.Popen(
        [*sudo, sys.executable, "-m", "stacklab.labs.asroot", action, lab.name], cwd=ROOT,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )


def left_of(lab, subnet):
    """What is there of a lab that should be gone."""
    paths = [lab._machine.folder, storage.REMOVED / lab.name, Path("/sys/class/net", subnet.interface)]
    paths += nspawn.cgroups(machine_name(subnet))
    paths.append(nspawn.NSPAWN / "propagate" / machine_name(subnet))
    return [path for path in paths if path.exists()] + storage.mounts_below(lab._machine.folder)


def test_the_machine_is_debian_under_systemd_and_its_admin_may_become_root(lab):
    host = lab.web()
    assert host.run(". /etc/os-release; echo $ID").strip() == "debian"
    assert host.run("cat /proc/1/comm").strip() == "systemd"
    assert host.run("id -u", sudo=True).strip() == "0"


def test_no_unit_of_the_machine_failed_and_its_cgroups_count_cpu(lab):
    host = lab.web()
    assert host.run("systemctl --failed --no-legend").strip() == ""
    assert int(host.run("systemctl show --value -p CPUUsageNSec ssh")) > 0
    assert "usage_usec" in host.run("cat /sys/fs/cgroup/cpu.stat")


def test_somaxconn_of_the_machine_can_be_set_and_is_its_own(lab):
    before = Path("/proc/sys/net/core/somaxconn").read_text()
    lab.web().run("sysctl -w net.core.somaxconn=12345", sudo=True)
    assert lab.web().run("cat /proc/sys/net/core/somaxconn").strip() == "12345"
    assert Path("/proc/sys/net/core/somaxconn").read_text() == before


def test_every_package_and_wheel_is_in_the_image_so_nothing_is_downloaded(lab):
    host = lab.web()
    wanted = [
        line.split("#")[0].strip() for line in (ROOT / "provision/packages.txt").read_text().splitlines()
    ]
    host.run("dpkg-query --show " + " ".join(filter(None, wanted)))
    host.write("/tmp/requirements.lock", (ROOT / "provision/requirements.lock").read_text(), sudo=False)
    host.run(
        "python3 -m venv /tmp/venv && /tmp/venv/bin/pip install --dry-run --quiet --no-index "
        "--find-links /opt/stacklab/wheels --require-hashes -r /tmp/requirements.lock && rm -r /tmp/venv",
        timeout_s=120,
    )


def test_the_machine_has_no_way_out(lab):
    assert lab.web().run("ip route show default").strip() == ""


def test_a_password_does_not_open_the_machine(lab):
    host = lab.web()
    methods = host.run("sshd -T", sudo=True)
    assert "passwordauthentication no" in methods
    assert "kbdinteractiveauthentication no" in methods
    assert "permitrootlogin no" in methods


def test_another_machine_at_the_same_address_is_refused(lab, other, tmp_path):
    other.up()
    pinned = tmp_path / "known_hosts"
    other_key = other._machine.known_hosts_path.read_text().split(maxsplit=1)[1]
    pinned.write_text(f"{lab.status()['address']} {other_key}")
    stranger = Host(
        lab.status()["address"], "stacklab", key_path=lab._machine.key_path, known_hosts_path=pinned
    )
    with pytest.raises(HostRefused, match="changed host key: .*another host key"):
        stranger.run("true")


def test_up_again_changes_nothing_and_does_not_boot_again(lab):
    booted = lab.web().run("cat /proc/sys/kernel/random/boot_id; stat -c %Y /run/systemd/system")
    status = lab.status()
    lab.up()
    assert lab.status() == status
    assert lab.web().run("cat /proc/sys/kernel/random/boot_id; stat -c %Y /run/systemd/system") == booted


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="pinning needs two CPUs")
def test_the_machine_and_the_load_generator_get_different_cpus(lab):
    status = lab.status()
    assert not set(status["pinned_cpus"]) & set(status["generator_cpus"])
    on_web = lab.web().run("""python3 -c "import os; print(sorted(os.sched_getaffinity(0)))" """)
    assert json.loads(on_web) == status["pinned_cpus"]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="pinning needs two CPUs")
def test_pinning_can_be_given_up_and_taken_again(other):
    assert other.up(pin=False).run("nproc").strip() == str(len(os.sched_getaffinity(0)))
    assert other.status()["pinned_cpus"] is None and other.status()["generator_cpus"] is None
    assert other.up(pin=True).run("nproc").strip() == str(len(other.status()["pinned_cpus"]))


def test_the_machine_may_open_as_many_files_as_this_computer_allows(lab):
    # Asked in a process of its own: to ask is to raise the limit.
    code = "from stacklab.labs.nspawn import highest_open_files; print(highest_open_files())"
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    most = subprocess.run(
        [*sudo, sys.executable, "-c", code], cwd=ROOT, text=True, stdout=subprocess.PIPE, check=True
    ).stdout
    assert lab.web().run("grep 'Max open files' /proc/1/limits", sudo=True).split()[4] == most.strip()


def test_load_can_come_from_client_addresses_in_sixteen_networks(lab):
    addresses = lab.status()["client_addresses"]
    assert len({address.rsplit(".", 1)[0] for address in addresses}) == 16
    for address in (addresses[0], addresses[-1]):
        with socket.create_connection((lab.status()["address"], 22), timeout=5, source_address=(address, 0)) as s:
            assert s.recv(4) == b"SSH-"


@pytest.mark.fault("two labs at once", "desk")
def test_two_labs_run_at_once_each_with_a_machine_of_its_own(lab, other):
    other.up()
    assert other.status()["address"] != lab.status()["address"]
    for mine, theirs in ((lab, other), (other, lab)):
        mine.web().run(f"touch /tmp/of-{mine.name}")
        assert theirs.web().run(f"ls /tmp | grep -c of-{mine.name}", check=False).strip() == "0"
    machine_ids = {one.web().run("cat /etc/machine-id") for one in (lab, other)}
    assert len(machine_ids) == 2
    other.destroy()
    assert lab.web().run("systemctl is-active ssh").strip() == "active"


@pytest.mark.fault("two `fab up` at once", "desk")
def test_two_commands_at_once_make_one_machine(other):
    both = [start("up", other), start("up", other)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    other.up().run("true")
    inner_pids = [nspawn._inner_pids(pid) for pid in nspawn.processes(machine_name(subnet_of(other)))]
    assert len([pids for pids in inner_pids if pids[1:] == [1]]) == 1


def test_halt_keeps_the_disk_and_up_brings_it_back(other):
    other.up().run("sudo touch /root/kept")
    other.halt()
    assert other.status()["state"] == "halted"
    with pytest.raises(LabNotRunning, match="halted.*fab up"):
        other.web()
    other.halt()
    other.up().run("sudo test -e /root/kept")


def test_destroy_leaves_nothing_and_can_be_repeated(other):
    other.up()
    subnet = subnet_of(other)
    other.destroy()
    assert left_of(other, subnet) == []
    assert other.status()["state"] == "absent"
    other.destroy()


def test_a_lab_whose_record_is_damaged_can_be_destroyed_while_it_runs(other):
    if os.geteuid() != 0:
        pytest.skip("damaging the record needs root")
    other.up()
    subnet = subnet_of(other)
    (other._machine.folder / "lab.json").write_text("{")
    with pytest.raises(LabError, match="damaged.*fab destroy"):
        other.status()
    other.destroy()
    assert left_of(other, subnet) == []


def test_destroy_does_not_delete_what_is_only_mounted_in_the_machine(other, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    other.up()
    other.halt()
    kept = tmp_path / "kept"
    kept.write_text("mine")
    subprocess.run(["mount", "--bind", tmp_path, other._machine.root / "mnt"], check=True)
    other.destroy()
    assert kept.read_text() == "mine"
    assert storage.mounts_below(other._machine.folder) == []


def test_make_clean_removes_the_labs_of_its_own_folder_and_needs_nothing_but_a_shell(lab, other, tmp_path):
    other.up()
    folder = tmp_path / "R&D (내 것) $HOME's"
    (folder / "provision").mkdir(parents=True)
    for name in ("Makefile", "provision/clean"):
        (folder / name).write_text((ROOT / name).read_text())
    for name in (".venv/bin", "results/adhoc", "build"):  # an environment that is half made
        (folder / name).mkdir(parents=True)
    (folder / ".venv/bin/python").write_text("#!/bin/sh\nexit 1\n")
    link = other._machine.folder / "checkout"
    assert link.samefile(ROOT)
    link.unlink()
    link.symlink_to(folder)
    bare = tmp_path / "bin"  # no Python to be found
    bare.mkdir()
    for tool in ("awk", "basename", "cat", "dirname", "find", "flock", "grep", "id", "ip", "kill", "make", "mkdir", "mv",
                 "readlink", "rm", "rmdir", "sed", "sh", "sleep", "sort", "umount", "xargs"):  # fmt: skip
        (bare / tool).symlink_to(shutil.which(tool, path="/usr/sbin:/usr/bin:/sbin:/bin"))
    done = subprocess.run(["make", "clean"], cwd=folder, env={"PATH": str(bare), "LC_ALL": "C"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"removing lab {other.name}" in done.stderr and lab.name not in done.stderr.split()
    assert sorted(path.name for path in folder.iterdir()) == ["Makefile", "provision", "results"]
    assert not other._machine.exists and other.status()["state"] == "absent" and lab.status()["state"] == "running"


@pytest.mark.fault("`fab up` is killed at its steps", "desk")
@pytest.mark.parametrize("seed", [0, *slowly(1, 2, 3)])
def test_up_goes_on_after_it_was_killed_anywhere(other, seed):
    process = start("up", other)
    time.sleep(random.Random(seed).uniform(0.1, 2.5))
    process.kill()
    process.wait()
    assert other.status()["state"] in ("absent", "halted", "running")
    assert other.up().run("echo whole").strip() == "whole"


@pytest.mark.fault("`fab destroy` is killed at its steps", "desk")
@pytest.mark.parametrize("seed", [0, *slowly(1)])
def test_destroy_goes_on_after_it_was_killed_anywhere(other, seed):
    other.up()
    subnet = subnet_of(other)
    process = start("destroy", other)
    time.sleep(random.Random(seed).uniform(0.1, 1.5))
    process.kill()
    process.wait()
    other.destroy()
    assert left_of(other, subnet) == []


@pytest.mark.fault("kill -9 of the machine", "desk")
def test_a_machine_whose_nspawn_was_killed_is_seen_and_booted_again(other):
    if os.geteuid() != 0:
        pytest.skip("killing root's process needs root")
    other.up()
    os.kill(nspawn.supervisor(machine_name(subnet_of(other))), signal.SIGKILL)
    assert other.up().run("echo whole").strip() == "whole"
    assert nspawn.supervisor(machine_name(subnet_of(other)))


@pytest.mark.fault("the machine powers itself off", "web")
def test_a_machine_that_powers_itself_off_counts_as_halted(other):
    host = other.up()
    try:
        host.run("systemctl poweroff", sudo=True)
    except (HostError, LabNotRunning):
        pass  # the connection may break before the command's end is told
    wait_until(lambda: other.status()["state"] == "halted", "it is halted", 20)
    other.up().run("true")


@pytest.mark.fault("disk full while the machine is made", "desk")
def test_a_disk_that_fills_up_while_the_machine_is_unpacked_is_one_clear_error(lab, monkeypatch, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    small = tmp_path / "labs"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=50m", "small", small], check=True)
    try:
        monkeypatch.setattr(storage, "LABS", small)
        monkeypatch.setattr(machine, "UNPACKED_BYTES", 0)  # as if the space went to somebody else meanwhile
        with pytest.raises(LabError, match="is full.*free some space"):
            machine.up(f"{lab.name}-full", pin=False, owner=0)
        assert ContainerLab(f"{lab.name}-full").status()["state"] == "absent"
    finally:
        subprocess.run(["umount", small], check=True)


@pytest.mark.fault("a machine that cannot boot", "web")
def test_a_machine_that_cannot_boot_is_an_error_with_its_last_words(other):
    if os.geteuid() != 0:
        pytest.skip("breaking the machine needs root")
    other.up()
    other.halt()
    (other._machine.root / "usr/lib/systemd/systemd").unlink()
    with pytest.raises(LabError, match="did not boot"):
        other.up()
    assert other.status()["state"] == "halted"


# (What would be loaded later is loaded first: this Python's own files may be closed to others.)
AS_SOMEBODY = """import encodings.idna, os, sys, fabric, paramiko, stacklab.show
from stacklab import tasks
from stacklab.labs import container, ssh, vagrant
os.setgroups([]), os.setgid(65534), os.setuid(65534)
assert not os.path.exists("/proc/1"), "it hides nothing here"
tasks.status(sys.argv[1], json=True)
"""


def test_a_lab_runs_also_where_proc_hides_other_peoples_processes(lab, tmp_path):
    """With hidepid=2 on a /proc of the test's own; by a user who has the lab's keys, and by one who has not."""
    mount = "mount -t proc -o hidepid=2 proc /proc"
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", *mount.split()], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("NO HIDEPID HERE: it takes root and a kernel that gives each /proc its own")
    command = ["unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh", sys.executable, "-c", AS_SOMEBODY, lab.name]
    environment = os.environ | {"HOME": str(tmp_path)}

    def status() -> tuple[str, str]:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        return json.loads(done.stdout)["state"] if done.stdout else "", done.stderr

    keys = (lab._machine.key_path.parent, lab._machine.key_path, lab._machine.known_hosts_path)
    owners = [path.stat().st_uid for path in keys]
    assert status()[0] == "no right to look"
    try:
        for path in keys:
            os.chown(path, 65534, -1)
        assert status() == ("running", "")
    finally:
        for path, owner in zip(keys, owners, strict=True):
            os.chown(path, owner, -1)
