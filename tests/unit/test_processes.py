"""The list of processes, from what `ps` and `ss` print, and the picture that is drawn from it."""

import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_hex

from stacklab.stack.processes import COLUMNS, processes
from stacklab.study.diagram import MOST_CELLS, NEW, stack_diagram

PS = """\
systemd-journald.service     31     1 root      1  9000 /usr/lib/systemd/systemd-journald
nginx.service                80     1 root      1  9048 nginx: master process /usr/sbin/nginx -g daemon on;
nginx.service               363    80 www-data  1  8732 nginx: worker process
nginx.service               360    80 www-data  1  8732 nginx: worker process is shutting down
uwsgi.service               352     1 uwsgi     1 44484 /opt/stacklab/venv/bin/uwsgi --ini /etc/uwsgi/stacklab.ini
uwsgi.service               355   352 uwsgi     1 32584 /opt/stacklab/venv/bin/uwsgi --ini /etc/uwsgi/stacklab.ini
uwsgi.service               356   352 uwsgi     1 32584 /opt/stacklab/venv/bin/uwsgi --ini /etc/uwsgi/stacklab.ini
daphne@10.service           349     1 daphne    1 77712 python daphne_instance.py 10
daphne@2.service            348     1 daphne    1 77608 python daphne_instance.py 2
redis-server.service        290     1 redis     6 14076 /usr/bin/redis-server unixsocket:/run/redis/stacklab.sock

LISTEN 0 511 0.0.0.0:443 0.0.0.0:* users:(("nginx",pid=363,fd=6),("nginx",pid=80,fd=6))
LISTEN 0 511 [::]:443 [::]:* users:(("nginx",pid=363,fd=7),("nginx",pid=80,fd=7))
LISTEN 0 511 127.0.0.1:8080 0.0.0.0:* users:(("nginx",pid=363,fd=8),("nginx",pid=80,fd=8))
LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=99,fd=3))
LISTEN 0 50 127.0.0.1:8444 0.0.0.0:* users:(("python",pid=348,fd=9))
LISTEN 0 50 127.0.0.1:8452 0.0.0.0:*
"""


class FakeHost:
    def __init__(self, printed=PS):
        self.printed = printed

    def run(self, command, sudo=False):
        assert sudo, "only root sees whose port it is"
        return self.printed


@pytest.fixture
def table():
    return processes(FakeHost())


def test_the_stacks_processes_are_listed_in_the_order_of_a_request_and_nobody_else(table):
    assert tuple(table.columns) == COLUMNS
    assert list(table["service"]) == ["nginx"] * 3 + ["uwsgi"] * 3 + ["daphne@2", "daphne@10", "redis"]


def test_masters_workers_and_those_that_are_leaving_are_told_apart(table):
    roles = dict(zip(table["pid"], table["role"], strict=True))
    assert roles == {80: "master", 363: "worker", 360: "leaving", 352: "master", 355: "worker", 356: "worker",
                     348: "instance", 349: "instance", 290: "server"}  # fmt: skip


def test_a_shared_port_is_the_masters_and_an_unknown_owner_is_nobody(table):
    ports = dict(zip(table["pid"], table["ports"], strict=True))
    assert ports[80] == (443, 8080) and ports[363] == () and ports[348] == (8444,) and ports[349] == ()


def test_memory_is_in_bytes(table):
    assert table.set_index("pid").loc[290, "rss_bytes"] == 14076 * 1024


def test_a_stack_that_does_not_run_is_an_empty_table_and_still_a_picture():
    nothing = processes(FakeHost("\n\n"))
    assert nothing.empty and list(nothing.columns) == list(COLUMNS)
    assert "does not run" in words(stack_diagram(nothing))


def words(ax) -> str:
    return "\n".join(text.get_text() for text in ax.texts)


def test_the_picture_names_every_worker_and_instance_that_serves(table):
    drawn = words(stack_diagram(table))
    for shown in ("master 80", "master 352", "363", "355", "356", ":8444\n348", "290"):
        assert shown in drawn
    assert "360" not in drawn, "a worker that is leaving takes no new requests"
    assert "new since" not in drawn


def test_the_picture_shows_the_servers_that_run_in_the_usual_ones_place(table):
    others = {"uwsgi": "gunicorn", "daphne@2": "uvicorn@2", "daphne@10": "uvicorn@10"}
    drawn = words(stack_diagram(table.assign(service=table["service"].replace(others))))
    assert "gunicorn" in drawn and "uvicorn" in drawn and "uWSGI" not in drawn and "Daphne" not in drawn
    assert "master 352" in drawn and ":8444\n348" in drawn


def boxes(ax, colour) -> int:
    return sum(to_hex(patch.get_facecolor()).upper() == colour for patch in ax.patches)


def test_processes_that_were_not_there_before_stand_out(table):
    ax = stack_diagram(table, before=table[~table["pid"].isin([355, 356])])
    in_the_legend = 1
    assert "new since the change" in words(ax)
    assert boxes(ax, NEW) == 2 + in_the_legend
    assert boxes(stack_diagram(table), NEW) == 0


def test_very_many_workers_are_counted_instead_of_drawn(table):
    many = table.loc[table.index.repeat(table["pid"].eq(355).map({True: 64, False: 1}))]
    ax = stack_diagram(many)
    assert f"+ {64 + 1 - MOST_CELLS + 1}" in words(ax)
    assert len(ax.patches) < len(stack_diagram(table).patches) + MOST_CELLS


def test_a_picture_is_drawn_into_the_axes_it_is_given(table):
    _, ax = plt.subplots()
    assert stack_diagram(table, ax=ax) is ax
