"""The lines that nginx logged, as rows."""

import json

import pyarrow.parquet
import pytest

from stacklab.bench import serverlog
from stacklab.bench.serverlog import REQUESTS, Mark, collect, parse_line
from stacklab.errors import LabError
from stacklab.runs.tables import SCHEMAS
from stacklab.stack.render import TEMPLATES

LINE = {
    "end_s": 1700000000.123, "duration_s": 0.034, "upstream_s": "0.030", "upstream_addr": "unix:/run/uwsgi/stacklab.sock",
    "status": "200", "bytes": 512, "path": "/", "client": "10.83.0.10",
    "connection": 71, "connection_requests": 2, "tls_resumed": ".",
}  # fmt: skip


def parsed(**changes) -> dict:
    return parse_line(json.dumps(LINE | changes))


def test_a_line_becomes_a_row_of_numbers():
    row = parsed()
    assert (row["status"], row["upstream_s"], row["upstream_addr"]) == (200, 0.030, LINE["upstream_addr"])


@pytest.mark.parametrize(
    ("upstream_s", "upstream_addr", "last_s", "last_addr"),
    [
        ("", "", None, None),
        ("-", "127.0.0.1:8443", None, "127.0.0.1:8443"),
        ("0.001, 0.020", "127.0.0.1:8443, 127.0.0.1:8444", 0.020, "127.0.0.1:8444"),
        ("0.001, -", "127.0.0.1:8443, daphne-server", None, "daphne-server"),
        ("0.001 : 0.002", "127.0.0.1:8443 : 127.0.0.1:8445", 0.002, "127.0.0.1:8445"),
    ],
)
def test_where_several_upstreams_were_tried_the_last_one_counts(upstream_s, upstream_addr, last_s, last_addr):
    row = parsed(upstream_s=upstream_s, upstream_addr=upstream_addr)
    assert (row["upstream_s"], row["upstream_addr"]) == (last_s, last_addr)


def test_a_request_that_nginx_could_not_answer_has_status_0():
    assert parsed(status="000")["status"] == 0


def test_whether_a_tls_session_was_resumed_is_a_truth_or_nothing():
    assert [parsed(tls_resumed=said)["tls_resumed"] for said in ("r", ".", "")] == [True, False, None]
    assert parse_line(json.dumps({name: LINE[name] for name in LINE if name != "tls_resumed"}))["tls_resumed"] is None


def test_every_column_is_in_the_log_format():
    template = (TEMPLATES / "nginx.conf.j2").read_text()
    for name in SCHEMAS["server"].names:
        assert f'"{name}": ' in template
    assert set(SCHEMAS["server"].names) == set(LINE)


class Log:
    """A host whose logs are in memory."""

    def __init__(self, text: str, inode: int = 7):
        self.text, self.inode, self.aside = text, inode, None

    def rotate(self):
        """What logrotate does: the log goes on as another file, and the one before that is gone."""
        self.aside, self.text, self.inode = (self.text, self.inode), "", self.inode + 1

    def run(self, command, **_):
        if "stat -c" in command:
            aside = f"{REQUESTS}.1 {self.aside[1]} {len(self.aside[0].encode())}\n" if self.aside else ""
            return f"1700000000.5\n{REQUESTS} {self.inode} {len(self.text.encode())}\n{aside}"
        if command.startswith("tail"):
            start = int(command.split("+")[1].split()[0])
            return (self.aside[0] if command.endswith(".1") else self.text).encode()[start - 1 :].decode()
        return "journal\n"


def lines(*changes) -> str:
    return "".join(json.dumps(LINE | change, ensure_ascii=False) + "\n" for change in changes)


def test_only_what_was_logged_since_the_mark_is_kept_without_the_labs_own_checks(tmp_path):
    before = lines({"path": "/before"})
    log = Log(before)
    since = serverlog.mark(log)
    log.text += lines({"path": "/a"}, {"client": "127.0.0.1"}, {"path": "/한글\u2028\x85", "status": "502"})
    assert collect(log, since, tmp_path) == 2
    table = pyarrow.parquet.read_table(tmp_path / "server.parquet")
    assert table.schema == SCHEMAS["server"]
    assert table["path"].to_pylist() == ["/a", "/한글\u2028\x85"]
    assert table["status"].to_pylist() == [200, 502]


@pytest.mark.parametrize("cut", [1, 14, 60])
def test_a_line_that_was_half_written_as_somebody_looked_is_before_the_mark_or_not_there_yet(tmp_path, cut):
    """As happens where nginx has another CPU than who looks."""
    log = Log(lines({"path": "/before"}))
    whole, log.text = log.text, log.text[:-cut]
    since = serverlog.mark(log)
    log.text = whole + lines({"path": "/a"}, {"path": "/b"}) + lines({"path": "/later"})[:-cut]
    assert collect(log, since, tmp_path) == 2
    assert pyarrow.parquet.read_table(tmp_path / "server.parquet")["path"].to_pylist() == ["/a", "/b"]


def test_a_run_without_requests_has_an_empty_table(tmp_path):
    log = Log(lines({}))
    assert collect(log, serverlog.mark(log), tmp_path) == 0
    assert pyarrow.parquet.read_table(tmp_path / "server.parquet").num_rows == 0


def test_of_a_log_that_was_rotated_meanwhile_nothing_is_missing(tmp_path):
    log = Log(lines({"path": "/before"}))
    since = serverlog.mark(log)
    log.text += lines({"path": "/a"})
    log.rotate()
    log.text += lines({"path": "/b"})
    assert collect(log, since, tmp_path) == 2
    assert pyarrow.parquet.read_table(tmp_path / "server.parquet")["path"].to_pylist() == ["/a", "/b"]
    log.rotate()
    with pytest.raises(LabError, match="was rotated twice"):
        collect(log, since, tmp_path)


@pytest.mark.parametrize("now", [Log(lines({}, {}), inode=8), Log("")])
def test_a_log_of_which_a_part_is_gone_is_an_error(now, tmp_path):
    since = Mark({REQUESTS: (7, 100)}, 0.0)
    with pytest.raises(LabError, match="was rotated twice, or emptied, during the run"):
        collect(now, since, tmp_path)
