"""Boxes of a teacher's own: what Vagrant itself makes of them, and whether what is built fits together."""

import functools
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = (ROOT / "provision/box/build").read_text()
# A provider that only fetches its box, under the name of one that the Vagrantfile knows and that need not be installed.
ONLY_THE_BOX = """
class OnlyTheBox < Vagrant.plugin("2", :provider)
  def action(_) = Vagrant::Action::Builder.new.tap { |all| all.use Vagrant::Action::Builtin::HandleBox }
  def state = Vagrant::MachineState.new(:not_created, "none", "none")
  def ssh_info = nil
end
class OnlyTheBoxPlugin < Vagrant.plugin("2")
  name "only the box"
  provider(:libvirt, parallel: false) { OnlyTheBox }
end
"""
needs_vagrant = pytest.mark.skipif(not shutil.which("vagrant"), reason="vagrant is not installed: box files are NOT checked")


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "checkout"
    shutil.copytree(ROOT / "provision/vagrant", folder / "provision/vagrant")
    shutil.copy(ROOT / "Vagrantfile", folder)
    return folder


@pytest.fixture
def vagrant(checkout, tmp_path):
    """`vagrant up web` there, as far as its box: vagrant(STACKLAB_…="…") gives (return code, what it said)."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "Vagrantfile").write_text(ONLY_THE_BOX)

    def up(**told):
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("STACKLAB_", "VAGRANT_"))}
        done = subprocess.run(
            ["vagrant", "up", "web", "--provider=libvirt"], cwd=checkout, capture_output=True, text=True,
            env=clean | {"VAGRANT_HOME": str(home), "VAGRANT_CHECKPOINT_DISABLE": "1", "no_proxy": "127.0.0.1"} | told,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    up.boxes = home / "boxes"
    return up


def make_box(path):
    """A box of libvirt's with nothing in it; returns its SHA-256."""
    what = json.dumps({"provider": "libvirt", "format": "qcow2", "virtual_size": 1}).encode()
    with tarfile.open(path, "w") as box:
        entry = tarfile.TarInfo("metadata.json")
        entry.size = len(what)
        box.addfile(entry, io.BytesIO(what))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@needs_vagrant
def test_a_teachers_place_hands_out_the_box_and_one_that_came_otherwise_is_refused(vagrant, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    sum_ = make_box(place / "debian-13.box")
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(SimpleHTTPRequestHandler, directory=place)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/debian-13.box"
        code, said = vagrant(STACKLAB_BOX_URL=url, STACKLAB_BOX_CHECKSUM="0" * 64)
        assert code != 0 and "checksum" in said and sum_ in said and not list(vagrant.boxes.glob("*/*/libvirt"))
        code, said = vagrant(STACKLAB_BOX_URL=url, STACKLAB_BOX_CHECKSUM=sum_)
        assert code == 0 and list(vagrant.boxes.glob("*/*/libvirt")), said
        server.shutdown()


@needs_vagrant
def test_a_box_file_that_is_not_what_the_checksum_beside_it_says_is_refused(vagrant, checkout):
    processor = "arm64" if os.uname().machine in ("aarch64", "arm64") else "amd64"
    box = checkout / f"stacklab-1-libvirt-{processor}.box"
    beside = Path(f"{box}.sha256")
    beside.write_text(f"{make_box(box)}  {box.name}\n")
    whole = box.read_bytes()
    box.write_bytes(whole[:-1])
    code, said = vagrant()
    assert code != 0 and "checksum" in said
    box.write_bytes(whole)
    code, said = vagrant()
    assert code == 0 and list(vagrant.boxes.glob("*/*/libvirt")), said


@needs_vagrant
@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"STACKLAB_BOX_URL": "https://boxes.example.org/1.box", "STACKLAB_BOX_CHECKSUM": "md5:1"}, "'md5:1', which is no"),
        ({"STACKLAB_BOX_CHECKSUM": "a" * 64}, "Set STACKLAB_BOX_URL too"),
    ],
)
def test_a_checksum_that_vagrant_could_not_use_is_refused_in_words(vagrant, told, words):
    code, said = vagrant(**told)
    assert code != 0 and words in " ".join(said.split())


def test_a_box_is_published_with_a_checksum_that_sha256sum_reads(tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/metadata.json").write_text("{}")
    publish = BUILD[BUILD.index("publish() {") : BUILD.index("step() {")]
    box = tmp_path / "one.box"
    subprocess.run(["bash", "-euc", f'{publish}publish "$1" "$2" metadata.json', "-", box, tmp_path / "parts"], check=True)
    assert tarfile.open(box).getnames() == ["metadata.json"]
    checked = subprocess.run(["sha256sum", "--check", "one.box.sha256"], cwd=tmp_path, capture_output=True, text=True)
    assert checked.stdout == "one.box: OK\n"
    assert not list(tmp_path.glob("*.new"))


def test_every_box_that_is_built_is_published():
    assert re.findall(r'^publish "\$(\w+)"', BUILD, re.MULTILINE) == ["libvirt_box", "virtualbox_box"]


def test_virtualboxs_description_names_only_what_is_in_it():
    text = (ROOT / "provision/box/box.ovf").read_text()
    assert set(re.findall(r"@\w+@", text)) == set(re.findall(r"@\w+@", BUILD)), "build fills in each figure"
    root = ElementTree.fromstring(text)
    ovf = "{http://schemas.dmtf.org/ovf/envelope/1}"
    (file,), (disk,), (network,) = (list(root.iter(ovf + name)) for name in ("File", "Disk", "Network"))
    assert disk.get(ovf + "fileRef") == file.get(ovf + "id") and file.get(ovf + "href") == "box.vmdk"
    items = [{part.tag.split("}")[1]: part.text for part in item} for item in root.iter(ovf + "Item")]
    assert all(list(item) == sorted(item) for item in items), "the schema wants their parts in this order"
    numbers = [item["InstanceID"] for item in items]
    assert len(set(numbers)) == len(numbers)
    (drive,) = (item for item in items if item["ResourceType"] == "17")
    assert drive["HostResource"] == f"/disk/{disk.get(ovf + 'diskId')}" and drive["Parent"] in numbers
    assert [item["Connection"] for item in items if "Connection" in item] == [network.get(ovf + "name")]
