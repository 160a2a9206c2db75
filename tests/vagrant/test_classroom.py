"""The classroom lab from nothing: a clean clone, the offline box, two machines, a student's hour, and back to nothing.

Each test is one step, in this order; each needs the ones before it. The transcript of times is printed at the end.
"""

import json
import os
import socket
import urllib.request
from pathlib import Path

import pytest
from classroom_lab import StepFailed, make
from docker_lab import DockerLab
from jupyter_browser import run_all_cells
from libvirt_lab import LibvirtLab

pytestmark = pytest.mark.timeout(3600)
PICTURE = Path(__file__).resolve().parents[2] / "build" / "jupyterlab-on-desk.png"


def by_itself(test):
    """Run this step also after another failed."""
    test.always = True
    return test


@pytest.fixture(scope="module")
def lab(request, tmp_path_factory):
    kind = LibvirtLab if request.config.getoption("--libvirt", default=False) else DockerLab
    made = make(kind, tmp_path_factory.mktemp("vagrant") / "stacklab-acceptance")
    yield made
    try:
        made.clean()
    finally:
        print("\n" + "\n".join(f"{name:40} {time_s:6.0f} s" for name, time_s in made.times_s.items()))


def test_the_box_is_built_from_debians_packages(lab):
    assert lab.build_box().stat().st_size < 10**9


def test_both_machines_come_up_with_the_way_to_the_outside_cut(lab):
    lab.cut()
    said = lab.vagrant("up", timed="up, both machines, no network")
    lab.address = lab.jupyterlab(said)
    assert f"https://127.0.0.1:{lab.site_port}/chat/" in said
    assert "know each other's keys" in said
    with pytest.raises(StepFailed):
        lab.on("web", "timeout 5 bash -c 'exec 3<>/dev/tcp/192.0.2.1/80'")


def test_the_machines_have_keys_and_secrets_of_their_own(lab):
    keys = {lab.on(machine, "cat /etc/ssh/ssh_host_ed25519_key.pub /etc/machine-id") for machine in ("web", "desk")}
    assert len(keys) == 2
    assert "insecure" not in lab.on("web", "cat .ssh/authorized_keys")
    kept = lab.on("desk", "ls /etc/stacklab").split()
    assert "desk.json" in kept and "tls" not in kept, "desk began as the same box: no CA is handed out in it"


def test_jupyterlab_is_forwarded_to_loopback_alone_and_wants_its_token(lab):
    with urllib.request.urlopen(lab.address, timeout=60) as response:
        assert response.status == 200
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"http://127.0.0.1:{lab.jupyter_port}/api/contents", timeout=60)
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
    for address in others:
        with pytest.raises(OSError):
            socket.create_connection((address, lab.jupyter_port), timeout=5)


def test_the_chat_page_is_served_on_the_forwarded_port_without_hsts(lab):
    status, headers, text = lab.answer("/chat/", name="localhost")
    assert status == 200 and "<html" in text
    # HSTS would bind the name "localhost", and with it JupyterLab's plain HTTP. (Addresses are bound by no browser.)
    assert headers["Strict-Transport-Security"] is None


def test_status_on_desk_shows_the_stack_without_any_configuration(lab):
    status = json.loads(lab.on_desk("fab status --json", timed="fab status"))
    assert (status["lab"], status["state"], status["address"]) == ("vagrant", "running", lab.web)
    if lab.shares_cpus and os.cpu_count() > 1:
        assert status["pinned_cpus"] and not set(status["pinned_cpus"]) & set(status["generator_cpus"])


def test_status_from_the_computer_that_runs_vagrant(lab):
    status = json.loads(lab.fab("status", "--json"))
    assert (status["lab"], status["state"]) == ("vagrant", "running")


def test_the_doctor_sees_that_the_machines_run_and_finds_nothing_amiss(lab):
    for said in (lab.vagrant("doctor"), lab.fab("doctor").split("a lab by Vagrant")[1]):
        assert "both machines run" in said
        assert "vagrant up needs no network" in said and "FAIL" not in said


def test_a_setting_is_changed_from_desk(lab):
    lab.on_desk("fab set --uwsgi-processes 3", timed="fab set --uwsgi-processes 3")
    status = lab.status()
    assert status["settings"]["uwsgi_processes"] == status["observed"]["uwsgi_processes"] == 3


def test_a_quick_http_load_from_desk(lab):
    lab.on_desk("fab http --users 5 --requests 100", timed="fab http, 100 requests")


def test_a_quick_chat_load_from_desk(lab):
    lab.on_desk("fab chat --clients 6 --rooms 2 --duration-s 10 --messages-per-s 0.5", timed="fab chat, 10 s")


def test_a_student_runs_the_first_notebook_in_a_browser(lab):
    PICTURE.parent.mkdir(exist_ok=True)
    cells = run_all_cells(lab.address, "notebooks/en/00_start_here.ipynb", PICTURE)
    assert cells["executed"] > 0 and cells["errors"] == []
    # JupyterLab holds only what is in view: whether a cell before it failed, and those after it never ran, the file says.
    saved = json.loads(lab.on_desk("cat notebooks/en/00_start_here.ipynb"))["cells"]
    code = [cell for cell in saved if cell["cell_type"] == "code"]
    assert [cell["source"] for cell in code if not cell["execution_count"]] == []
    assert [output for cell in code for output in cell["outputs"] if output["output_type"] == "error"] == []


def test_more_notebooks_run_on_desk(lab):
    for name in lab.extra_notebooks:
        lab.on_desk(f"cd notebooks && jupyter execute {name}.ipynb --timeout=1800", timed=name, timeout_s=3400)


def test_reload_keeps_the_work_and_hands_it_to_the_laptop(lab):
    lab.on_desk("echo mine > notebooks/mine.txt")
    said = lab.vagrant("reload", timed="reload")
    assert lab.jupyterlab(said) == lab.address
    assert lab.on_desk("cat notebooks/mine.txt").strip() == "mine"
    assert (lab.folder / "work/notebooks/mine.txt").read_text().strip() == "mine"
    assert list((lab.folder / "work/results").iterdir())


def test_provisioning_again_changes_nothing(lab):
    said = lab.vagrant("provision", timed="provision again")
    assert "changed:" not in said
    assert lab.on_desk("cat notebooks/mine.txt").strip() == "mine"


def test_halt_and_up_again_serves_the_same_settings(lab):
    lab.vagrant("halt", timed="halt")
    lab.vagrant("up", timed="up again")
    status = lab.status()
    assert status["observed"]["uwsgi_processes"] == 3
    assert lab.answer("/")[0] == 200


def test_a_web_host_made_anew_is_introduced_to_the_desk(lab):
    lab.vagrant("destroy", "--force", "web")
    said = lab.vagrant("up", "web", timed="up web alone, beside a desk")
    assert "know each other's keys" in said
    assert lab.status()["state"] == "running"


@by_itself
def test_destroy_leaves_nothing_behind(lab):
    lab.vagrant("destroy", "--force", timed="destroy")
    assert lab.leftovers() == ""


def test_the_work_outlives_the_machines(lab):
    assert (lab.folder / "work/notebooks/mine.txt").exists()
