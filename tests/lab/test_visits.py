"""Visitors of the lab's own site, as a small file tells what they do: pages, their files, and the chat; by `fab load`."""

from stacklab.runs.results import load_runs

VISITS = """
pages_per_visit = 6
think_s = 0.1
[pages]
"/" = 2
"/db/" = 1
"/visit/" = 1
[chat]
share = 1.0
rooms = 2
messages_per_min = 600
"""


def test_visitors_look_around_and_chat_and_all_of_it_is_one_run(at_defaults, fab, tmp_path):
    (tmp_path / "mine.toml").write_text(VISITS)
    results = tmp_path / "results"
    plan = str(tmp_path / "mine.toml")
    done = fab("load", "--file", plan, "--parameters", "users=6,duration_s=15", STACKLAB_RESULTS=str(results))
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = load_runs(results / "adhoc")
    requests = run.table("requests")
    assert requests["error"].isna().all(), requests["error"].dropna().unique()  # nor is a message lost of who just left
    counts = requests["name"].value_counts()
    assert {"GET /", "GET /db/", "GET /visit/", "WSS connect", "WSS message"} < set(counts.index)
    assert counts["GET /"] > counts["GET /db/"] and [name for name in counts.index if name.startswith("GET /static/")]
    assert set(run.table("server")["path"]) >= {"/", "/db/", "/visit/", "/ws/chat/load-0/", "/ws/chat/load-1/"}
    assert not [words for words in run.validity.reasons if "nginx" in words]
