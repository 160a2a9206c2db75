"""Which CPUs the web host and the load generator get, on computers of every shape."""

import os
import threading

import pytest

from stacklab.bench.experiment import _notes
from stacklab.labs import cpus
from stacklab.labs.cpus import Cpu

# As the kernels of such computers describe them: {CPU: (thread_siblings_list, node, more files)}.
LAPTOP = {n: (f"{n % 4},{n % 4 + 4}", 0, {"cpufreq/cpuinfo_max_freq": "4200000"}) for n in range(8)}  # 4 cores, 8 threads
NEIGHBOURS = {n: (f"{n // 2 * 2}-{n // 2 * 2 + 1}", 0, {}) for n in range(8)}  # the same, counted core by core, as on a VM
HYBRID = {  # 6 performance cores of two threads, two of them favoured, and 8 efficiency cores
    **{
        n: (f"{n // 2 * 2}-{n // 2 * 2 + 1}", 0, {"cpufreq/cpuinfo_max_freq": "5200000" if n in (4, 5, 6, 7) else "5000000"})
        for n in range(12)
    },
    **{n: (str(n), 0, {"cpufreq/cpuinfo_max_freq": "3900000"}) for n in range(12, 20)},
}  # fmt: skip
SERVER = {n: (f"{n % 8},{n % 8 + 8}", n % 8 // 4, {}) for n in range(16)}  # two nodes of four cores, two threads each
ONE, TWO = {0: ("0", 0, {})}, {0: ("0", 0, {}), 1: ("1", 0, {})}
ONE_CORE = {0: ("0-1", 0, {}), 1: ("0-1", 0, {})}
ARM = {n: (str(n), 0, {"cpu_capacity": "485" if n < 4 else "1024"}) for n in range(8)}  # four of each, the weak ones first
ONE_STRONG = {n: (str(n), 0, {"cpu_capacity": "1024" if n == 0 else "400"}) for n in range(4)}


def recorded(tmp_path, topology) -> object:
    for number, (siblings, node, files) in topology.items():
        cpu = tmp_path / f"devices/system/cpu/cpu{number}"
        for name, text in {"topology/thread_siblings_list": siblings, **files}.items():
            (cpu / name).parent.mkdir(parents=True, exist_ok=True)
            (cpu / name).write_text(text + "\n")
        (cpu / f"node{node}").mkdir()
    return tmp_path


def seen(tmp_path, topology, allowed=None) -> list[Cpu]:
    return cpus.look(allowed or topology, recorded(tmp_path, topology))


@pytest.mark.parametrize(
    ("topology", "web", "generator"),
    [
        (LAPTOP, [0, 1, 4, 5], [2, 3, 6, 7]),
        (NEIGHBOURS, [0, 1, 2, 3], [4, 5, 6, 7]),
        (HYBRID, [0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]),
        (SERVER, [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]),
        (ONE, None, None),
        (TWO, [0], [1]),
        (ONE_CORE, None, None),
        (ARM, [4, 5], [6, 7]),
        (ONE_STRONG, [0, 1], [2, 3]),
    ],
)
def test_web_and_generator_get_whole_cores_of_one_kind(tmp_path, topology, web, generator):
    assert cpus.split(seen(tmp_path, topology)) == (web, generator)


@pytest.mark.parametrize("topology", [LAPTOP, NEIGHBOURS, HYBRID, SERVER, TWO, ARM])
def test_they_never_share_a_core(tmp_path, topology):
    found = seen(tmp_path, topology)
    web, generator = (set(part) for part in cpus.split(found))
    assert not any(cpu.siblings & web and cpu.siblings & generator for cpu in found)


@pytest.mark.parametrize(
    ("allowed", "web", "generator"),
    [({0, 4}, None, None), ({0, 4, 1}, [0, 4], [1]), ({1, 2, 5}, [1, 5], [2])],
)
def test_what_a_container_may_use_is_what_counts(tmp_path, allowed, web, generator):
    assert cpus.split(seen(tmp_path, LAPTOP, allowed)) == (web, generator)


def test_of_uneven_nodes_the_web_host_gets_cores_of_one(tmp_path):
    assert cpus.split(seen(tmp_path, SERVER, {0, 4, 5, 6, 7})) == ([4, 5], [0, 6, 7])


def test_a_computer_that_tells_nothing_has_as_many_cores_as_cpus(tmp_path):
    found = cpus.look(range(4), tmp_path)
    assert cpus.split(found) == ([0, 1], [2, 3])
    assert cpus.describe(found) == {"cores": 4, "threads": 4, "nodes": 1, "efficiency_cores": 0}


def test_what_is_left_beside_somebody_elses_cpus_shares_no_core_with_them(tmp_path):
    assert cpus.beside(seen(tmp_path, LAPTOP), [0, 1]) == [2, 3, 6, 7]


def test_a_run_keeps_what_the_cpus_are(tmp_path):
    assert cpus.describe(seen(tmp_path, HYBRID)) == {"cores": 14, "threads": 20, "nodes": 1, "efficiency_cores": 8}


def told(tmp_path, **files):
    for name, text in files.items():
        path = tmp_path / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return cpus.power(tmp_path)


def test_a_laptop_on_its_battery_says_so(tmp_path):
    assert cpus.power(tmp_path) == {} and cpus.power_words({}) == []
    seen = told(
        tmp_path,
        devices__system__cpu__cpu0__cpufreq__scaling_governor="powersave",
        devices__system__cpu__cpu0__cpufreq__scaling_driver="acpi-cpufreq",
        devices__system__cpu__intel_pstate__no_turbo="1",
        class__power_supply__BAT0__type="Battery",
        class__power_supply__AC__type="Mains",
        class__power_supply__AC__online="0",
    )
    assert seen == {"governor": "powersave", "driver": "acpi-cpufreq", "turbo": False, "on_battery": True}
    assert len(cpus.power_words(seen)) == 2
    plugged = seen | {"driver": "intel_pstate", "on_battery": False}
    assert cpus.power_words(plugged) == [], "this driver's powersave goes as high as it must"


def test_a_run_notes_what_one_should_know_of_where_it_was_measured():
    assert _notes("container", True, [0], "powersave") == []
    assert "not kept on different cores" in _notes("container", True, None, "")[0]
    assert "only libvirt keeps them apart" in _notes("vagrant", False, None, "")[0]
    assert _notes("ssh", False, None, "powersave") == ["The web host's governor was powersave."]


@pytest.mark.skipif(len(cpus.allowed()) < 2, reason="one CPU: nowhere to go")
def test_this_process_leaves_the_web_hosts_cpus_and_gets_its_own_back():
    before = os.sched_getaffinity(0)
    first, *rest = sorted(before)
    ask, told = threading.Event(), []
    thread = threading.Thread(target=lambda: (ask.wait(), told.append(os.sched_getaffinity(0))))
    thread.start()
    with cpus.out_of_the_way([first], rest):
        assert first not in os.sched_getaffinity(0)
        ask.set()
        thread.join()
        late = threading.Thread(target=lambda: after.wait())
        after = threading.Event()
        late.start()
    assert first not in told[0] and os.sched_getaffinity(0) == before
    assert os.sched_getaffinity(late.native_id) == before
    after.set()
    late.join()
    with cpus.out_of_the_way(None, None):
        assert os.sched_getaffinity(0) == before
