"""`WebPage`: what a page of HTML names: its files, and its forms with what is hidden in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

FILES = {"script": "src", "img": "src", "link": "href"}
LINKS = {"stylesheet", "icon"}


@dataclass
class WebForm:
    """A form that is sent by POST."""

    action: str
    hidden: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)  # of all its fields


class WebPage(HTMLParser):
    """`files` and `forms`, in the order of the page; their addresses as they stand in it. `address`: its own, after redirects."""

    def __init__(self, html: str, address: str = ""):
        super().__init__()
        self.address = address
        self.files: list[str] = []
        self.forms: list[WebForm] = []
        self._form: WebForm | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One element begins."""
        given = {name: value or "" for name, value in attrs}
        if tag in FILES and given.get(FILES[tag]) and (tag != "link" or LINKS & set(given.get("rel", "").lower().split())):
            self.files.append(given[FILES[tag]])
        elif tag == "form" and given.get("method", "").lower() == "post":
            self._form = WebForm(given.get("action", ""))
            self.forms.append(self._form)
        elif self._form and given.get("name"):
            self._form.names.add(given["name"])
            if tag == "input" and given.get("type", "").lower() == "hidden":
                self._form.hidden[given["name"]] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        """One element ends."""
        if tag == "form":
            self._form = None
