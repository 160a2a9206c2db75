"""What can go wrong with `vagrant up` by Docker's engine: one clear line each, and nothing lost. `make test-docker`.

One engine and one image for all. Each test begins and ends with the lab up, and with the student's work on desk.
"""

import re
import shutil
import socket
import subprocess
import time

import pytest
from classroom_lab import StepFailed, free_network, free_port, make, run
from docker_engine import BASE, Engine
from docker_lab import DockerLab

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    made = make(DockerLab, tmp_path_factory.mktemp("docker") / "stacklab-faults")
    try:
        made.engine.make_base()
        made.vagrant("up", timed="up, with the image built")
        made.on_desk("echo mine > notebooks/mine.txt")
        yield made
    finally:
        made.clean()


@pytest.fixture
def second(lab, tmp_path):
    """Another checkout on the same computer, with the same engine; not yet up."""
    run("git", "clone", "--quiet", lab.folder, tmp_path / "second")
    other = DockerLab(tmp_path / "second", network=lab.network)
    other.engine = lab.engine
    yield other
    give_up(other)


@pytest.fixture
def cramped(lab, second, tmp_path_factory):
    """The other checkout by an engine whose disk has room for the base and little more."""
    second.network, second.engine = free_network(), Engine(tmp_path_factory.mktemp("cramped"))
    second.engine.limit("300m")
    try:
        second.engine.start()
        base = subprocess.run(["docker", "save", BASE], env=lab.engine.environment, capture_output=True, check=True).stdout
        subprocess.run(["docker", "load", "--quiet"], env=second.engine.environment, input=base, check=True)
        yield second
        give_up(second)
    finally:
        second.engine.remove()
        second.engine = lab.engine


def give_up(lab):
    run("vagrant", "destroy", "--force", cwd=lab.folder, env={**lab.environment, "STACKLAB_DISCARD_WORK": "1"})


def image_file(lab, folder, name):
    """The lab's image as a file, packed in haste."""
    file = folder / f"stacklab-{name}-docker-amd64.tar.zst"
    with open(folder / "whole", "wb") as whole:
        save = ("docker", "save", f"stacklab:{own_image(lab)}")
        subprocess.run(save, env=lab.engine.environment, stdout=whole, check=True)
    subprocess.run(["zstd", "-q", "-1", "--rm", folder / "whole", "-o", file], check=True)
    return file


def own_image(lab):
    """The hash of the image that the lab's web host began as."""
    web = (lab.folder / ".vagrant/machines/web/docker/id").read_text()
    return lab.engine.docker("container", "inspect", "--format", "{{.Config.Image}}", web).strip()[-8:]


def containers(lab):
    """{machine: its container}."""
    return {name: (lab.folder / f".vagrant/machines/{name}/docker/id").read_text() for name in ("web", "desk")}


def is_whole(lab):
    """Both machines serve, each knows the other, and the work is there."""
    return lab.status()["state"] == "running" and lab.on_desk("cat notebooks/mine.txt").strip() == "mine"


def refusal(lab, *words, **environment):
    """What `vagrant` says when it refuses; it must have made nothing."""
    before = lab.engine.docker("ps", "--all", "--quiet")
    with pytest.raises(StepFailed) as refused:
        run("vagrant", *words, cwd=lab.folder, env={**lab.environment, **environment})
    assert lab.engine.docker("ps", "--all", "--quiet") == before
    return str(refused.value)


def test_a_second_checkout_on_the_same_addresses_is_told_what_to_set(second):
    said = refusal(second, "up")
    assert "of another folder's lab" in said and "STACKLAB_NETWORK=192.168.5" in said


def test_a_second_checkout_with_its_own_network_runs_beside_the_first_and_goes_without_harm_to_it(lab, second):
    second.network = free_network()
    assert "know each other's keys" in second.vagrant("up", timed="up of a second checkout")
    lab.vagrant("halt")
    second.vagrant("destroy", "--force")
    lab.vagrant("up")
    assert is_whole(lab)


def test_a_port_that_is_taken_is_named_with_its_variable(second):
    second.network, second.jupyter_port = free_network(), free_port()
    with socket.create_server(("127.0.0.1", second.jupyter_port)):
        said = refusal(second, "up", "desk")
    assert f"port {second.jupyter_port}, for JupyterLab, is taken" in said and "STACKLAB_JUPYTER_PORT" in said


def test_more_memory_than_there_is_and_a_network_of_the_computers_own_are_told(second):
    second.network = free_network()
    assert "STACKLAB_MEMORY_MB" in refusal(second, "up", STACKLAB_MEMORY_MB="9000000")
    assert "lo (127.0.0.1" in refusal(second, "up", STACKLAB_NETWORK="127.0.0")


def test_an_image_file_that_is_half_written_lies_or_is_for_another_processor_is_refused(lab, second, tmp_path):
    second.network = free_network()
    file = image_file(lab, tmp_path, "0badf00d")
    assert "cannot be loaded" in refusal(second, "up", "web", STACKLAB_BOX=str(file)), "it holds another image"
    with open(file, "r+b") as half:
        half.truncate(file.stat().st_size // 2)
    assert "cannot be loaded" in refusal(second, "up", "web", STACKLAB_BOX=str(file))
    other = file.rename(tmp_path / "stacklab-0badf00d-docker-s390x.tar.zst")
    assert "another provider or processor" in refusal(second, "up", "web", STACKLAB_BOX=str(other))
    assert "there is no such file" in refusal(second, "up", "web", STACKLAB_BOX=str(file))


def test_a_killed_container_and_a_lost_network_come_back_with_the_work(lab):
    lab.engine.docker("kill", *containers(lab).values())
    lab.engine.docker("network", "prune", "--force")
    lab.vagrant("up", timed="up after containers and network were lost")
    assert is_whole(lab)


def test_an_engine_that_stops_under_the_lab_and_starts_again_has_it_still(lab):
    lab.engine.stop()
    with pytest.raises(StepFailed, match="Docker's engine cannot be used"):
        lab.vagrant("up")
    lab.engine.start()
    lab.vagrant("up", timed="up after the engine was stopped")
    assert is_whole(lab)


def test_an_engine_that_was_killed_starts_again_and_has_the_lab_still(lab):
    for _ in range(2):
        lab.engine.kill()
        lab.engine.start()
        lab.vagrant("up", timed="up after the engine was killed")
        assert is_whole(lab)


@pytest.mark.parametrize("seconds", [4, 8, 12])
def test_an_up_that_was_cut_off_is_said_again(lab, second, seconds):
    second.network = free_network()
    cut = subprocess.Popen(
        ["vagrant", "up"], cwd=second.folder, env=second.environment,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(seconds)
    cut.kill()
    cut.wait()
    second.vagrant("up", "--provision", timed=f"up again after it was cut off at {seconds} s")
    assert second.status()["state"] == "running"


def test_the_engine_stops_in_the_middle_of_up(lab, second):
    second.network = free_network()
    up = subprocess.Popen(
        ["vagrant", "up"], cwd=second.folder, env=second.environment,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    time.sleep(7)
    lab.engine.stop()
    up.communicate(timeout=300)
    lab.engine.start()
    lab.vagrant("up")
    second.vagrant("up", "--provision")
    assert second.status()["state"] == "running" and is_whole(lab)


def test_a_laptop_that_slept(lab):
    lab.engine.docker("pause", *containers(lab).values())
    time.sleep(40)
    lab.engine.docker("unpause", *containers(lab).values())
    assert is_whole(lab)


def test_a_firewall_that_keeps_the_machines_apart_is_named(lab):
    lab.on("desk", f"sudo ip route add blackhole {lab.web}")
    with pytest.raises(StepFailed, match="a firewall on this computer keeps the two apart"):
        lab.vagrant("provision", "desk", "--provision-with", "introduction")
    lab.on("desk", f"sudo ip route del blackhole {lab.web}")
    lab.vagrant("provision", "desk", "--provision-with", "introduction")


def test_a_desk_made_anew_gets_the_work_back(lab):
    lab.vagrant("destroy", "--force", "desk")
    lab.vagrant("up", "desk", timed="up of a desk made anew")
    assert is_whole(lab)


def test_a_desk_that_vagrant_has_forgotten_is_not_thrown_away(second):
    second.network = free_network()
    second.vagrant("up", "desk")
    desk = (second.folder / ".vagrant/machines/desk/docker/id").rename(second.folder / "its-id")
    assert "has a student's work" in refusal(second, "up", "desk")
    desk.rename(second.folder / ".vagrant/machines/desk/docker/id")


def test_suspend_says_a_clear_word_and_keeps_the_work(lab):
    with pytest.raises(StepFailed, match="not supported with the Docker provider"):
        lab.vagrant("suspend")
    assert (lab.folder / "work/notebooks/mine.txt").exists() and is_whole(lab)


def test_a_build_that_fails_says_why_and_leaves_no_image(lab, second):
    second.network = free_network()
    steps = second.folder / "provision/docker/Dockerfile"
    steps.write_text(steps.read_text().replace("COPY app", "RUN echo 'no such package' >&2 && false\nCOPY app"))
    said = refusal(second, "up", "web")
    assert "docker build failed" in said and "no such package" in said
    assert len(lab.engine.docker("images", "--quiet", "stacklab").split()) == 1


def test_a_disk_that_fills_is_named_and_with_room_all_goes_on(lab, cramped, tmp_path):
    full = "Docker's disk is full: .*\nThe image and two machines take up to 5.0 GB. Make room where"
    assert re.search(full, refusal(cramped, "up", "web")), "the packages do not fit"
    cramped.engine.limit("600m")
    file = image_file(lab, tmp_path, own_image(lab))
    assert re.search(full, refusal(cramped, "up", "web", STACKLAB_BOX=str(file))), "nor does an image file"
    cramped.engine.limit("1g")
    assert re.search(full, refusal(cramped, "up", "web")), "nor do the Python environments"
    cramped.engine.limit("4g")
    cramped.vagrant("up", "web", timed="up web, with the image built on a disk that was full")
    assert cramped.answer("/")[0] == 200


def test_machines_that_an_older_checkout_made_live_on_in_the_new_one(second):
    second.network = free_network()
    maker = second.folder / "provision/vagrant/docker.rb"
    maker.write_text(maker.read_text().replace(', "--label=#{label}"', ""))
    second.vagrant("up")
    second.on_desk("echo mine > notebooks/mine.txt")
    run("git", "checkout", "--quiet", ".", cwd=second.folder)
    page = second.folder / "app/pages/templates/pages/index.html"
    page.write_text(page.read_text().replace("Choose a room", "Choose a newer room"))
    for words in (("up",), ("reload",), ("provision",), ("destroy", "--force", "web"), ("up", "web")):
        second.vagrant(*words)
    assert is_whole(second) and "Choose a newer room" in second.answer("/")[2]
    second.vagrant("destroy", "--force")
    second.vagrant("up")
    assert is_whole(second), "the work came back"


def test_the_image_file_of_this_very_checkout_goes_before_one_that_was_copied_later(lab, second):
    second.network = free_network()
    for name in (own_image(lab), "0badf00d"):
        (second.folder / f"stacklab-{name}-docker-amd64.tar.zst").touch()
    second.vagrant("up", "web")
    assert own_image(second) == own_image(lab)


def test_machines_of_a_provider_that_is_gone_are_told_and_not_touched(second):
    second.network = free_network()
    for machine in ("web", "desk"):
        folder = second.folder / f".vagrant/machines/{machine}/virtualbox"
        folder.mkdir(parents=True)
        (folder / "id").write_text("8a7a1a4e-0000-4000-8000-000000000000")
    assert "VirtualBox" in refusal(second, "up")
    said = refusal(second, "doctor")
    assert "desk, web were made by virtualbox" in said and "delete the folder .vagrant" in said
    shutil.rmtree(second.folder / ".vagrant")
    second.vagrant("up", "web")


def test_a_changed_line_of_the_site_costs_seconds(lab, second):
    second.network = free_network()
    page = next((second.folder / "app").rglob("index.html"))
    page.write_text(page.read_text() + "<!-- mine -->\n")
    second.vagrant("image", ".", timed="image and its file after a changed line of the site")
    (file,) = second.folder.glob("stacklab-*-docker-*.tar.zst")
    assert file.stat().st_size < 400 * 10**6
