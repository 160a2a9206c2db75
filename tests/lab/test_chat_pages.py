"""The chat in a real browser, through nginx, with the lab's CA trusted and every certificate checked."""

import os
import shutil
import ssl
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path

import pytest
from here import CHROMIUM
from playwright.sync_api import Browser, Page, expect, sync_playwright

from stacklab import stack
from stacklab.settings import StackSettings

pytestmark = [pytest.mark.lab, pytest.mark.browser]

HOSTILE = (
    """<img src=x onerror="document.title='taken over'"> """
    """<script>document.title='taken over'</script> & "q" {{ 1 }}"""
)
BACK_MS = 20_000


@pytest.fixture(scope="session")
def ca(host, tmp_path_factory) -> Path:
    """The lab's own CA."""
    path = tmp_path_factory.mktemp("ca") / "ca.crt"
    path.write_text(host.run("cat /etc/stacklab/tls/ca.crt", sudo=True))
    return path


@pytest.fixture(scope="module")  # while it runs, Django refuses its database in this process
def browser(ca, tmp_path_factory) -> Iterator[Browser]:
    """Chromium with a home of its own, whose certificate database trusts the lab's CA and nothing else new."""
    if CHROMIUM is None or shutil.which("certutil") is None:
        pytest.skip("NO BROWSER HERE: apt-get install chromium libnss3-tools")
    home = tmp_path_factory.mktemp("home")
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    certutil = ["certutil", "-d", f"sql:{database}"]
    subprocess.run([*certutil, "-N", "--empty-password"], check=True)
    subprocess.run([*certutil, "-A", "-t", "C,,", "-n", "lab", "-i", str(ca)], check=True)
    with sync_playwright() as playwright:
        # root may not use Chromium's sandbox
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=sandbox, env={**os.environ, "HOME": str(home)}
        )
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, host) -> Iterator[Callable[[str], Page]]:
    """`open_page("/chat/lobby/")` opens it; the test fails if a page complained in its console meanwhile."""
    context = browser.new_context()
    complaints: list[str] = []
    context.on("weberror", lambda error: complaints.append(str(error.error)))

    def listen(message) -> None:
        # a socket that is lost is one of the things under test; Chromium reports it by itself
        if message.type == "error" and "WebSocket" not in message.text:
            complaints.append(message.text)

    context.on("console", listen)

    def open_page(path: str) -> Page:
        page = context.new_page()
        page.goto(host.url + path)
        return page

    yield open_page
    context.close()
    assert complaints == []


def open_room(open_page: Callable[[str], Page], room: str) -> Page:
    """The page of `room`, connected."""
    page = open_page(f"/chat/{room}/")
    wait_until_connected(page)
    return page


def wait_until_connected(page: Page) -> None:
    expect(page.locator("#status")).to_have_attribute("data-state", "connected", timeout=BACK_MS)


def instance_of(page: Page) -> str:
    """Which Daphne holds the socket of `page`, as the page says."""
    return page.locator("#instance").inner_text()


def say(page: Page, text: str) -> None:
    page.get_by_label("Your message").fill(text)
    page.get_by_role("button", name="Send").click()


def last_said(page: Page):
    return page.locator("#messages li .text").last


def test_pages_on_different_instances_hear_each_other(open_page):
    pages = [open_room(open_page, "instances") for _ in range(4)]
    assert len({instance_of(page) for page in pages}) >= 2, "round robin spreads them"
    for page in pages:
        expect(page.locator("#present")).to_have_text("4")
    for number, speaker in enumerate(pages):
        say(speaker, f"number {number} speaks")
        for page in pages:
            expect(last_said(page)).to_have_text(f"number {number} speaks")
    pages.pop().close()
    expect(pages[0].locator("#present")).to_have_text("3")


def test_any_text_stays_text_in_any_script(open_page):
    writer, reader = open_room(open_page, "text"), open_room(open_page, "text")
    for text in (HOSTILE, "안녕하세요 👩‍👩‍👧‍👦", "مرحبا (hello) بالعالم", "\u202egnp.exe", "a" * 4096):
        say(writer, text)
        expect(last_said(reader)).to_have_text(text)
    assert reader.locator("#messages :is(img, script)").count() == 0
    assert "taken over" not in (reader.title(), writer.title())
    arabic = reader.get_by_text("مرحبا (hello) بالعالم")
    assert arabic.evaluate("element => getComputedStyle(element).direction") == "rtl"


@pytest.mark.parametrize("room", ["수업 1", "مختبر", "🚀", "50% & more?", "<b>&lt;"])
def test_a_room_is_chosen_with_the_keyboard_in_any_script(open_page, room):
    page = open_page("/chat/")
    expect(page.get_by_label("Name of the room")).to_be_focused()
    page.keyboard.type(room)
    page.keyboard.press("Enter")
    wait_until_connected(page)
    expect(page.get_by_role("heading", level=1)).to_have_text(room)
    expect(page.get_by_label("Your message")).to_be_focused()
    page.keyboard.type("typed without a mouse")
    page.keyboard.press("Enter")
    expect(last_said(page)).to_have_text("typed without a mouse")


def test_a_page_comes_back_by_itself_when_its_instance_is_restarted_or_killed(open_page, host):
    page, other = open_room(open_page, "restart"), open_room(open_page, "restart")
    unit = instance_of(page)
    host.run(f"systemctl restart {unit}", sudo=True)
    wait_until_connected(page)
    say(page, "back after a restart")
    expect(last_said(other)).to_have_text("back after a restart", timeout=BACK_MS)

    unit = instance_of(page)
    host.run(f"systemctl kill --signal=KILL {unit}", sudo=True)
    expect(page.locator("#status")).not_to_have_attribute("data-state", "connected")
    wait_until_connected(page)
    wait_until_connected(other)
    say(page, "back after a kill")
    expect(last_said(other)).to_have_text("back after a kill", timeout=BACK_MS)
    expect(page.locator("#present")).to_have_text("2", timeout=BACK_MS)


@pytest.mark.faults
@pytest.mark.fault("kill -9 of a page's instance while it speaks, with chat_resume", "web")
def test_with_chat_resume_a_page_says_again_what_it_said_as_its_socket_ended(open_page, at_defaults):
    stack.apply(at_defaults, StackSettings(chat_resume=True))
    page, other = open_room(open_page, "again"), open_room(open_page, "again")
    while instance_of(other) == instance_of(page):
        other = open_room(open_page, "again")
    unit = instance_of(page)
    at_defaults.run(f"systemctl kill --signal=STOP {unit}", sudo=True)
    for number in range(5):
        say(page, f"word {number}")  # on their way, and never taken
    at_defaults.run(f"systemctl kill --signal=KILL {unit}", sudo=True)
    wait_until_connected(page)
    for each in (page, other):
        expect(each.locator("#messages li .text")).to_have_text([f"word {number}" for number in range(5)], timeout=BACK_MS)


def test_the_index_page_shows_the_stack(open_page):
    page = open_page("/")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.locator(".stack li")).to_have_count(5)


def test_a_forwarded_localhost_is_not_told_to_force_https_on_everything_there(host, ca):
    def answered(name: str) -> Message:
        request = urllib.request.Request(host.url, headers={"Host": name})
        return urllib.request.urlopen(request, context=ssl.create_default_context(cafile=ca)).headers

    assert "Strict-Transport-Security" in answered(host.address)
    assert "Strict-Transport-Security" not in answered("localhost:8443")
