"""The Vagrantfile and the provisioning scripts, as far as they can be checked without booting a machine."""

import json
import os
import platform
import shutil
import string
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(
    path
    for folder in ("provision", "provision/box", "provision/docker", "provision/image", "tests", "tests/vagrant")
    for path in (ROOT / folder).iterdir()
    if path.is_file() and path.read_bytes()[:25].split(b"\n")[0] in (b"#!/bin/sh", b"#!/bin/bash", b"#!/usr/bin/env bash")
)
# What each provider's own documentation names; a typo in a block that is not in use goes unnoticed by Vagrant.
KNOWN_SETTINGS = {
    "virtualbox": {"cpus", "memory", "linked_clone"},
    "vmware_desktop": {"vmx"},
    "parallels": {"cpus", "memory"},
    "libvirt": {"cpus", "memory", "driver", "cpu_mode"},
    "docker": {"image", "has_ssh", "stop_timeout"},
}


def needs(program):
    return pytest.mark.skipif(not shutil.which(program), reason=f"{program} is not installed: the Vagrantfile is NOT checked")


def read(folder=ROOT, version="2.4.9", **environment):
    """What the Vagrantfile in `folder` asks for, with this version of Vagrant and these variables."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("STACKLAB_")}
    done = subprocess.run(
        ["ruby", ROOT / "tests/unit/vagrantfile_reader.rb", folder / "Vagrantfile", version],
        env={**clean, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def checkout(tmp_path):
    """A folder with a Vagrantfile of its own, to put box files into."""
    shutil.copy(ROOT / "Vagrantfile", tmp_path)
    shutil.copytree(ROOT / "provision/vagrant", tmp_path / "provision/vagrant")
    return tmp_path


@needs("vagrant")
def test_vagrant_itself_accepts_the_file(tmp_path):
    done = subprocess.run(
        ["vagrant", "validate", "--ignore-provider"],
        cwd=ROOT,
        text=True,
        capture_output=True,
        env={**os.environ, "VAGRANT_HOME": str(tmp_path), "VAGRANT_DOTFILE_PATH": str(tmp_path / "dot")},
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs("shellcheck")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_shellcheck_has_nothing_to_say(script):
    done = subprocess.run(["shellcheck", "-x", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@needs("ruby")
def test_every_provider_gets_cpus_memory_and_a_box_from_one_place():
    providers = read(STACKLAB_CPUS="3", STACKLAB_MEMORY_MB="1500")["providers"]
    assert list(providers) == list(KNOWN_SETTINGS), "of those that can be used, a bare `vagrant up` takes the first"
    assert providers.pop("docker")["settings"].keys() == KNOWN_SETTINGS["docker"]  # its limits come when it is made
    for name, blocks in providers.items():
        settings = blocks["settings"]
        assert settings.keys() == KNOWN_SETTINGS[name]
        asked = settings["vmx"] if name == "vmware_desktop" else settings
        assert {str(asked.get("cpus") or asked["numvcpus"]), str(asked.get("memory") or asked["memsize"])} == {"3", "1500"}
        assert blocks["override"]["box"]


@needs("ruby")
def test_the_architecture_of_the_box_is_asked_for_only_where_vagrant_knows_it():
    assert read(version="2.4.9")["settings"]["box_architecture"] == "auto"
    assert "box_architecture" not in read(version="2.3.4")["settings"]


@needs("ruby")
def test_two_machines_on_one_private_network_and_nothing_forwarded_beyond_loopback():
    machines = read()["machines"]
    networks = {name: machine["networks"] for name, machine in machines.items()}
    for provider in KNOWN_SETTINGS.keys() - {"docker"}:  # which makes a network of its own
        private = {name: machine["providers"][provider]["networks"] for name, machine in machines.items()}
        assert private == {
            name: [{"kind": "private_network", "ip": ip}] for name, ip in (("web", "192.168.56.10"), ("desk", "192.168.56.11"))
        }
    forwarded = [each for all_ in networks.values() for each in all_ if each["kind"] == "forwarded_port"]
    assert {(each["guest"], each["host"]) for each in forwarded} == {(8888, 8888), (443, 8443)}
    assert {each["host_ip"] for each in forwarded} == {"127.0.0.1"}


@needs("ruby")
def test_the_work_on_the_desk_is_kept_before_anything_that_could_lose_it():
    assert set(read()["machines"]["desk"]["triggers"]) == {"halt", "suspend", "reload", "provision", "destroy"}


@needs("ruby")
def test_the_address_is_told_on_every_up():
    for machine in read(STACKLAB_JUPYTER_PORT="9999", STACKLAB_SITE_PORT="9998")["machines"].values():
        last = machine["provisioners"][-1]
        assert last["name"] == "address" and last["run"] == "always"
        assert "999" in last["inline"]


@needs("ruby")
def test_a_box_file_in_the_folder_is_taken_where_it_fits(checkout):
    fitting = "arm64" if os.uname().machine in ("aarch64", "arm64") else "amd64"
    (checkout / f"stacklab-1-libvirt-{fitting}.box").touch()
    (checkout / "stacklab-1-virtualbox-sparc.box").touch()
    providers = read(checkout)["providers"]
    assert providers["libvirt"]["override"] == {
        "box": f"stacklab-1-libvirt-{fitting}",
        "box_url": f"file://{checkout}/stacklab-1-libvirt-{fitting}.box",
    }
    assert providers["virtualbox"]["override"] == {"box": "bento/debian-13", "box_url": None}


@needs("ruby")
def test_stacklab_box_goes_before_everything_as_a_name_or_as_a_file(checkout, tmp_path):
    assert read(STACKLAB_BOX="our/box")["providers"]["parallels"]["override"] == {"box": "our/box", "box_url": None}
    box = tmp_path / "other.box"
    box.touch()
    assert read(STACKLAB_BOX=str(box))["providers"]["libvirt"]["override"] == {"box": "other", "box_url": f"file://{box}"}


@needs("ruby")
def test_a_teachers_own_place_has_the_public_box_and_another_network_is_a_choice():
    told = read(STACKLAB_BOX_URL="https://boxes.example.org/debian-13.box", STACKLAB_NETWORK="192.168.60")
    box = {"box": "bento/debian-13", "box_url": "https://boxes.example.org/debian-13.box"}
    assert told["providers"]["virtualbox"]["override"] == box
    assert told["machines"]["web"]["providers"]["virtualbox"]["networks"][0]["ip"] == "192.168.60.10"


@needs("ruby")
@pytest.mark.parametrize(
    ("siblings", "most", "web", "desk"),
    [
        (["0,4", "1,5", "2,6", "3,7"] * 2, 2, "0,4", "2,6"),  # as a laptop counts them …
        (["0-1"] * 2 + ["2-3"] * 2, 1, "0", "2"),  # … and as a virtual machine does
        (["0", "1"], 2, "0", "1"),
        (["0-1", "0-1"], 2, "", ""),
        ([None] * 4, 8, "0,1", "2,3"),
    ],
)
def test_web_and_desk_never_share_a_core(tmp_path, siblings, most, web, desk):
    for number, text in enumerate(siblings):
        (tmp_path / f"cpu{number}/topology").mkdir(parents=True)
        if text:
            (tmp_path / f"cpu{number}/topology/thread_siblings_list").write_text(text + "\n")
    ask = f"cores = StackLab::Cpus.cores({len(siblings)}, {str(tmp_path)!r})"
    say = "; ".join(f"puts StackLab::Cpus.of({name!r}, {most}, cores).to_s" for name in ("web", "desk"))
    done = subprocess.run(
        ["ruby", "-r", ROOT / "provision/vagrant/cpus.rb", "-e", f"{ask}; {say}"], text=True, capture_output=True, check=True
    )
    assert done.stdout.split("\n")[:2] == [web, desk]


@needs("ruby")
def test_libvirts_machines_are_kept_apart_where_there_are_cores_for_both():
    sets = {name: each["providers"]["libvirt"]["settings"].get("cpuset") for name, each in read()["machines"].items()}
    assert sets["web"] is None or not set(sets["web"].split(",")) & set(sets["desk"].split(","))


@needs("ruby")
def test_emulation_is_a_choice():
    settings = read()["providers"]["libvirt"]["settings"]
    assert (settings["driver"], settings["cpu_mode"], settings["cpus"]) == ("kvm", "host-model", 2)
    emulated = read(STACKLAB_LIBVIRT_DRIVER="qemu")["providers"]["libvirt"]["settings"]
    assert (emulated["driver"], emulated["cpu_mode"], emulated["cpus"]) == ("qemu", "maximum", 1)
    assert "qemuargs" not in settings
    if platform.machine() in ("x86_64", "AMD64"):
        name, features = emulated["qemuargs"]
        assert name == "-cpu" and {"max", "avx=off", "avx2=off"} <= set(features.split(","))
    assert read(STACKLAB_LIBVIRT_DRIVER="qemu", STACKLAB_CPUS="4")["providers"]["libvirt"]["settings"]["cpus"] == 4


def test_desk_gets_nothing_of_the_projects_own_tools_and_what_it_gets_is_what_is_tested():
    desk, test = (
        {line.split(" ")[0] for line in (ROOT / f"requirements/{name}.lock").read_text().splitlines() if line[:1].isalpha()}
        for name in ("desk", "test")
    )
    assert desk < test
    tools = {"django", "hypothesis", "playwright", "pytest-timeout", "pytest-xdist", "ruff"}
    assert tools <= {line.split("==")[0] for line in test - desk}


def test_what_desk_is_told_of_web_is_what_the_vagrant_lab_reads(tmp_path, monkeypatch):
    from stacklab.labs import vagrant

    desk = (ROOT / "provision/desk.sh").read_text()
    template = desk.split('put "$etc/desk.json" 644 <<JSON\n')[1].split("JSON\n")[0]
    known = string.Template(template).substitute(STACKLAB_WEB="192.168.56.10", key="/k", known_hosts="/h")
    (tmp_path / "desk.json").write_text(known)
    monkeypatch.setattr(vagrant, "DESK", tmp_path / "desk.json")
    host = vagrant.VagrantLab().web()
    assert (host.address, host.user, host.port) == ("192.168.56.10", "vagrant", 22)


def test_the_desks_fab_is_the_checkouts_own_and_not_the_one_that_pip_wrote(tmp_path):
    desk = (ROOT / "provision/desk.sh").read_text()
    ours = next(line for line in desk.splitlines() if line.startswith("fab_command()"))
    functions = desk[desk.index("# Take the text") : desk.index("packages() {")] + ours
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/fab").write_text("#!python\nfrom fabric.main import program\n")
    plain = 'install() { cp "${@: -2:1}" "${@: -1}"; chmod "$3" "${@: -1}"; }'  # files of root's are for root alone to make
    script = f"set -eu; venv={tmp_path}; source_dir={ROOT}; say() {{ echo $*; }}\n{functions}\n{plain}\nfab_command; fab_command"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/bin/fab\n"), done.stderr
    (tmp_path / "bin/python").write_text('#!/bin/sh\necho "$1"\n')
    (tmp_path / "bin/python").chmod(0o755)
    assert subprocess.check_output([tmp_path / "bin/fab"], text=True) == f"{tmp_path}/bin/fab\n"
    assert "from stacklab.command import main" in (tmp_path / "bin/fab").read_text()
