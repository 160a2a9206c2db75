"""The parts of the container lab that need no root: networks, CPUs, keys, files, processes."""

import os
import re
import signal
import socket
import subprocess
import sys
from ipaddress import IPv4Address, IPv4Network

import paramiko
import pytest
from here import wait_until

from stacklab.errors import LabError
from stacklab.files import write_json
from stacklab.labs import image, keys, machine, network, nspawn, storage
from stacklab.labs.network import SUBNETS, Subnet, free_subnet


@pytest.fixture
def state(monkeypatch, tmp_path):
    """A state folder of the test's own."""
    for name in ("IMAGES", "LABS", "REMOVED", "LOCKS"):
        monkeypatch.setattr(storage, name, tmp_path / name.lower())
    monkeypatch.setattr(storage, "STATE", tmp_path)
    storage.LABS.mkdir()
    return tmp_path


def test_each_lab_has_a_subnet_of_its_own():
    assert [str(Subnet(n).network) for n in (0, 1, 15)] == ["10.83.0.0/20", "10.83.16.0/20", "10.83.240.0/20"]
    assert Subnet(1).host_address == "10.83.16.1" and Subnet(1).web_address == "10.83.16.2"


@pytest.mark.parametrize("index", range(16))
def test_client_addresses_fill_sixteen_networks_of_the_lab_and_meet_nobody(index):
    subnet = Subnet(index)
    addresses = [IPv4Address(address) for address in subnet.client_addresses]
    assert all(address in subnet.network for address in addresses)
    assert len(set(addresses)) == len(addresses)
    assert not {subnet.host_address, subnet.web_address} & set(subnet.client_addresses)
    by_net = [IPv4Network((address, 24), strict=False) for address in addresses]
    assert len(set(by_net)) == 16
    assert by_net.count(IPv4Network(f"{subnet.network.network_address}/24")) == 30


def test_a_subnet_that_a_lab_or_this_computer_uses_is_passed_over():
    used = {IPv4Network("10.83.18.0/24"): "eth1", IPv4Network("10.83.32.0/20"): "tun0"}
    assert free_subnet({0}, used).index == 3


def test_a_wide_route_of_a_vpn_does_not_take_every_subnet():
    assert free_subnet(set(), {IPv4Network("10.0.0.0/8"): "tun0"}).index == 0
    assert Subnet(0).clash({IPv4Network("10.83.0.0/16"): "tun0"}) == "tun0"


def test_a_lab_does_not_clash_with_its_own_cable():
    assert Subnet(4).clash({Subnet(4).network: Subnet(4).interface}) is None


def test_when_every_subnet_is_taken_the_message_says_what_to_do():
    with pytest.raises(LabError, match="no network is left.*fab destroy"):
        free_subnet(set(range(len(SUBNETS))), {})


def test_a_new_lab_takes_no_network_of_another_whatever_became_of_that_ones_record(state, monkeypatch):
    records = {"whole": '{"index": 0}', "old": '{"format": 0, "index": 1}', "odd": "{}", "broken": "{", "gone": ""}
    for name, record in records.items():
        (storage.LABS / name).mkdir()
        if record:
            (storage.LABS / name / "lab.json").write_text(record)
    broken = machine.Machine("broken").root
    monkeypatch.setattr(nspawn, "boots", lambda name, root: (name, root) == (Subnet(2).interface, broken))
    monkeypatch.setattr(network, "used_networks", dict)
    assert machine._reserve(machine.Machine("new"))["index"] == 3


def test_the_name_of_the_cable_is_not_one_that_systemd_networkd_would_take():
    for index in range(16):
        name = Subnet(index).interface
        assert not name.startswith("ve-") and len(name) < 16


def test_a_cable_that_is_plugged_in_between_two_looks_is_looked_at_again(monkeypatch):
    def not_there_yet(*_, **__):
        raise LabError('cannot give stacklab15 its addresses: Cannot find device "stacklab15"')

    monkeypatch.setattr(network, "run", not_there_yet)
    monkeypatch.setattr(network, "exists", lambda subnet: True)
    assert network.configure(Subnet(15)) is False


def test_a_cable_that_goes_while_it_gets_its_addresses_is_no_error_of_its_own(monkeypatch):
    def refused(command, complaint, **kwargs):
        raise LabError("Device not found")

    monkeypatch.setattr(network, "run", refused)
    assert network.configure(Subnet(15)) is False  # its machine died: whoever waits for the machine says why
    monkeypatch.setattr(Subnet, "interface", "lo")
    with pytest.raises(LabError, match="Device not found"):
        network.configure(Subnet(15))


def test_the_machines_network_file_comes_before_systemds_own():
    (path,) = [path for path in network.machine_files(Subnet(0)) if path.endswith(".network")]
    assert path.rsplit("/", 1)[1] < "80-container-host0.network"


def test_a_new_key_is_one_that_ssh_reads_and_never_the_same_twice(tmp_path):
    private, public = keys.new_key("a lab")
    (tmp_path / "key").write_text(private)
    read = paramiko.Ed25519Key.from_private_key_file(str(tmp_path / "key"))
    assert public == f"{read.get_name()} {read.get_base64()} a lab\n"
    assert keys.new_key("a lab")[0] != private


def test_the_image_is_another_one_when_any_ingredient_changes(monkeypatch, tmp_path):
    ingredients = []
    for path in image.INGREDIENTS:
        ingredients.append(tmp_path / path.name.replace(".", f"-{len(ingredients)}."))
        ingredients[-1].write_bytes(path.read_bytes())
    monkeypatch.setattr(image, "INGREDIENTS", tuple(ingredients))
    names = {image.image_name()}
    assert {image.image_name()} == names
    for path in ingredients:
        path.write_bytes(path.read_bytes() + b"\n# changed")
        names.add(image.image_name())
    assert len(names) == 1 + len(ingredients)


def test_only_the_images_used_last_are_kept(state):
    storage.IMAGES.mkdir()
    for age in range(5):
        path = storage.IMAGES / f"web-{age}.tar"
        path.touch()
        os.utime(path, (1000 - age, 1000 - age))
    image._forget_old()
    assert sorted(path.name for path in storage.IMAGES.iterdir()) == ["web-0.tar", "web-1.tar", "web-2.tar"]


def test_a_whole_image_is_not_built_again(state, monkeypatch):
    storage.IMAGES.mkdir()
    image.image_path(image.image_name()).touch()
    monkeypatch.setattr(image, "_build", lambda name: pytest.fail("built"))
    assert image.ensure_image() == image.image_name()


def test_a_build_that_fails_or_was_killed_leaves_no_image(state, monkeypatch, tmp_path):
    build = tmp_path / "build"
    build.write_text("#!/bin/sh\necho half > $1\necho 'E: no such package: nginz' >&2\nexit 1\n")
    build.chmod(0o755)
    monkeypatch.setattr(image, "BUILD", build)
    with pytest.raises(LabError, match="cannot build the base image: E: no such package: nginz"):
        image.ensure_image()
    assert list(storage.IMAGES.glob("*.tar")) == []
    build.write_text("#!/bin/sh\n[ ! -e $TMPDIR/root.tar ] && echo whole > $1\n")
    assert image.image_path(image.ensure_image()).read_text() == "whole\n"
    assert not (storage.IMAGES / "building").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("W: GPG error: trixie InRelease: not available: NO_PUBKEY 6ED0E7B82643E131", "keyring.*apt-get install debian-archive"),
        ("E: Release file for dists/trixie/InRelease is expired (invalid since 19d)", "mirror .* lags behind.*'date'"),
        ("E: The repository 'debian trixie Release' does not have a Release file.", "no longer has that suite.*image/build"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "requirements.lock.*make lock"),
        ("ERROR: No matching distribution found for daphne==4.2.1", "requirements.lock.*make lock"),
        ("SSLError(CERTIFICATE_VERIFY_FAILED) ... ERROR: No matching distribution found for daphne", "update-ca-certificates"),
        ("E: Could not connect to the mirror", "no network"),
        ("E: no such package: nginz", "cannot build the base image"),
    ],
)
def test_a_source_that_no_longer_gives_what_it_gave_is_named_with_how_to_refresh(words, line, state, monkeypatch, tmp_path):
    build = tmp_path / "build"
    build.write_text(f'#!/bin/sh\necho "{words}" >&2\nexit 1\n')
    build.chmod(0o755)
    monkeypatch.setattr(image, "BUILD", build)
    with pytest.raises(LabError) as caught:
        image.ensure_image()
    assert re.search(line, str(caught.value).splitlines()[0])
    assert words in str(caught.value)


def test_too_little_room_is_said_before_anything_is_done(state):
    with pytest.raises(LabError, match=r"full \(a machine needs .* GB.*free some space"):
        storage.require_free(10**18, "a machine")


def test_a_program_that_finds_no_room_is_told_apart_from_other_failures(tmp_path):
    with pytest.raises(LabError, match="is full.*free some space"):
        storage.run(["sh", "-c", "echo 'tar: x: Cannot write: No space left on device' >&2; exit 2"], "cannot unpack")
    with pytest.raises(LabError, match="cannot unpack: broken"):
        storage.run(["sh", "-c", "echo broken >&2; exit 2"], "cannot unpack")


def test_a_record_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "lab.json"
    write_json(path, {"a": 1})
    with open(path) as reader_of_the_old:
        write_json(path, {"a": 2})
        assert '"a": 1' in reader_of_the_old.read()
    assert storage.read_json(path) == {"a": 2}
    assert [p.name for p in tmp_path.iterdir()] == ["lab.json"]


def test_mounts_in_a_folder_are_found_the_deepest_first(monkeypatch, tmp_path):
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(
        "1 0 8:1 / / rw - ext4 /dev/a rw\n"
        "2 1 0:1 / /labs/a rw - tmpfs tmpfs rw\n"
        "3 2 0:2 / /labs/a/root/with\\040blank rw - tmpfs tmpfs rw\n"
        "4 1 0:3 / /labs/ab rw - tmpfs tmpfs rw\n"
    )
    monkeypatch.setattr(storage, "MOUNTINFO", mountinfo)
    found = storage.mounts_below(storage.Path("/labs/a"))
    assert [str(path) for path in found] == ["/labs/a/root/with blank", "/labs/a"]


def test_what_was_half_removed_is_no_lab_and_goes_with_the_next_removal(state):
    lab = machine.Machine("gone")
    (storage.REMOVED / "gone" / "machine").mkdir(parents=True)
    assert lab.exists and lab.record() == {}
    storage.discard(lab.folder)
    assert not lab.exists


HOLD = """
import os, signal, sys, time
from pathlib import Path
from stacklab.labs import storage
storage.LOCKS = Path(sys.argv[1])
with storage.locked("lab-x"):
    print("held", flush=True)
    storage.run(["sh", "-c", 'cd "$0"; touch begun; until [ -e enough ]; do sleep 0.05; done; touch done', sys.argv[2]], "cannot")
"""


@pytest.fixture
def holder(state, tmp_path, monkeypatch):
    """A process that works under a lock until somebody says that he waits for it; `begun` and `done` in tmp_path tell how far."""

    def waits(words: str, say=storage.say) -> None:
        say(words)
        (tmp_path / "enough").touch()

    monkeypatch.setattr(storage, "say", waits)
    command = [sys.executable, "-c", HOLD, str(storage.LOCKS), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            wait_until((tmp_path / "begun").exists, "its work has begun")
            yield process
        finally:
            (tmp_path / "enough").touch()


def test_a_second_command_waits_for_the_first_and_says_so(holder, tmp_path, capfd):
    with storage.locked("lab-x"):
        assert (tmp_path / "done").exists()
    assert holder.wait() == 0
    assert "waiting for another command" in capfd.readouterr().err


def test_work_that_outlives_its_killed_parent_still_keeps_others_out(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert not (tmp_path / "done").exists()
    with storage.locked("lab-x"):
        assert (tmp_path / "done").exists()


def test_what_is_started_gets_no_descriptor_beyond_the_usual_three_and_finds_nothing_to_read(state):
    with storage.locked("lab-x"), storage.locked("images"):
        look = "cat; for n in $(seq 0 20); do [ ! -e /proc/$$/fd/$n ] || echo $n; done"
        assert storage.run(["sh", "-c", look], "cannot look").split() == ["0", "1", "2"]


def test_a_machine_that_died_did_not_boot_whoever_answers_in_its_place(monkeypatch):
    monkeypatch.setattr(nspawn, "processes", lambda name: set())
    with pytest.raises(LabError, match="did not boot"):
        machine._wait(machine.Machine("dead"), Subnet(15), "does not answer on SSH", lambda: True)


def test_only_the_machine_at_the_end_of_the_cable_is_asked(monkeypatch):
    asked = []
    monkeypatch.setattr(machine.socket, "create_connection", lambda *args, **kwargs: asked.append(kwargs) or socket.socket())
    assert machine._answers(Subnet(1))
    assert asked[0]["source_address"] == ("10.83.16.1", 0)


MOUNTS = {
    "v2": "1 0 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
    "hybrid": (
        "1 0 0:1 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
        "2 0 0:2 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
        "3 0 0:3 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    ),
    "none": "1 0 8:1 / / rw - ext4 /dev/a rw\n",
}


@pytest.mark.parametrize(
    ("mounts", "systemd", "expected"),
    [
        ("v2", False, ["/sys/fs/cgroup/stacklab0"]),
        ("v2", True, ["/sys/fs/cgroup/system.slice/stacklab0.service"]),
        ("hybrid", False, ["/sys/fs/cgroup/systemd/stacklab0", "/sys/fs/cgroup/unified/stacklab0"]),
        ("none", False, []),
    ],
)
def test_the_machines_cgroups_are_found_on_every_kind_of_computer(monkeypatch, tmp_path, mounts, systemd, expected):
    (tmp_path / "mountinfo").write_text(MOUNTS[mounts])
    monkeypatch.setattr(nspawn, "MOUNTINFO", tmp_path / "mountinfo")
    monkeypatch.setattr(nspawn, "SYSTEMD", tmp_path if systemd else tmp_path / "nowhere")
    assert [str(path) for path in nspawn.cgroups("stacklab0")] == expected


def test_the_processes_of_a_machine_are_those_in_its_cgroup_and_below(monkeypatch, tmp_path):
    service = tmp_path / "stacklab0" / "payload" / "system.slice"
    service.mkdir(parents=True)
    (tmp_path / "stacklab0" / "cgroup.procs").write_text("")
    (service / "cgroup.procs").write_text(f"{os.getpid()}\n")
    monkeypatch.setattr(nspawn, "cgroups", lambda name: [tmp_path / name])
    assert nspawn.processes("stacklab0") == {os.getpid()}
    assert nspawn.leader("stacklab0") is None  # this process is nobody's PID 1
    assert nspawn.processes("stacklab1") == set()


def test_a_computer_without_cgroups_is_pointed_to_vagrant(monkeypatch, tmp_path):
    monkeypatch.setattr(nspawn, "cgroups", lambda name: [])
    with pytest.raises(LabError, match="no cgroup filesystem.*vagrant up"):
        nspawn._start_process("stacklab0", ["true"], tmp_path / "console")


def test_a_machine_whose_processes_are_hidden_from_us_runs_all_the_same(monkeypatch):
    monkeypatch.setattr(nspawn, "processes", lambda machine: {2**22 + 1, 2**22 + 2})  # no such process can be seen
    assert nspawn.leader("stacklab0") is None and nspawn.runs("stacklab0")
    monkeypatch.setattr(nspawn, "processes", lambda machine: {os.getpid()})  # ours, which is nobody's PID 1
    assert not nspawn.runs("stacklab0")
    monkeypatch.setattr(nspawn, "processes", lambda machine: set())
    assert not nspawn.runs("stacklab0")
