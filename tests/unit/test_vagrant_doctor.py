"""`vagrant doctor`, which is in Ruby for laptops without Python: what it says of a computer, from facts given to it."""

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GB = 2**30
GOOD = {
    "vagrant": "2.4.9", "provider": "virtualbox", "provider_fault": None, "system": "Linux", "architecture": "amd64",
    "virtualization": True, "hypervisor_takes_it": False, "kvm": None, "libvirt": None, "libvirt_driver": "kvm",
    "machine_memory_mb": 2048, "memory_bytes": 16 * GB, "memory_available_bytes": 12 * GB, "disk_free_bytes": 10**11,
    "ports": {"STACKLAB_JUPYTER_PORT": 8888, "STACKLAB_SITE_PORT": 8443}, "ports_taken": [], "network": "192.168.56.0/24",
    "networks": [["wlan0", "192.168.1.7/255.255.255.0"]], "docker": None, "box_files": [], "chosen_box": None,
    "chosen_box_is_missing": False, "box_url": None, "has_public_box": True, "today": "2026-11-25", "running": [],
}  # fmt: skip
LIBVIRT = {"provider": "libvirt", "libvirt": "usable", "kvm": "usable"}
CHECKS = {"Vagrant", "provider", "virtualisation", "memory", "disk", "ports", "network", "box"}

pytestmark = pytest.mark.skipif(not shutil.which("ruby"), reason="ruby is not installed: vagrant doctor is NOT checked")


def ruby(script, given=None, **environment):
    """What `script`, with provision/vagrant/doctor.rb loaded, makes of `given`."""
    around = f"given = JSON.parse($stdin.read); puts JSON.generate({script})"
    done = subprocess.run(
        [shutil.which("ruby"), "-rjson", "-r", ROOT / "provision/vagrant/doctor.rb", "-e", around],
        input=json.dumps(given), env=os.environ | environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def said(*computers):
    """Of each computer, given as what it has otherwise than GOOD: [[check, state, what, what to do]]."""
    return ruby("given.map { |facts| StackLab::Diagnosis.of(facts).map(&:to_a) }", [GOOD | each for each in computers])


def only(check, *computers):
    """What is said of that alone, of each computer: (state, what, what to do)."""
    found = [[tuple(rest) for of, *rest in findings if of == check] for findings in said(*computers)]
    assert all(len(each) == 1 for each in found)
    return [each for (each,) in found]


def states(check, *computers):
    return [state for state, *_ in only(check, *computers)]


def by_docker(**engine):
    """A computer whose provider is Docker, with an engine that has these things otherwise than a good one."""
    good = {"fault": None, "version": "27.3.1", "desktop": False, "memory_bytes": 16 * GB, "root": "/var/lib/docker"}
    return {"provider": "docker", "docker": good | {"networks": [], "addresses": []} | engine}


def test_a_good_laptop_gets_only_ok():
    for findings in said({}, LIBVIRT, by_docker(), {"system": "Darwin", "architecture": "arm64"}, {"system": "Windows"}):
        assert {check for check, *_ in findings} == CHECKS and {state for _, state, *_ in findings} == {"ok"}


def test_whatever_is_not_ok_says_what_to_do():
    worst = {
        "vagrant": "2.2.0", "provider_fault": "no provider can be used.", "virtualization": False, "memory_bytes": 4 * GB,
        "memory_available_bytes": GB, "disk_free_bytes": 10**9, "ports_taken": [8888, 8443], "has_public_box": False,
        "networks": [["eth0", "192.168.56.7/24"]], "box_files": ["stacklab-1-libvirt-arm64.box"], "today": "2027-01-01",
    }  # fmt: skip
    (findings,) = said(worst)
    assert {check for check, state, *_ in findings if state == "fail"} == CHECKS
    assert all(todo for _, state, _, todo in findings if state != "ok")
    assert findings[1][2] == "no provider can be used."


def test_apple_silicon_needs_a_vagrant_that_knows_it_unless_docker_runs_the_machines():
    apple = {"system": "Darwin", "architecture": "arm64", "vagrant": "2.3.7"}
    assert states("Vagrant", apple, apple | {"vagrant": "2.4.0"}, apple | by_docker()) == ["fail", "ok", "ok"]


def test_kvm_that_is_there_and_refuses_is_a_failure_with_the_way_out():
    ways = {"kvm": None}, {"kvm": "/dev/kvm: Permission denied"}, {"virtualization": False}  # Debian's kernels hang in the last
    for state, _, todo in only("virtualisation", *(LIBVIRT | each for each in ways)):
        assert state == "fail" and "STACKLAB_LIBVIRT_DRIVER=qemu" in todo
    assert states("virtualisation", LIBVIRT | {"kvm": None, "libvirt_driver": "qemu"}) == ["warn"]


def test_virtualbox_is_told_who_else_has_the_processor():
    (findings,) = said({"kvm": "usable"})
    assert [state for check, state, *_ in findings if check == "provider"] == ["ok", "warn"]
    windows = {"system": "Windows", "hypervisor_takes_it": True}
    assert states("virtualisation", windows, {"virtualization": None}, {"virtualization": False}) == ["warn", "warn", "fail"]


def test_a_provider_that_does_not_answer_is_a_failure():
    (fault,) = only("provider", LIBVIRT | {"libvirt": "Failed to connect socket"})
    assert fault[0] == "fail" and "Failed to connect socket" in fault[1] and "adduser" in fault[2]


def test_memory_is_judged_by_what_is_free_and_by_what_could_be():
    small = {"memory_bytes": 4 * GB, "memory_available_bytes": 3 * GB + GB // 2}
    eight = [{"memory_bytes": 8 * GB, "memory_available_bytes": free * GB} for free in (6, 3)]
    assert states("memory", *eight, small, small | {"machine_memory_mb": 1280}) == ["ok", "warn", "fail", "ok"]
    desktops = (by_docker(desktop=True, memory_bytes=have) for have in (2 * GB, 4 * 10**9))  # of 4 GiB it tells a little less
    assert states("memory", *desktops, by_docker(memory_bytes=GB)) == ["fail", "ok", "ok"]


def test_a_taken_port_names_the_variable_that_moves_it():
    taken = {"ports_taken": [8888]}
    here, on_windows, moved = said(
        taken, taken | {"system": "Windows"}, taken | {"ports": {"STACKLAB_JUPYTER_PORT": 8889, "STACKLAB_SITE_PORT": 8443}}
    )
    assert ["export STACKLAB_JUPYTER_PORT=8889" in todo for check, state, _, todo in here if state == "fail"] == [True]
    assert ["$env:STACKLAB_JUPYTER_PORT = 8889" in todo for check, state, _, todo in on_windows if state == "fail"] == [True]
    assert {state for _, state, *_ in moved} == {"ok"}


def test_what_a_running_machine_has_taken_is_the_labs_own():
    short = {"ports_taken": [8888, 8443], "memory_available_bytes": 0, "disk_free_bytes": 0}
    both, web = said(short | {"running": ["web", "desk"]}, short | {"running": ["web"]})
    assert {state for _, state, *_ in both} == {"ok"}
    assert [what for check, state, what, _ in web if state != "ok"] == [
        "0.0 GB of 17.2 GB free; the other machine takes 2.1 GB",
        "port 8888, for JupyterLab, is taken by another program, or kept by the system",
    ]


NETWORKS = [
    ("eth0", "192.168.56.20/24", "fail"),
    ("tun0", "192.168.0.1/255.255.0.0", "fail"),
    ("eth0", "192.168.57.20/24", "ok"),
    *((made, "192.168.56.1/24", "ok") for made in (
        "vboxnet0", "VirtualBox Host-Only Network", "virbr2", "vmnet8", "VMware 1", "bridge100", "vnic0", "Parallels 1",
    )),
]  # fmt: skip


def test_a_network_that_overlaps_with_the_machines_is_a_failure():
    computers = ({"networks": [["lo", "127.0.0.1/8"], [name, address]]} for name, address, _ in NETWORKS)
    assert states("network", *computers) == [state for *_, state in NETWORKS]


def test_a_network_or_an_address_that_docker_has_given_away_is_named():
    ours = ["stacklab-192.168.56.0-24", "192.168.56.0/24", "br-0123456789ab"]
    at = {"networks": [["br-0123456789ab", "192.168.56.1/24"]]}
    fine, desktop, virtualbox, other, second = only(
        "network", by_docker(networks=[ours]) | at, by_docker(desktop=True) | at,
        by_docker() | {"networks": [["vboxnet0", "192.168.56.1/24"]]}, by_docker(networks=[["else", "192.168.0.0/16", "br-1"]]),
        by_docker(networks=[ours], addresses=[["192.168.56.11", "copy_desk_17"]]),
    )  # fmt: skip
    assert fine[0] == desktop[0] == "ok"
    assert "vboxnet0" in virtualbox[1] and "STACKLAB_NETWORK=192.168.57" in virtualbox[2]
    assert "Docker's network else" in other[1] and "copy_desk_17" in second[1]


def test_what_is_amiss_with_an_engine_is_said_in_its_own_words_or_with_its_version():
    stopped = by_docker(fault="Cannot connect to the Docker daemon")
    here, on_a_mac, old = only("provider", stopped, stopped | {"system": "Darwin"}, by_docker(version="19.03.15"))
    assert "Cannot connect" in here[1] and "adduser" in here[2] and on_a_mac[2].startswith("Start Docker Desktop")
    assert old[0] == "fail" and "19.03.15 is older" in old[1]


def test_docker_needs_neither_box_nor_virtualisation():
    (findings,) = said(by_docker() | {"virtualization": False, "today": "2027-01-12", "has_public_box": False})
    assert {state for _, state, *_ in findings} == {"ok"}


def test_a_box_for_another_provider_or_architecture_does_not_count():
    fits, other, another = ({"has_public_box": False, "box_files": [f"stacklab-1-{kind}.box"]} for kind in (
        "virtualbox-amd64", "virtualbox-arm64", "libvirt-amd64"
    ))  # fmt: skip
    assert states("box", fits, other, another) == ["ok", "warn", "warn"]


def test_a_chosen_box_must_be_there_and_fit():
    boxes = ["our/box", "/stick/stacklab-1-virtualbox-amd64.box", "/stick/stacklab-1-virtualbox-arm64.box"]
    missing = {"chosen_box": "/stick/typo.box", "chosen_box_is_missing": True}
    assert states("box", *({"chosen_box": box} for box in boxes), missing) == ["ok", "ok", "fail", "fail"]


def test_the_end_of_the_registry_is_told_with_its_date_and_what_to_do_instead():
    none = {"has_public_box": False}
    before, after, ours = only("box", *(none | each for each in (
        {"today": "2026-12-31"}, {"today": "2027-01-01"},
        {"today": "2027-01-01", "box_url": "https://boxes.example.org/debian-13.box"},
    )))  # fmt: skip
    assert (before[0], after[0], ours[0]) == ("warn", "fail", "ok")
    assert all("2026-12-31" in what and "vagrant up --provider=docker" in todo for _, what, todo in (before, after))


def test_what_cannot_be_known_is_a_warning_and_not_a_crash():
    unknown = dict.fromkeys(("virtualization", "memory_bytes", "memory_available_bytes", "disk_free_bytes"))
    (findings,) = said(unknown)
    assert [check for check, state, *_ in findings if state == "warn"] == ["virtualisation", "memory", "disk"]


def test_memory_is_read_from_what_each_system_prints():
    meminfo = "MemTotal:        8000000 kB\nMemFree:  1 kB\nMemAvailable:    5000000 kB\n"
    assert ruby("StackLab::Computer.linux_memory(given)", meminfo) == [8_192_000_000, 5_120_000_000]
    vm_stat = (
        "Mach Virtual Memory Statistics: (page size of 16384 bytes)\n"
        "Pages free:                               10000.\n"
        "Pages active:                            200000.\n"
        "Pages inactive:                          100000.\n"
    )
    assert ruby("StackLab::Computer.mac_memory(*given)", ["17179869184", vm_stat]) == [16 * GB, 110_000 * 16384]
    assert ruby("StackLab::Computer.mac_memory(*given)", [None, None]) == [None, None]


def test_what_other_systems_print_is_read_and_an_empty_answer_is_none():
    df = "Filesystem 1024-blocks Used Available Capacity Mounted on\nmap auto_home 100 20 80 20% /Users/Zo\u00eb\n"
    assert ruby("StackLab::Computer.free_of(given)", df) == 80 * 1024
    assert ruby("StackLab::Computer.free_of(given)", None) is None
    assert ruby("StackLab::Computer.windows_memory(given)", "8000000\r\n5000000") == [8_192_000_000, 5_120_000_000]
    windows = (
        "Intel(R) Wi-Fi 6 AX201|192.168.1.7|255.255.255.0\r\nIntel(R) Wi-Fi 6 AX201|fe80::1|64\r\n"
        "VirtualBox Host-Only Ethernet Adapter|192.168.56.1|255.255.255.0\r\n"
    )
    networks = ruby("StackLab::Computer.windows_networks(given)", windows)
    assert networks == [
        ["Intel(R) Wi-Fi 6 AX201", "192.168.1.7/255.255.255.0"],
        ["VirtualBox Host-Only Ethernet Adapter", "192.168.56.1/255.255.255.0"],
    ]
    assert states("network", {"system": "Windows", "networks": networks}) == ["ok"]


def test_a_command_that_hangs_or_is_missing_is_no_answer():
    hangs, missing = ruby(
        "[StackLab::Computer.output('sleep', '20', timeout_s: 0.2), StackLab::Computer.output('no-such-program')]", None
    )
    assert hangs is None and missing is None


def test_a_port_is_taken_whichever_address_the_other_program_listens_on():
    taken = "given.map { |port| StackLab::Computer.new('', {}, 0, '').send(:taken?, port) }"
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("", 0)) as other:
        ports = [each.getsockname()[1] for each in (one, other)]
        assert ruby(taken, ports) == [True, True]
    assert ruby(taken, [*ports, 65536]) == [False, False, True]


def test_an_engine_is_asked_and_its_silence_told(tmp_path):
    assert ruby("StackLab::Engine.facts(given)", str(tmp_path), PATH=str(tmp_path)) is None
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\necho 'Cannot connect to it' >&2; exit 1\n")
    program.chmod(0o755)
    assert ruby("StackLab::Engine.facts(given)", str(tmp_path), PATH=str(tmp_path))["fault"] == "Cannot connect to it"


@pytest.mark.skipif(not shutil.which("vagrant"), reason="vagrant is not installed: vagrant doctor is NOT run")
def test_vagrant_doctor_looks_at_this_computer(tmp_path):
    variables = {"VAGRANT_HOME": str(tmp_path), "VAGRANT_DOTFILE_PATH": str(tmp_path / "dot"), "STACKLAB_SITE_PORT": "8449"}
    told, asked = (
        subprocess.run(["vagrant", "doctor", *words], cwd=ROOT, env=os.environ | variables, capture_output=True, text=True)
        for words in ([], ["--json"])
    )
    assert told.returncode == asked.returncode and told.returncode in (0, 1), told.stderr
    findings, lines = json.loads(asked.stdout), told.stdout + told.stderr
    assert {each["check"] for each in findings} == CHECKS and "port 8449 for the site" in lines
    assert all(f"{each['state'].upper():<5} {each['check']}: " in lines for each in findings)
