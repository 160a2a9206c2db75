"""What a machine's list of what provisioning brought has go and stay, where others' things depend on it; and who keeps it."""

import importlib.machinery
import importlib.util
import subprocess

import pytest

from stacklab.files import ROOT


@pytest.fixture
def program(monkeypatch):
    """provision/brought, on a machine of which `installed` and `owned` ({file: package}) are all that dpkg knows."""
    loader = importlib.machinery.SourceFileLoader("brought_program", str(ROOT / "provision/brought"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    module.known, module.owned = [], {}

    def run(*command):
        said = ""
        if command[0] == "dpkg-query":
            said = "".join(f"{name} installed\n" for name in command[4:] if name in module.known)
        elif command[:2] == ("dpkg", "-S"):
            said = f"{module.owned[command[2]]}: {command[2]}\n" if command[2] in module.owned else ""
        return subprocess.CompletedProcess(command, 0, said, "")

    monkeypatch.setattr(module, "run", run)
    return module


def test_a_package_goes_unless_somebody_has_put_something_of_theirs_into_its_folders(program, tmp_path, monkeypatch):
    program.known = ["nginx", "nginx-common", "postgresql-17", "rsync"]
    (tmp_path / "nginx/conf.d").mkdir(parents=True)
    for name in ("nginx.conf", "conf.d/stacklab.conf"):
        (tmp_path / "nginx" / name).touch()
    program.owned = {f"{tmp_path}/nginx/nginx.conf": "nginx-common"}
    monkeypatch.setattr(program, "GUARDED", {"nginx": tmp_path / "nginx", "postgresql": tmp_path / "postgresql"})
    found = {"package": [*program.known, "gone-since"], "file": [f"{tmp_path}/nginx/conf.d/stacklab.conf"]}
    goes, stays = program.plan(found)
    assert goes["packages"] == program.known and not any(line.startswith("packages") for line in stays)
    (tmp_path / "nginx/conf.d/mine.conf").touch()
    goes, stays = program.plan(found)
    assert goes["packages"] == ["postgresql-17", "rsync"]
    assert stays[0] == (
        f"packages nginx nginx-common: {tmp_path}/nginx/conf.d/mine.conf would go with them, and did not come with us"
    )


def test_a_packages_own_file_of_which_nobody_knows_what_it_was_is_left_and_named(program, tmp_path):
    (tmp_path / "nginx.conf").touch()
    (tmp_path / "ours.conf").touch()
    program.owned = {f"{tmp_path}/nginx.conf": "nginx-common"}
    goes, stays = program.plan({"late": ["list"], "file": [f"{tmp_path}/{name}" for name in ("nginx.conf", "ours.conf", "gone")]})
    assert goes["files"] == [f"{tmp_path}/ours.conf"]
    assert "as the lab wrote it: it is a file of nginx-common" in stays[0]
    assert any("before this machine kept a list" in line for line in stays)


def test_of_a_template_all_instances_are_stopped_and_a_drop_in_is_no_unit(program):
    units = [f"/etc/systemd/system/{name}" for name in ("daphne@.service", "uwsgi.service", "nginx.service.d/stacklab.conf")]
    assert program.units_of([*units, "/etc/logrotate.d/stacklab"]) == ["daphne@*.service", "uwsgi.service"]


def functions(folder, commands):
    """Runs `commands` among web.sh's own functions, whose state is in `folder`; the lines of the list."""
    source = (ROOT / "provision/web.sh").read_text()
    end = source.index("\n# shellcheck source=provision/certificates.sh")
    head = source[:end].replace("/var/lib/stacklab", f"{folder}/state").replace("/etc/stacklab", f"{folder}/etc")
    (folder / "state").mkdir(exist_ok=True)
    done = subprocess.run(["bash", "-c", f"{head}\n{commands}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return (folder / "state/brought").read_text().splitlines()


def test_a_file_that_was_there_is_kept_as_it_was_once_and_one_that_was_not_is_ours(tmp_path):
    (tmp_path / "theirs").write_text("theirs\n")
    (tmp_path / "source").write_text("ours\n")
    install = f'install_file "{tmp_path}/source" "{tmp_path}/theirs"; install_file "{tmp_path}/source" "{tmp_path}/new"'
    lines = functions(tmp_path, install)
    assert lines == [f"original {tmp_path}/theirs", f"file {tmp_path}/new"]
    (tmp_path / "source").write_text("ours, newer\n")
    assert functions(tmp_path, install) == lines
    assert (tmp_path / "theirs").read_text() == "ours, newer\n"
    assert (tmp_path / f"state/originals{tmp_path}/theirs").read_text() == "theirs\n"


def test_on_a_machine_of_before_there_was_a_list_no_file_of_ours_is_taken_for_somebody_elses(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/settings.json").touch()
    (tmp_path / "there").touch()
    (tmp_path / "home/wheels").mkdir(parents=True)
    lines = functions(tmp_path, f'home={tmp_path}/home; begin; brought_files "{tmp_path}/there"; begin')
    assert lines[-3:] == ["late list", f"kept {tmp_path}/home/wheels", f"file {tmp_path}/there"]
    assert not (tmp_path / "state/originals").exists()
