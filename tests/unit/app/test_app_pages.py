"""The HTTP pages and their headers, without a server."""

import time

import pytest


@pytest.fixture
def get():
    """`get(path)` as nginx would pass it on: over https, with an allowed host."""
    from django.test import Client

    client = Client()

    def get(path: str, host: str = "web.example", secure: bool = True):
        return client.get(path, secure=secure, headers={"host": host})

    return get


def test_the_index_page_names_the_stack_and_sets_no_cookie(get):
    answer = get("/")
    assert answer.status_code == 200
    for name in ("nginx", "uWSGI", "Django", "Daphne", "Redis"):
        assert name in answer.text
    assert not answer.cookies


def test_healthz_says_ok(get):
    assert get("/healthz").content == b"ok\n"


def test_cpu_does_the_same_work_each_time(get):
    first, second = get("/cpu/?ms=3").json(), get("/cpu/?ms=3").json()
    assert first == second and first["rounds"] == 3 * get("/cpu/?ms=1").json()["rounds"]


@pytest.mark.parametrize("path", ["/io/", "/pool/"])
def test_io_and_pool_wait_and_use_no_cpu(get, path):
    started_s, started_cpu_s = time.monotonic(), time.process_time()
    assert get(f"{path}?ms=1000").json() == {"ms": 1000}
    assert time.monotonic() - started_s >= 1
    assert time.process_time() - started_cpu_s < 0.5


def test_visit_writes_a_row_and_each_has_its_number(get):
    first, second = (get("/visit/").json() for _ in range(2))
    assert first["database"] == second["database"] == "sqlite" and second["visit"] == first["visit"] + 1


def test_only_the_latest_visits_are_kept(get, monkeypatch):
    from pages.models import Visit

    monkeypatch.setattr(Visit, "KEPT", 3)
    Visit.objects.bulk_create(Visit(pk=number) for number in (*range(9_990, 10_000), 19_996, 19_997, 19_999))
    assert get("/visit/").json()["visit"] == 20_000
    assert sorted(Visit.objects.values_list("pk", flat=True)) == [19_999, 20_000]
    Visit.objects.all().delete()


def test_db_reads_the_rows_that_the_migration_wrote(get):
    answer = get("/db/").json()
    assert len(answer["sensors"]) == 10 and len(answer["last_hour"]) == 60


@pytest.mark.parametrize("path", ["/cpu/", "/io/", "/pool/"])
@pytest.mark.parametrize("ms", ["0", "-1", "5001", "1.5", "ten", "", "٣", "9" * 5000])
def test_a_cost_that_is_not_allowed_gives_one_line(get, path, ms):
    answer = get(f"{path}?ms={ms}")
    assert answer.status_code == 400
    assert answer.text.count("\n") == 1 and "a whole number from 1 to 5000" in answer.text


def test_the_largest_cost_is_allowed(get):
    assert get("/cpu/?ms=1").status_code == get("/io/?ms=1").status_code == 200


def test_a_page_that_is_not_there_says_so(get):
    answer = get("/nowhere/")
    assert answer.status_code == 404 and "There is no such page" in answer.text


@pytest.mark.parametrize("path", ["/", "/healthz", "/chat/", "/chat/lobby/", "/nowhere/"])
def test_every_page_forbids_inline_code_and_foreign_sources(get, path):
    policy = get(path).headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert "<script>" not in get(path).text and "style=" not in get(path).text


@pytest.mark.parametrize("host", ["localhost", "localhost:8443"])
def test_localhost_is_not_told_to_use_https_alone(get, host):
    assert "Strict-Transport-Security" not in get("/", host=host).headers
    assert "Strict-Transport-Security" in get("/", host="web.example:8443").headers


def test_a_host_that_is_not_allowed_gets_400(get):
    assert get("/", host="evil.example").status_code == 400


def test_plain_http_is_sent_to_https(get):
    answer = get("/", secure=False)
    assert answer.status_code == 301 and answer.headers["Location"] == "https://web.example/"


def test_what_nginx_says_of_the_scheme_counts():
    from django.test import Client

    for scheme, status in (("https", 200), ("http", 301)):
        headers = {"host": "web.example", "x-forwarded-proto": scheme}
        assert Client().get("/", headers=headers).status_code == status


def test_a_page_that_is_sent_something_says_that_it_is_only_read():
    from django.test import Client

    answer = Client(enforce_csrf_checks=True).post("/chat/", {"a": "b"}, secure=True, headers={"host": "web.example"})
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD") and answer.text.count("\n") == 1


def test_choosing_a_room_leads_to_its_page(get):
    answer = get("/chat/?room=%20수업 1%20")
    assert answer.status_code == 302 and answer.headers["Location"] == "/chat/%EC%88%98%EC%97%85%201/"
    page = get(answer.headers["Location"])
    assert 'data-room="수업 1"' in page.text


def test_a_room_with_markup_in_its_name_is_shown_as_text(get):
    assert "&lt;b&gt;&quot;x&quot;" in get('/chat/<b>"x"/').text


@pytest.mark.parametrize("path", ["/chat/?room=", "/chat/?room=a/b", "/chat/" + "x" * 65 + "/", "/chat/a/b/"])
def test_a_room_name_that_is_not_allowed_is_explained(get, path):
    answer = get(path)
    assert answer.status_code == 400 and 'role="alert"' in answer.text


def test_the_production_settings_pass_djangos_own_checks(tmp_path):
    from site_under_test import manage

    assert "no issues" in manage(tmp_path, "check", "--deploy", "--fail-level", "WARNING")
    assert "No changes detected" in manage(tmp_path, "makemigrations", "--check", "--dry-run")
    manage(tmp_path, "collectstatic", "--noinput")
    assert (tmp_path / "static" / "chat" / "chat.js").exists()
