"""Which lab is meant, and what each kind says before it touches a machine."""

import functools
import json
import os
import re
import socket
import stat

import pytest

from stacklab import notebook, tasks
from stacklab.doctor import diagnose_container, diagnose_lab
from stacklab.errors import HostRefused, LabError, LabNotRunning, Refusal
from stacklab.files import ROOT, write_json
from stacklab.labs import asroot, nspawn, obstacles, open_lab, ssh, storage, vagrant
from stacklab.labs.container import ContainerLab
from stacklab.labs.host import Host
from stacklab.labs.ssh import SshLab
from stacklab.labs.vagrant import VagrantLab

STATUS_KEYS = {"lab", "kind", "state", "why", "address", "pinned_cpus", "generator_cpus", "client_addresses"}


@pytest.fixture(autouse=True)
def no_lab_of_this_computer(monkeypatch, tmp_path):
    monkeypatch.setattr(storage, "LABS", tmp_path / "labs")
    monkeypatch.setattr(storage, "REMOVED", tmp_path / "removed")
    monkeypatch.setattr(vagrant, "DESK", tmp_path / "desk.json")
    monkeypatch.setattr(vagrant, "VAGRANT", tmp_path / ".vagrant")
    monkeypatch.setattr(ssh, "SSH_CONFIG", tmp_path / "ssh_config")
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("STACKLAB_LAB", "STACKLAB_WEB"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "labs").mkdir()


def make_record(name, **changes):
    folder = storage.LABS / name
    folder.mkdir()
    record = {
        "format": 1, "name": name, "project": str(ROOT), "index": 15, "image": "web-x", "pinned_cpus": [0],
        "generator_cpus": [1], **changes,
    }
    write_json(folder / "lab.json", record)


@pytest.mark.parametrize(
    ("spec", "kind", "name"),
    [
        (None, "container", "stacklab"),
        ("container", "container", "stacklab"),
        ("class-3", "container", "class-3"),
        ("vagrant", "vagrant", "vagrant"),
        ("me@example.org", "ssh", "me@example.org"),
        ("me@[2001:db8::1]:2222", "ssh", "me@[2001:db8::1]:2222"),
    ],
)
def test_a_word_selects_the_lab(spec, kind, name):
    lab = open_lab(spec)
    assert (lab.kind, lab.name) == (kind, name)


def test_the_environment_variable_selects_the_lab_and_a_given_word_goes_before_it(monkeypatch):
    monkeypatch.setenv("STACKLAB_LAB", "from-environment")
    assert open_lab().name == "from-environment"
    assert open_lab("given").name == "given"


def test_on_the_desk_machine_its_web_host_is_the_lab():
    vagrant.DESK.write_text("{}")
    assert open_lab().kind == "vagrant"


@pytest.mark.parametrize("name", ["Stack", "-a", "9lives", "a" * 32, "../etc", "a b", "한글"])
def test_a_bad_name_is_refused_with_the_name_and_the_rule(name):
    with pytest.raises(LabError, match="not allowed.*small letter") as error:
        open_lab(name)
    assert repr(name) in str(error.value)


@pytest.mark.parametrize(
    "spec",
    ["@", "me@", "me@host:", "me@host:ssh", "me@host:0", "me@host:65536", "me@a b", "me@2001:db8::1", "me@-oProxyCommand=x"],
)  # fmt: skip
def test_a_bad_ssh_host_is_refused(spec):
    with pytest.raises(LabError, match="user@host"):
        open_lab(spec)


def test_the_users_ssh_configuration_gives_name_port_and_key(tmp_path):
    key = tmp_path / "key"
    key.touch()
    ssh.SSH_CONFIG.write_text(f"Host web\n HostName 192.0.2.7\n Port 2200\n IdentityFile {key}\n")
    host = SshLab("me@web").web()
    assert (host.address, host.user, host.port, host.key_path) == ("192.0.2.7", "me", 2200, key)
    assert SshLab("me@web:22").web().port == 22
    assert SshLab("me@elsewhere").web().key_path is None


def hops(host):
    """The hosts on the way to `host`, the first that is met first: [(user, address, port)]."""
    before = hops(host.gateway) if host.gateway else []
    return [*before, (host.user, host.address, host.port)]


def test_an_alias_is_what_ssh_makes_of_it_wherever_in_the_configuration_it_stands(tmp_path):
    (tmp_path / "more").write_text("Host alias\n HostName 192.0.2.8\n User carol\n IdentityFile %d/key_of_%r\n")
    ssh.SSH_CONFIG.write_text(f"Include {tmp_path}/more\nMatch host alias user mallory\n Port 1\nHost *\n Port 2022\n")
    (tmp_path / "key_of_carol").touch()
    host = SshLab("@alias").web()
    assert (host.user, host.address, host.port) == ("carol", "192.0.2.8", 2022)
    assert host.key_path == tmp_path / "key_of_carol"


def test_jump_hosts_are_gone_through_in_their_order_each_as_ssh_knows_it():
    ssh.SSH_CONFIG.write_text(
        "Host web\n HostName 192.0.2.7\n ProxyJump ops@outer:2200,inner\n"
        "Host inner\n HostName 198.51.100.2\n User second\n ProxyJump not.asked.for\n"
        "Host outer\n HostName 203.0.113.1\n"
        "Host beyond\n User far\n ProxyJump web\nHost straight\n ProxyJump none\nHost far\n ProxyJump me@danone\n"
    )
    way = [("ops", "203.0.113.1", 2200), ("second", "198.51.100.2", 22), ("me", "192.0.2.7", 22)]
    assert hops(SshLab("me@web").web()) == way
    assert hops(SshLab("me@beyond").web())[:2] == way[:2] and len(hops(SshLab("@beyond").web())) == 4
    assert hops(SshLab("me@outer").web()) == [("me", "203.0.113.1", 22)]
    assert hops(SshLab("me@straight").web()) == [("me", "straight", 22)]
    assert hops(SshLab("me@far").web())[0] == ("me", "danone", 22)


def test_without_ssh_a_host_is_reached_by_what_was_said_unless_there_is_a_configuration_to_read(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert hops(SshLab("me@192.0.2.7:2200").web()) == [("me", "192.0.2.7", 2200)]
    ssh.SSH_CONFIG.touch()
    with pytest.raises(LabError, match="no 'ssh' here.*install OpenSSH's client"):
        SshLab("me@192.0.2.7")


def test_the_agent_is_the_one_that_the_configuration_names(monkeypatch):
    monkeypatch.setenv("MY_AGENT", "/run/mine")
    ssh.SSH_CONFIG.write_text(
        "Host a\n IdentityAgent /run/another\nHost b\n IdentityAgent none\nHost c\n IdentityAgent $MY_AGENT\n"
        "Host e\n IdentityAgent ${MY_AGENT}/too\n"
    )
    agents = [SshLab(f"me@{host}").web().agent for host in "abcde"]
    assert agents == ["/run/another", False, "/run/mine", True, "/run/mine/too"]


@pytest.mark.parametrize("spec", ["me@[2001:DB8:0::1]", "me@six"])
def test_an_ipv6_address_stands_in_brackets_where_a_url_has_it_and_bare_elsewhere(spec):
    ssh.SSH_CONFIG.write_text("Host six\n HostName 2001:db8::0:1\n")
    host = SshLab(spec).web()
    assert (host.address, host.web_address, host.url) == ("2001:db8::1", "2001:db8::1", "https://[2001:db8::1]")


def test_the_load_goes_where_it_is_told_to_and_ssh_goes_on_as_it_does(monkeypatch):
    monkeypatch.setenv("STACKLAB_WEB", "[2001:db8::5]")
    host = SshLab("me@192.0.2.7").web()
    assert (host.address, host.url) == ("192.0.2.7", "https://[2001:db8::5]")


@pytest.mark.parametrize("said", ["https://web.example", "web.example:8443", "web example", "-web", "[2001:db8::g]"])
def test_what_is_no_name_and_no_address_never_comes_into_a_certificate(monkeypatch, said):
    monkeypatch.setenv("STACKLAB_WEB", said)
    with pytest.raises(LabError, match="STACKLAB_WEB=.* is not allowed"):
        SshLab("me@192.0.2.7")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Host web\n ProxyCommand nc %h %p\n", "by ProxyCommand nc.*; ProxyJump is followed"),
        ("Host web\n Portt 22\n", "ssh cannot go by .*ssh_config.*[Bb]ad configuration option"),
        ("Host *\n ProxyJump gate\n", "ssh cannot go by .*jumphost loop via gate"),
        ("Host web\n ProxyJump a\nHost a\n ProxyJump b\nHost b\n ProxyJump a\n", "a circle: to web by a, by b, by a"),
        ("Host web\n ProxyJump gate\nHost gate\n ProxyCommand nc %h %p\n", "reaches gate by ProxyCommand"),
    ],
)
def test_an_ssh_configuration_that_does_not_do_is_one_clear_line(text, words):
    ssh.SSH_CONFIG.write_text(text)
    with pytest.raises(LabError, match=words):
        SshLab("me@web")


CHANGED = HostRefused("it shows another host key than the one pinned", Refusal.CHANGED_KEY)


@pytest.fixture
def refused(monkeypatch):
    """Every machine shows another host key than the one that is pinned."""

    def refuse(*_, **__):
        raise CHANGED

    monkeypatch.setattr(Host, "run", refuse)


def by_ssh(tmp_path, monkeypatch):
    return SshLab("me@192.0.2.1")


def by_vagrant(tmp_path, monkeypatch):
    made_by_vagrant()
    fake_program(
        tmp_path, monkeypatch, "vagrant",
        """case $1 in
        status) echo 1,web,state,running;;
        ssh-config) printf 'Host web\\n HostName 127.0.0.1\\n User vagrant\\n IdentityFile "/keys/web"\\n';;
        ssh) echo 'ssh-ed25519 AAAAkey root@web'; echo '10.0.2.15 192.168.56.10';;
        esac""",
    )
    return VagrantLab()


def on_vagrants_desk(tmp_path, monkeypatch):
    web = {"address": "192.168.56.10", "user": "vagrant", "port": 22, "key_path": "/k", "known_hosts_path": "/h"}
    vagrant.DESK.write_text(json.dumps({"web": web}))
    return VagrantLab()


def in_a_container(tmp_path, monkeypatch):
    make_record("down")
    (storage.LABS / "down" / "ssh").mkdir()
    (storage.LABS / "down" / "ssh" / "id_ed25519").touch()
    monkeypatch.setattr(nspawn, "runs", lambda machine: True)
    monkeypatch.setattr("stacklab.labs.container.as_root", lambda *_, **__: None)
    return ContainerLab("down")


@pytest.mark.parametrize("lab", [by_ssh, by_vagrant, on_vagrants_desk, in_a_container])
def test_a_host_that_refuses_us_has_the_same_word_everywhere_and_is_not_called_halted(
    lab, refused, tmp_path, monkeypatch, capsys
):
    lab = lab(tmp_path, monkeypatch)
    monkeypatch.setattr(tasks, "open_lab", lambda name: lab)
    monkeypatch.setattr("stacklab.labs.open_lab", lambda: lab)
    monkeypatch.setattr(notebook, "open_lab", lambda: lab)
    error = str(CHANGED)
    assert error.startswith("changed host key: it shows another")
    for act in (tasks.up, tasks.status, functools.partial(tasks.status, json=True)):
        with pytest.raises(HostRefused) as caught:
            act(lab.name)
        assert str(caught.value) == error
    text, told = re.fullmatch(r"(lab [^\n]+)\n(\{.+\}\n)", capsys.readouterr().out, re.DOTALL).groups()
    assert text == f"lab {lab.name} ({lab.kind}): changed host key"
    assert (json.loads(told)["state"], json.loads(told)["why"]) == ("changed host key", CHANGED.args[0])
    if lab.kind != "container":  # whose notebooks learn it from the first word to the machine
        with pytest.raises(HostRefused):
            notebook.begin()
        assert [(finding.state, finding.what) for finding in diagnose_lab()] == [("warn", error)]


def test_keys_of_somebody_else_are_no_right_to_look(tmp_path, monkeypatch):
    lab = in_a_container(tmp_path, monkeypatch)
    monkeypatch.setattr("stacklab.labs.container.os.access", lambda path, mode: False)
    assert lab.status()["state"] == "no right to look"
    with pytest.raises(HostRefused, match="^no right to look: the keys of lab down belong to another user; 'fab up' gives them"):
        lab.web()


def test_an_ssh_host_is_neither_halted_nor_destroyed():
    lab = SshLab("me@192.0.2.7")
    with pytest.raises(LabError, match="not StackLab's machine"):
        lab.halt()
    with pytest.raises(LabError, match="nothing was changed"):
        lab.destroy()


class FakeHost:
    """Answers commands from a dict; a missing answer is a failure."""

    def __init__(self, answers, web_address="", gateway=None):
        self.answers = answers
        self.name, self.user, self.web_address, self.gateway = "web", "me", web_address, gateway

    def run(self, command, **_):
        from stacklab.errors import HostError

        for part, answer in self.answers.items():
            if part in command:
                return answer
        raise HostError("failed", command=command, stderr="no")


@pytest.mark.parametrize(
    ("answers", "complaint"),
    [
        ({"os-release": "fedora"}, "runs fedora.*Debian or Ubuntu"),
        ({"os-release": "debian"}, "systemd"),
        ({"os-release": "linuxmint ubuntu debian", "systemd": ""}, "root.*without a password.*sudoers"),
    ],
)
def test_up_of_an_ssh_host_says_what_it_lacks(monkeypatch, answers, complaint):
    monkeypatch.setattr(SshLab, "web", lambda self: FakeHost(answers))
    with pytest.raises(LabError, match=complaint):
        SshLab("me@192.0.2.7").up()


ALL_WELL = {"os-release": "debian", "systemd": "", "sudo": ""}


@pytest.mark.parametrize("listens", [True, False])
def test_load_that_reaches_a_site_behind_a_jump_host_directly_is_fine_whether_or_not_it_answers_yet(monkeypatch, listens):
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(ssh, "HTTPS", server.getsockname()[1])
        if not listens:
            server.close()
        monkeypatch.setattr(SshLab, "web", lambda self: FakeHost(ALL_WELL, web_address="127.0.0.1", gateway=Host("gate", "me")))
        SshLab("me@192.0.2.7").up()


def test_load_that_could_not_reach_a_site_behind_a_jump_host_is_told_so_at_up(monkeypatch):
    monkeypatch.setattr(SshLab, "web", lambda self: FakeHost(ALL_WELL, web_address="web.invalid", gateway=Host("gate", "me")))
    with pytest.raises(LabError, match=r"SSH goes through gate, and load has to reach.*web\.invalid port 443.*Set STACKLAB_WEB"):
        SshLab("me@192.0.2.7").up()


def test_a_container_lab_that_was_never_made_is_absent_and_needs_no_root_to_say_so(monkeypatch):
    monkeypatch.setattr(asroot, "_sudo", lambda: pytest.fail("asked for root"))
    lab = ContainerLab("fresh")
    assert lab.status()["state"] == "absent"
    assert set(lab.status()) == STATUS_KEYS
    lab.halt()
    lab.destroy()
    with pytest.raises(LabNotRunning, match="fresh is absent.*fab up"):
        lab.web()


def test_a_machine_that_is_not_whole_yet_counts_as_absent():
    make_record("half", image=None)
    assert ContainerLab("half").status()["state"] == "absent"


def test_a_machine_without_processes_is_halted_whatever_the_record_says():
    make_record("down")
    status = ContainerLab("down").status()
    assert status["state"] == "halted"
    assert status["address"] == "10.83.240.2"
    assert status["pinned_cpus"] is None and status["client_addresses"] == []


def test_a_record_of_another_version_is_not_read_as_ours():
    make_record("old", format=99)
    with pytest.raises(LabError, match="format 99.*fab destroy"):
        ContainerLab("old").status()


def test_a_damaged_record_is_an_error_and_no_traceback():
    make_record("broken")
    (storage.LABS / "broken" / "lab.json").write_text('{"format": 1')
    with pytest.raises(LabError, match="damaged.*fab destroy"):
        ContainerLab("broken").status()


def test_another_system_than_linux_is_pointed_to_vagrant(monkeypatch):
    monkeypatch.setattr(obstacles.sys, "platform", "darwin")
    with pytest.raises(LabError, match="darwin.*vagrant up"):
        ContainerLab("x").up()


def test_missing_packages_are_named_with_the_command_that_installs_them(monkeypatch):
    monkeypatch.setattr(obstacles.shutil, "which", lambda tool, path=None: None if tool == "mmdebstrap" else "/bin/x")
    monkeypatch.setattr(obstacles, "KEYRING", obstacles.Path("/nowhere"))
    with pytest.raises(LabError, match="apt-get install mmdebstrap debian-archive-keyring"):
        ContainerLab("x").up()


@pytest.mark.parametrize(
    ("lacking", "text", "message"),
    [
        ("MACHINE_ID", "", "MACHINE_ID is empty.*'sudo systemd-machine-id-setup'"),
        ("MACHINE_ID", "uninitialized\n", "MACHINE_ID is empty"),
        ("USER_NAMESPACES", "0\n", "user namespaces are switched off.*'sudo sysctl user.max_user_namespaces=15000'"),
        ("STATUS", "CapBnd:\t00000000a80425fb\n", r"may not boot another \(it lacks .*CAP_SYS_ADMIN.*docker run --privileged"),
        (
            "MOUNTINFO", "1 0 0:1 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n",
            "/sys/fs/cgroup is mounted read-only; type 'sudo mount -o remount,bind,rw /sys/fs/cgroup'",
        ),
    ],
)  # fmt: skip
def test_what_a_container_may_lack_is_told_in_one_line_that_says_what_to_type(lacking, text, message, monkeypatch, tmp_path):
    found = {
        "MACHINE_ID": "0123456789abcdef\n", "USER_NAMESPACES": "15000\n", "STATUS": "CapBnd:\t000001fffeffffff\n",
        "MOUNTINFO": "1 0 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n", lacking: text,
    }  # fmt: skip
    for name, content in found.items():
        (tmp_path / name).write_text(content)
        monkeypatch.setattr(nspawn if name == "MOUNTINFO" else obstacles, name, tmp_path / name)
    monkeypatch.setattr(obstacles, "_missing_packages", lambda: [])
    with pytest.raises(LabError, match=message) as caught:
        ContainerLab("x").up()
    assert "\n" not in str(caught.value)
    (finding,) = diagnose_container()
    assert finding.state == "fail" and f"{finding.what}; {finding.todo}" == str(caught.value)


def test_without_root_and_without_sudo_the_message_says_what_to_do(monkeypatch):
    monkeypatch.setattr(asroot, "check_computer", lambda: None)
    monkeypatch.setattr(asroot.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(asroot.shutil, "which", lambda tool, path=None: None)
    with pytest.raises(LabError, match="needs root, and there is no sudo.*vagrant up"):
        ContainerLab("x").up()


def test_a_sudo_that_wants_a_password_is_not_asked_where_nobody_can_type(monkeypatch, tmp_path):
    fake_program(tmp_path, monkeypatch, "sudo", "exit 1")
    monkeypatch.setattr(asroot, "check_computer", lambda: None)
    monkeypatch.setattr(asroot.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(asroot.sys, "stdin", open(os.devnull))
    with pytest.raises(LabError, match="wants a password.*terminal"):
        ContainerLab("x").up()


def test_the_error_of_the_root_part_comes_back_in_its_own_words(monkeypatch, tmp_path):
    fake_program(tmp_path, monkeypatch, "sudo", '[ "$2" = true ] || { echo "the disk is full"; exit 1; }')
    monkeypatch.setattr(asroot, "check_computer", lambda: None)
    monkeypatch.setattr(asroot.os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="^the disk is full$"):
        ContainerLab("x").up()


def fake_program(tmp_path, monkeypatch, name, script):
    """Put a program of this name first on the PATH."""
    path = tmp_path / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")


def test_without_vagrant_its_lab_says_so(monkeypatch):
    monkeypatch.setattr(vagrant.shutil, "which", lambda tool: None)
    with pytest.raises(LabError, match="no 'vagrant' here"):
        VagrantLab().up()


def test_before_vagrant_up_the_lab_is_absent():
    assert VagrantLab().status()["state"] == "absent"
    with pytest.raises(LabNotRunning, match="vagrant up web"):
        VagrantLab().web()
    VagrantLab().halt()
    VagrantLab().destroy()


def made_by_vagrant(machine_id="id-1"):
    path = vagrant.VAGRANT / "machines" / "web" / "libvirt" / "id"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(machine_id)


@pytest.mark.parametrize(("word", "state"), [("running", "running"), ("poweroff", "halted"), ("not_created", "absent")])
def test_the_state_is_read_from_vagrants_own_status(monkeypatch, tmp_path, word, state):
    made_by_vagrant()
    fake_program(tmp_path, monkeypatch, "vagrant", f"echo 1,web,provider-name,libvirt; echo 1,web,state,{word}")
    monkeypatch.setattr(VagrantLab, "web", lambda self: SshLab("vagrant@192.168.56.10").web())
    monkeypatch.setattr(vagrant.Host, "is_on_this_computer", lambda self: False)
    status = VagrantLab().status()
    assert status["state"] == state
    assert set(status) == STATUS_KEYS


@pytest.mark.parametrize(
    ("here", "own", "told"),
    [(True, {0, 1, 2, 3}, ([0, 1], [2, 3])), (True, {0, 1}, (None, None)), (False, {0, 1, 2, 3}, (None, None))],
)
def test_where_web_is_a_container_of_this_computer_the_load_keeps_off_its_cpus(monkeypatch, here, own, told):
    made_by_vagrant()
    monkeypatch.setattr(VagrantLab, "web", lambda self: SshLab("vagrant@192.168.56.10").web())
    monkeypatch.setattr(VagrantLab, "_state", lambda self: "running")
    monkeypatch.setattr(vagrant.Host, "is_on_this_computer", lambda self: here)
    monkeypatch.setattr(vagrant.Host, "run", lambda self, command: "0 1\n")
    monkeypatch.setattr(vagrant.cpus, "allowed", lambda: own)
    monkeypatch.setattr(vagrant.cpus, "look", lambda numbers: [vagrant.cpus.Cpu(n, frozenset({n})) for n in sorted(numbers)])
    status = VagrantLab().status()
    assert (status["pinned_cpus"], status["generator_cpus"]) == told


def test_the_web_host_is_found_through_vagrant_once_and_its_key_is_pinned(monkeypatch, tmp_path):
    """Of two addresses the second answers; a machine that Vagrant makes anew is asked anew."""
    made_by_vagrant()
    fake_program(
        tmp_path, monkeypatch, "vagrant",
        f"""echo $1 >> {tmp_path}/calls
        case $1 in
        ssh-config) printf 'Host web\\n HostName 127.0.0.1\\n User vagrant\\n Port 2222\\n IdentityFile "/keys/web"\\n';;
        ssh) echo 'ssh-ed25519 AAAAkey root@web'; echo '10.0.2.15 192.168.56.10 fe80::1';;
        esac""",
    )

    def run(host, command):
        if host.address != "192.168.56.10":
            raise LabNotRunning("no route")

    monkeypatch.setattr(vagrant.Host, "run", run)
    host = VagrantLab().web()
    assert (host.address, host.user, host.port, str(host.key_path)) == ("192.168.56.10", "vagrant", 22, "/keys/web")
    assert "192.168.56.10 ssh-ed25519 AAAAkey" in host.known_hosts_path.read_text()
    VagrantLab().web()
    assert (tmp_path / "calls").read_text().split() == ["ssh-config", "ssh"]
    made_by_vagrant("id-2")
    VagrantLab().web()
    assert len((tmp_path / "calls").read_text().split()) == 4


def test_the_desk_machine_needs_no_vagrant_but_cannot_halt_or_destroy():
    web = {"address": "192.168.56.10", "user": "vagrant", "port": 22, "key_path": "/k", "known_hosts_path": "/h"}
    vagrant.DESK.write_text(json.dumps({"web": web}))
    host = VagrantLab().web()
    assert (host.address, host.user, str(host.known_hosts_path)) == ("192.168.56.10", "vagrant", "/h")
    with pytest.raises(LabError, match="vagrant halt web"):
        VagrantLab().halt()
    with pytest.raises(LabError, match="vagrant destroy web"):
        VagrantLab().destroy()


VAGRANTS_OWN = """project=${VAGRANT_CWD:-$PWD}
folder=${VAGRANT_DOTFILE_PATH:-$project/.vagrant}
echo "$1 of $project" >> "$CALLS"
case $1 in
status) [ -e "$folder/machines/web/libvirt/id" ] && echo 1,web,state,poweroff || echo 1,web,state,not_created;;
up) mkdir -p "$folder/machines/web/libvirt" && echo id > "$folder/machines/web/libvirt/id";;
destroy) rm -r "$folder/machines/web";;
esac"""


@pytest.mark.parametrize("variable", ["VAGRANT_CWD", "VAGRANT_DOTFILE_PATH", "VAGRANT_VAGRANTFILE"])
def test_vagrants_variables_for_another_project_never_have_that_ones_machine_halted_or_destroyed(monkeypatch, tmp_path, variable):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for project in (ours, theirs):
        (project / ".vagrant/machines/web/libvirt").mkdir(parents=True)
        (project / ".vagrant/machines/web/libvirt/id").write_text("id")
    fake_program(tmp_path, monkeypatch, "vagrant", f"CALLS={tmp_path}/calls\n{VAGRANTS_OWN}")
    monkeypatch.setattr(vagrant, "ROOT", ours)
    monkeypatch.setattr(vagrant, "VAGRANT", ours / ".vagrant")
    value = {"VAGRANT_CWD": theirs, "VAGRANT_DOTFILE_PATH": theirs / ".vagrant", "VAGRANT_VAGRANTFILE": "Theirs"}[variable]
    monkeypatch.setenv(variable, str(value))
    assert VagrantLab().status()["state"] == "halted"
    VagrantLab().halt()
    VagrantLab().destroy()
    assert VagrantLab().status()["state"] == "absent"
    assert (theirs / ".vagrant/machines/web/libvirt/id").exists() and not (ours / ".vagrant/machines/web").exists()
    assert (tmp_path / "calls").read_text().splitlines() == [f"{word} of {ours}" for word in ("status", "halt", "destroy")]
    with pytest.raises(LabNotRunning, match="vagrant up web"):
        VagrantLab().web()


@pytest.mark.parametrize("words", [
    "The VirtualBox VM was created with a user that doesn't match the current user running Vagrant.",
    "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock",
    "Call to virConnectOpen failed: authentication unavailable: no polkit agent available",
])  # fmt: skip
def test_a_machine_that_vagrant_may_not_look_at_is_no_halt(monkeypatch, tmp_path, words):
    made_by_vagrant()
    fake_program(tmp_path, monkeypatch, "vagrant", f'echo "{words}" >&2; exit 1')
    status = VagrantLab().status()
    assert (status["state"], words in status["why"]) == ("no right to look", True)


def test_when_vagrant_fails_the_message_names_the_command(monkeypatch, tmp_path):
    made_by_vagrant()
    fake_program(tmp_path, monkeypatch, "vagrant", "echo 'the provider is broken' >&2; exit 3")
    with pytest.raises(LabError, match="vagrant up web.*exit code 3"):
        VagrantLab().up()
    with pytest.raises(LabNotRunning, match="the provider is broken"):
        VagrantLab().web()
