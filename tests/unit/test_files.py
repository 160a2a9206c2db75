"""What root makes in somebody's checkout is handed over to that person."""

import os

import pytest

from stacklab import files


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_root_made_in_somebodys_checkout_is_theirs_and_what_is_others_stays(tmp_path, monkeypatch):
    checkout, elsewhere = tmp_path / "checkout", tmp_path / "elsewhere"
    (checkout / "results" / "adhoc").mkdir(parents=True)
    (checkout / "results" / "adhoc" / "run.json").write_text("{}")
    elsewhere.mkdir()
    (elsewhere / "roots").write_text("")
    (checkout / "link").symlink_to(elsewhere / "roots")
    (checkout / "anothers").write_text("")
    os.chown(checkout / "anothers", 4242, 4242)
    monkeypatch.setattr(files, "ROOT", checkout)
    monkeypatch.setattr(files, "RESULTS", checkout / "results")

    files.hand_over()
    assert (checkout / "results").stat().st_uid == 0, "the checkout is root's own"

    os.chown(checkout, 1234, 1235)
    files.hand_over()
    for path in ("results", "results/adhoc", "results/adhoc/run.json", "link"):
        assert (os.lstat(checkout / path).st_uid, os.lstat(checkout / path).st_gid) == (1234, 1235)
    assert (elsewhere / "roots").stat().st_uid == 0 and (checkout / "anothers").stat().st_uid == 4242

    monkeypatch.setattr(files, "RESULTS", elsewhere)
    files.hand_over()
    assert (elsewhere / "roots").stat().st_uid == 0, "what lies elsewhere may be anybody's"


def test_who_is_not_root_hands_nothing_over(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "ROOT", tmp_path)
    monkeypatch.setattr(files.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(files.os, "lchown", lambda *_: pytest.fail("it did"))
    files.hand_over()
