"""`stacklab.doctor`: what it says of a computer, from facts given to it."""

import dataclasses
import re
import socket
from pathlib import Path

import pytest

from stacklab import computer, doctor, engine
from stacklab.computer import Facts
from stacklab.doctor import diagnose
from stacklab.errors import SettingsError

ROOT = Path(__file__).resolve().parents[2]
GOOD = Facts(
    vagrant="2.4.9",
    providers={"virtualbox": "7.1.4"},
    networks=(("wlan0", "192.168.1.7/24"),),
    public_boxes=frozenset({"bento/debian-13"}),
)


def found(check, facts):
    """The findings of one check, as {(state, what and do)}."""
    return [finding for finding in diagnose(facts) if finding.check == check]


def the(check, facts):
    (finding,) = found(check, facts)
    return finding


def with_(**changes):
    return dataclasses.replace(GOOD, **changes)


def test_a_good_laptop_gets_only_ok():
    assert {finding.state for finding in diagnose(GOOD)} == {"ok"}


def test_whatever_is_not_ok_says_what_to_do():
    worst = Facts(
        vagrant="2.2.0",
        providers={"virtualbox": "7.2.0"},
        virtualization=False,
        memory_bytes=4 * 2**30,
        memory_available_bytes=2**30,
        disk_free_bytes=10**9,
        ports_taken=frozenset({8888, 8443}),
        networks=(("eth0", "192.168.56.7/24"),),
        box_files=("stacklab-1-libvirt-arm64.box",),
    )
    findings = diagnose(worst)
    assert {finding.check for finding in findings if finding.state == "fail"} == {
        "Vagrant",
        "provider",
        "virtualisation",
        "memory",
        "disk",
        "ports",
        "network",
    }
    assert all(finding.do for finding in findings if finding.state != "ok")


def test_without_vagrant_linux_is_pointed_to_the_container_lab():
    assert "make lab" in the("Vagrant", with_(vagrant=None)).do
    assert "make lab" not in the("Vagrant", with_(vagrant=None, system="Windows")).do


def test_without_a_provider_the_advice_fits_the_system():
    assert "libvirt" in the("provider", with_(providers={})).do
    assert "Parallels" in the("provider", with_(providers={}, system="Darwin")).do


@pytest.mark.parametrize(
    ("virtualbox", "vagrant", "state"),
    [
        ("6.1.50", "2.3.4", "ok"),
        ("7.0.20", "2.3.4", "ok"),
        ("7.1.4", "2.4.1", "fail"),
        ("7.1.4", "2.4.2", "ok"),
        ("7.2.0", "2.4.8", "fail"),
        ("7.2.0", "2.4.9", "ok"),
        ("8.0.0", "2.4.9", "warn"),
    ],
)
def test_vagrant_must_know_the_series_of_virtualbox(virtualbox, vagrant, state):
    assert the("provider", with_(providers={"virtualbox": virtualbox}, vagrant=vagrant)).state == state


def test_apple_silicon_needs_a_virtualbox_and_a_vagrant_that_know_it():
    apple = with_(system="Darwin", architecture="arm64")
    assert the("provider", apple).state == "ok"
    assert the("provider", dataclasses.replace(apple, providers={"virtualbox": "7.0.20"})).state == "fail"
    assert the("Vagrant", dataclasses.replace(apple, vagrant="2.3.7")).state == "fail"


def test_a_provider_whose_plugin_is_missing_is_named_with_the_command():
    mac = with_(system="Darwin", providers={"parallels": "20.1.0"})
    assert "vagrant plugin install vagrant-parallels" in the("provider", mac).do
    assert the("provider", dataclasses.replace(mac, vagrant_plugins=frozenset({"vagrant-parallels"}))).state == "ok"


def test_the_chosen_provider_goes_before_vagrants_order():
    both = with_(providers={"virtualbox": "7.1.4", "libvirt": "0.12.2"})
    assert doctor.usable_provider(both) == "virtualbox"
    assert doctor.usable_provider(dataclasses.replace(both, chosen_provider="libvirt")) == "libvirt"
    absent = dataclasses.replace(both, chosen_provider="parallels")
    assert "VAGRANT_DEFAULT_PROVIDER=parallels" in the("provider", absent).what and the("provider", absent).state == "fail"


LIBVIRT = with_(providers={"libvirt": "0.12.2"}, libvirt="usable", kvm="usable")


def test_kvm_that_is_there_and_refuses_is_a_failure_with_the_way_out():
    assert the("virtualisation", LIBVIRT).state == "ok"
    for facts in (
        dataclasses.replace(LIBVIRT, kvm=None),
        dataclasses.replace(LIBVIRT, kvm="/dev/kvm: Permission denied"),
        dataclasses.replace(LIBVIRT, virtualization=False),  # answers, but Debian's kernels hang in it
    ):
        finding = the("virtualisation", facts)
        assert finding.state == "fail" and "STACKLAB_LIBVIRT_DRIVER=qemu" in finding.do


def test_emulation_is_allowed_with_a_warning():
    assert the("virtualisation", dataclasses.replace(LIBVIRT, kvm=None, libvirt_driver="qemu")).state == "warn"


def test_libvirt_that_does_not_answer_is_a_failure():
    assert the("provider", dataclasses.replace(LIBVIRT, libvirt="Failed to connect socket")).state == "fail"


def test_kvm_beside_virtualbox_is_a_warning():
    assert [finding.state for finding in found("provider", with_(kvm="usable"))] == ["ok", "warn"]


def test_hyper_v_beside_virtualbox_is_a_warning():
    assert the("virtualisation", with_(system="Windows", hypervisor_takes_it=True)).state == "warn"


def test_memory_is_judged_by_what_is_free_and_by_what_could_be():
    gb = 2**30
    assert the("memory", with_(memory_bytes=8 * gb, memory_available_bytes=6 * gb)).state == "ok"
    assert the("memory", with_(memory_bytes=8 * gb, memory_available_bytes=3 * gb)).state == "warn"
    small = with_(memory_bytes=4 * gb, memory_available_bytes=3 * gb + gb // 2)
    assert the("memory", small).state == "fail"
    assert the("memory", dataclasses.replace(small, machine_memory_mb=1280)).state == "ok"


def test_a_taken_port_names_the_variable_that_moves_it():
    taken = with_(ports_taken=frozenset({8888}))
    finding = next(finding for finding in found("ports", taken) if finding.state == "fail")
    assert "export STACKLAB_JUPYTER_PORT=8889" in finding.do
    windows = found("ports", dataclasses.replace(taken, system="Windows"))
    assert "$env:STACKLAB_JUPYTER_PORT = 8889" in windows[0].do
    followed = dataclasses.replace(taken, ports={**taken.ports, "STACKLAB_JUPYTER_PORT": 8889})
    assert {finding.state for finding in found("ports", followed)} == {"ok"}


def test_what_a_running_machine_has_taken_is_the_labs_own():
    taken = frozenset({8888, 8443})
    both = with_(ports_taken=taken, running=frozenset({"web", "desk"}), memory_available_bytes=0, disk_free_bytes=0)
    assert {finding.state for check in ("ports", "memory", "disk") for finding in found(check, both)} == {"ok"}
    web = dataclasses.replace(both, running=frozenset({"web"}))
    assert [finding.what for finding in found("ports", web) if finding.state == "fail"] == [
        "port 8888, for JupyterLab, is taken by another program, or kept by the system"
    ]
    assert "the other machine takes 2.1 GB" in the("memory", web).what


def test_a_port_is_taken_whichever_address_the_other_program_listens_on():
    for address in ("127.0.0.1", ""):  # on this one, on all
        with socket.create_server((address, 0)) as other:
            port = other.getsockname()[1]
            assert computer._is_taken(port)
        assert not computer._is_taken(port)


def test_which_machines_run_is_asked_of_vagrant_where_it_has_made_some(tmp_path, monkeypatch):
    told = "1700000000,web,state,running\n1700000000,web,state-human-short,running\n1700000000,desk,state,shutoff\n"
    real = computer._output
    monkeypatch.setattr(computer, "_output", lambda *command, cwd=None: told if "status" in command else real(*command, cwd=cwd))
    assert (computer.gather(tmp_path).made, computer.gather(tmp_path).running) == ({}, frozenset())
    for machine in ("web", "desk"):
        (tmp_path / f".vagrant/machines/{machine}/libvirt").mkdir(parents=True)
        (tmp_path / f".vagrant/machines/{machine}/libvirt/id").touch()
    facts = computer.gather(tmp_path)
    assert (facts.made, facts.running) == ({"libvirt": ("desk", "web")}, {"web"})


def test_machines_of_a_provider_that_is_gone_are_named_with_the_way_out():
    made = with_(made={"libvirt": ("desk", "web")})
    told = the("provider", made)
    assert told.state == "fail" and told.what.startswith("desk, web were made by libvirt, which is not")
    assert "delete the folder .vagrant" in told.do
    there = dataclasses.replace(made, providers=GOOD.providers | LIBVIRT.providers, libvirt="usable", kvm="usable")
    assert doctor.usable_provider(there) == "libvirt", "its machines are there: vagrant up takes it, whatever goes first else"
    assert doctor.usable_provider(dataclasses.replace(there, chosen_provider="virtualbox")) == "libvirt"
    assert the("provider", there).state == "ok"


WINDOWS_PRINTED = (
    "Intel(R) Wi-Fi 6 AX201|192.168.1.7|255.255.255.0\r\n"
    "Intel(R) Wi-Fi 6 AX201|fe80::1|64\r\n"
    "VirtualBox Host-Only Ethernet Adapter|192.168.56.1|255.255.255.0\r\n"
)


def test_on_windows_the_network_that_virtualbox_made_is_known_by_its_description():
    networks = tuple(computer.windows_networks(WINDOWS_PRINTED))
    assert networks == (
        ("Intel(R) Wi-Fi 6 AX201", "192.168.1.7/255.255.255.0"),
        ("VirtualBox Host-Only Ethernet Adapter", "192.168.56.1/255.255.255.0"),
    )
    assert the("network", with_(system="Windows", networks=networks)).state == "ok"


def test_a_disk_is_judged_also_before_vagrant_has_made_its_home(tmp_path):
    assert computer._disk_free_bytes(tmp_path / "not" / "yet") > 0


@pytest.mark.parametrize(
    ("interface", "address", "state"),
    [
        ("eth0", "192.168.56.20/24", "fail"),
        ("tun0", "192.168.0.1/16", "fail"),
        ("eth0", "192.168.57.20/24", "ok"),
        ("vboxnet0", "192.168.56.1/24", "ok"),
        ("virbr2", "192.168.56.1/24", "ok"),
        ("VirtualBox Host-Only Network", "192.168.56.1/24", "ok"),
    ],
)
def test_a_network_that_overlaps_with_the_machines_is_a_failure(interface, address, state):
    assert the("network", with_(networks=(("lo", "127.0.0.1/8"), (interface, address)))).state == state


def test_a_box_for_another_provider_or_architecture_does_not_count():
    assert "no network" in the("box", with_(box_files=("stacklab-1-virtualbox-amd64.box",))).what
    assert the("box", with_(public_boxes=frozenset(), box_files=("stacklab-1-virtualbox-arm64.box",))).state == "warn"
    assert the("box", with_(public_boxes=frozenset(), box_files=("stacklab-1-libvirt-amd64.box",))).state == "warn"


def test_a_chosen_box_must_be_there_and_fit():
    assert the("box", with_(chosen_box="our/box")).state == "ok"
    assert the("box", with_(chosen_box="/stick/stacklab-1-virtualbox-amd64.box")).state == "ok"
    assert "another provider" in the("box", with_(chosen_box="/stick/stacklab-1-virtualbox-arm64.box")).what
    assert "no such file" in the("box", with_(chosen_box="/stick/typo.box", chosen_box_is_missing=True)).what


def test_gather_works_on_this_computer():
    facts = computer.gather(ROOT)
    assert facts.memory_bytes > facts.memory_available_bytes > 0
    assert diagnose(facts)


def test_what_the_environment_asks_for_is_what_is_looked_at(monkeypatch):
    monkeypatch.setenv("STACKLAB_JUPYTER_PORT", "8899")
    monkeypatch.setenv("STACKLAB_MEMORY_MB", "1280")
    facts = computer.gather(ROOT)
    assert facts.ports == {"STACKLAB_JUPYTER_PORT": 8899, "STACKLAB_SITE_PORT": 8443}
    assert facts.machine_memory_mb == 1280


@pytest.mark.parametrize(("variable", "text"), [("STACKLAB_MEMORY_MB", "2 GB"), ("STACKLAB_SITE_PORT", "65536")])
def test_what_the_environment_asks_for_must_be_a_number_that_can_be(variable, text, monkeypatch):
    monkeypatch.setenv(variable, text)
    with pytest.raises(SettingsError, match=f"{variable}='{text}' is not a whole number"):
        computer.gather(ROOT)


def test_what_doctor_checks_is_what_the_vagrantfile_asks_for():
    vagrantfile = (ROOT / "Vagrantfile").read_text()
    assert f'"STACKLAB_NETWORK", "{computer.MACHINES_NETWORK}"' in vagrantfile
    boxes = dict(re.findall(r'^  "(\w+)" => "([\w-]+/[\w-]+)"', vagrantfile, re.MULTILINE))
    assert boxes == computer.PUBLIC_BOXES
    assert (*boxes, "docker") == doctor.PROVIDERS, "Docker is the last: taken where nothing else can be"
    assert f'"STACKLAB_MEMORY_MB", {computer.MACHINE_MEMORY_MB}' in vagrantfile
    for variable, port in computer.FORWARDED_PORTS.items():
        assert f'"{variable}", {port}' in vagrantfile


def by_docker(**changes):
    return with_(providers={"docker": "27.3.1"}, docker=engine.Engine(version="27.3.1", memory_bytes=16 * 2**30, **changes))


def test_docker_is_taken_where_nothing_else_is_and_needs_neither_box_nor_virtualisation():
    facts = dataclasses.replace(by_docker(), virtualization=False, today="2027-01-12", public_boxes=frozenset())
    assert {finding.state for finding in diagnose(facts)} == {"ok"}
    assert doctor.usable_provider(with_(providers={"docker": "27.3.1", "parallels": "20"})) == "parallels"


def test_the_end_of_the_registry_is_told_with_its_date_and_what_to_do_instead():
    before, after = (the("box", with_(public_boxes=frozenset(), today=day)) for day in ("2026-12-31", "2027-01-01"))
    assert (before.state, after.state) == ("warn", "fail")
    for finding in (before, after):
        assert "2026-12-31" in finding.what and "vagrant up --provider=docker" in finding.do
    ours = with_(public_boxes=frozenset(), today="2027-01-01", box_url="https://boxes.example.org/debian-13.box")
    assert the("box", ours).state == "ok"


def test_what_is_amiss_with_an_engine_is_said_in_its_own_words_or_with_its_version():
    stopped = with_(providers={"docker": ""}, docker=engine.Engine("Cannot connect to the Docker daemon"))
    assert "Cannot connect" in the("provider", stopped).what and "adduser" in the("provider", stopped).do
    on_a_mac = dataclasses.replace(stopped, system="Darwin")
    assert the("provider", on_a_mac).do.startswith("Start Docker Desktop")
    old = with_(providers={"docker": "19.03"}, docker=engine.Engine(version="19.03.15"))
    assert "19.03" in the("provider", old).what


def test_docker_desktops_own_memory_is_what_counts_there():
    small = with_(providers={"docker": "27"}, docker=engine.Engine(version="27", desktop=True, memory_bytes=2 * 2**30))
    assert the("memory", small).state == "fail" and "STACKLAB_MEMORY_MB" in the("memory", small).do
    told = with_(providers={"docker": "27"}, docker=engine.Engine(version="27", desktop=True, memory_bytes=4 * 10**9))
    assert the("memory", told).state == "ok", "of 4 GiB it tells a little less"


def test_a_network_or_an_address_that_docker_has_given_away_is_named():
    ours = ("stacklab-192.168.56.0-24", "192.168.56.0/24", "br-0123456789ab")
    own_bridge = dataclasses.replace(by_docker(networks=(ours,)), networks=(("br-0123456789ab", "192.168.56.1/24"),))
    assert the("network", own_bridge).state == "ok"
    virtualbox = dataclasses.replace(by_docker(), networks=(("vboxnet0", "192.168.56.1/24"),))
    assert "vboxnet0" in the("network", virtualbox).what and "STACKLAB_NETWORK=192.168.57" in the("network", virtualbox).do
    assert "Docker's network else" in the("network", by_docker(networks=(("else", "192.168.0.0/16", "br-1"),))).what
    second = by_docker(networks=(ours,), addresses=(("192.168.56.11", "copy_desk_17"),))
    assert "copy_desk_17" in the("network", second).what


def test_an_engine_is_asked_and_its_silence_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert engine.look(tmp_path) is None
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\necho 'Cannot connect to it' >&2; exit 1\n")
    program.chmod(0o755)
    assert engine.look(tmp_path) == engine.Engine("Cannot connect to it")
