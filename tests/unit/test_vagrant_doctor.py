"""`vagrant doctor`, which is in Ruby for laptops without Python: it says of a computer what `fab doctor` says."""

import dataclasses
import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from test_doctor import WINDOWS_PRINTED

from stacklab import computer, doctor, engine

ROOT = Path(__file__).resolve().parents[2]
GB = 2**30
OURS = ("stacklab-192.168.56.0-24", "192.168.56.0/24", "br-0123456789ab")
ENGINES = [
    engine.Engine(version="27.3.1", memory_bytes=16 * GB, root="/var/lib/docker", networks=(OURS,)),
    engine.Engine(version="20.10.24+dfsg1", desktop=True, memory_bytes=4 * GB, root="/var/lib/docker"),
    engine.Engine(version="20.10.24", desktop=True, memory_bytes=2 * GB, networks=(("other", "192.168.0.0/16", "br-1"),)),
    engine.Engine(version="27.3.1", memory_bytes=GB, networks=(OURS,), addresses=(("192.168.56.10", "stacklab_web_1"),)),
    engine.Engine("permission denied while trying to connect to the Docker daemon socket"),
    engine.Engine(version="19.03.15", memory_bytes=16 * GB),
]
# What a fact may be; every check meets each kind of answer among a few hundred computers.
MAY_BE = {
    "system": ["Linux", "Darwin", "Windows"],
    "architecture": ["amd64", "arm64"],
    "virtualization": [True, False, None],
    "hypervisor_takes_it": [True, False],
    "kvm": ["usable", None, "/dev/kvm: Permission denied"],
    "libvirt_driver": ["kvm", "qemu"],
    "vagrant": ["2.3.4", "2.4.9", "2.2.19"],
    "providers": [{"virtualbox": "7.1.4"}, {"libvirt": "0.12.2"}, {"parallels": "20.1.0"}, {"docker": "27.3.1"}],
    "docker": ENGINES,
    "box_url": [None, None, "https://boxes.example.org/debian-13.box"],
    "public_boxes": [frozenset(), frozenset({"bento/debian-13"})],
    "today": ["2026-12-31", "2027-01-01"],
    "network": ["192.168.56.0/24", "192.168.57.0/24"],
    "machine_memory_mb": [2048, 1280],
    "memory_bytes": [4 * GB, 8 * GB, 16 * GB],
    "memory_available_bytes": [2 * GB, 3 * GB + GB // 2, 6 * GB],
    "disk_free_bytes": [10**9, 12 * 10**9, 10**11],
    "ports": [dict(computer.FORWARDED_PORTS), {"STACKLAB_JUPYTER_PORT": 8890, "STACKLAB_SITE_PORT": 8443}],
    "ports_taken": [frozenset(), frozenset({8888}), frozenset({8888, 8443})],
    "networks": [
        (),
        (("wlan0", "192.168.1.7/255.255.255.0"),),
        (("lo", "127.0.0.1/255.0.0.0"), ("eth0", "192.168.56.20/255.255.255.0")),
        (("tun0", "192.168.0.1/255.255.0.0"),),
        (("br-0123456789ab", "192.168.56.1/255.255.255.0"),),
        *(((made.replace("*", " 1"), "192.168.56.1/255.255.255.0"),) for made in doctor.PROVIDER_INTERFACES),
    ],
    "box_files": [
        (),
        ("stacklab-1-virtualbox-amd64.box",),
        ("stacklab-1-libvirt-amd64.box", "stacklab-2-libvirt-amd64.box"),
        ("stacklab-1-docker-arm64.tar.zst",),
    ],
    "chosen_box": [None, None, "our/box", "/media/stick/stacklab-1-virtualbox-amd64.box", "other.box",
                   "stacklab-1-docker-amd64.tar.zst"],
    "chosen_box_is_missing": [True, False],
    "libvirt": ["usable", None, "Failed to connect socket"],
    "running": [frozenset(), frozenset({"web"}), frozenset({"web", "desk"})],
}
CHECKS = {"Vagrant", "virtualisation", "memory", "disk", "ports", "network", "box"}

pytestmark = pytest.mark.skipif(not shutil.which("ruby"), reason="ruby is not installed: vagrant doctor is NOT checked")


def ruby(script, given):
    """What `script`, with provision/vagrant/doctor.rb loaded, makes of `given`."""
    around = f"given = JSON.parse($stdin.read); puts JSON.generate({script})"
    done = subprocess.run(
        ["ruby", "-rjson", "-r", ROOT / "provision/vagrant/doctor.rb", "-e", around],
        input=json.dumps(given, default=sorted),
        capture_output=True,
        text=True,
        timeout=15,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def is_said_by_both(facts, finding):
    versions = "parallels" in facts.providers or "does not know VirtualBox" in finding.what
    of_provider = finding.check == "provider" and finding.state != "ok" and not versions
    return finding.check in CHECKS or of_provider


def test_both_doctors_say_the_same_of_the_same_computer():
    choose = random.Random(4)
    computers = [computer.Facts(**{name: choose.choice(answers) for name, answers in MAY_BE.items()}) for _ in range(400)]
    given = [
        {
            **dataclasses.asdict(facts),
            "provider": doctor.usable_provider(facts),
            "has_public_box": computer.PUBLIC_BOXES.get(doctor.usable_provider(facts)) in facts.public_boxes,
        }
        for facts in computers
    ]
    said = ruby("given.map { |facts| StackLab::Diagnosis.of(facts).map(&:to_a) }", given)
    for facts, findings in zip(computers, said, strict=True):
        # Versions and plugins are asked of Vagrant itself, so of a provider only what is not well is the same.
        same = [(check, *rest) for check, *rest in findings if check in CHECKS or rest[0] != "ok"]
        expected = [dataclasses.astuple(each) for each in doctor.diagnose(facts) if is_said_by_both(facts, each)]
        assert same == expected, facts


def test_what_cannot_be_known_is_a_warning_and_not_a_crash():
    unknown = {**dataclasses.asdict(computer.Facts(vagrant="2.4.9")), "provider": "virtualbox", "virtualization": None}
    unknown |= {"memory_bytes": None, "memory_available_bytes": None, "disk_free_bytes": None}
    said = ruby("StackLab::Diagnosis.of(given).map(&:to_a)", unknown)
    assert [check for check, state, *_ in said if state == "warn"] == ["virtualisation", "memory", "disk", "box"]


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
    assert ruby("StackLab::Computer::WINDOWS_NETWORKS", None).strip() == computer.WINDOWS_NETWORKS.strip()
    assert ruby("StackLab::Computer.windows_networks(given)", WINDOWS_PRINTED) == [
        list(each) for each in computer.windows_networks(WINDOWS_PRINTED)
    ]


def test_a_command_that_hangs_or_is_missing_is_no_answer():
    hangs, missing = ruby(
        "[StackLab::Computer.output('sleep', '20', timeout_s: 0.2), StackLab::Computer.output('no-such-program')]", None
    )
    assert hangs is None and missing is None


def test_a_provider_that_cannot_be_used_is_named_and_the_rest_is_looked_at_too():
    faulty = {"provider": "virtualbox", "provider_fault": "no provider can be used."}
    facts = {**dataclasses.asdict(computer.Facts(vagrant="2.4.9")), **faulty}
    said = ruby("StackLab::Diagnosis.of(given).map(&:to_a)", facts)
    assert said[1][:3] == ["provider", "fail", "no provider can be used."]
    assert {check for check, *_ in said} == CHECKS | {"provider"}


@pytest.mark.skipif(not shutil.which("vagrant"), reason="vagrant is not installed: vagrant doctor is NOT run")
def test_vagrant_doctor_looks_at_this_computer(tmp_path):
    folders = {"VAGRANT_HOME": str(tmp_path), "VAGRANT_DOTFILE_PATH": str(tmp_path / "dot")}
    done = subprocess.run(
        ["vagrant", "doctor"],
        cwd=ROOT,
        env={**os.environ, **folders, "STACKLAB_SITE_PORT": "8449"},
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1), done.stderr
    said = done.stdout + done.stderr
    assert "port 8449 for the site" in said and all(f" {check}: " in said for check in CHECKS | {"provider"})
