"""What the notebooks share: a first look at the lab, and diffs and tables that read well."""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from IPython import get_ipython
from IPython.display import HTML, Markdown, display
from ipywidgets import Button, Dropdown, HBox, Label, Output, Text, VBox
from matplotlib_inline.backend_inline import set_matplotlib_formats
from pandas.io.formats.style import Styler

from stacklab import show
from stacklab.bench.comparison import Comparison
from stacklab.errors import LabError
from stacklab.files import RESULTS
from stacklab.labs import Lab, open_lab, require_running
from stacklab.labs.host import Host
from stacklab.runs import load_runs
from stacklab.runs.calibration import in_words
from stacklab.runs.results import Run
from stacklab.site import FILE, Site
from stacklab.stack import Applied, is_provisioned, site_of
from stacklab.study import plots
from stacklab.study.summary import METRIC_NAMES
from stacklab.study.verdicts import NOT_TESTED, Judgement, is_time
from stacklab.study.words import MIB, NOTHING, judgement_words

MONOSPACE = "font-family: var(--jp-code-font-family, monospace); font-size: 0.9em; line-height: 1.45"
BOX = "border-left: 4px solid #0072B2; padding: 0.4em 0.9em; margin: 0.3em 0; white-space: pre-wrap"
LINE_COLOURS = {"+": "rgba(0, 158, 115, 0.22)", "-": "rgba(213, 94, 0, 0.22)", "@": "rgba(86, 180, 233, 0.20)"}


def begin(asks: Sequence[str] = (), chats: bool = False) -> tuple[Lab, Host]:
    """The lab that is up, and its web host. From now on pictures are sharp, on the page, and of our style alone.

    `asks`: the pages of the lab's own that the notebook asks for. `chats`: whether it puts a chat under load.
    LabNotRunning, which names the command that starts it, if the lab is not up; HostRefused if it will not have us; LabError,
    before anything is changed, if it chats and nobody could on the site under test.
    """
    show_here()
    lab = open_lab()
    host = lab.web()
    status = lab.status()
    require_running(lab, status)
    say(f"The lab **{lab.name}** ({lab.kind}) answers at [{host.url}]({host.url}/). Results are kept in `{RESULTS}`.")
    if is_provisioned(host) and not (site := site_of(host)).is_labs:
        _say_of_site(site, asks, chats)
    if status.get("pinned_cpus"):
        web, desk = show.numbers(status["pinned_cpus"]), show.numbers(status["generator_cpus"])
        say(f"It runs on CPU {web}; the load comes from CPU {desk}, so that neither takes time from the other.")
    return lab, host


def show_here() -> None:
    """From now on pictures are sharp, on the page, and of our style alone."""
    if (shell := get_ipython()) is not None:
        shell.run_line_magic("matplotlib", "inline")  # also where MPLBACKEND, or IPython's own configuration, says "qt"
        matplotlib.rcdefaults()
        set_matplotlib_formats("retina")


def form(answers: Iterable[str], choices: Sequence[str], seal: str, on_seal: Callable[[dict[str, Any]], None]) -> VBox:
    """A field for each of `answers`, numbers or one of `choices`; the button `seal` gives them to `on_seal`, as a cell would."""
    options = [("…", None), *zip(choices, choices, strict=True)]
    fields = {what: Dropdown(options=options) if choices else Text() for what in answers}
    button, said = Button(description=seal), Output()

    def pressed(_: Button) -> None:
        said.clear_output()
        with said:
            try:
                on_seal({what: field.value if choices else _as_number(field.value) for what, field in fields.items()})
            except LabError as error:
                print(error)

    button.on_click(pressed)
    lines = [HBox([Label(what, layout={"width": "18em"}), field]) for what, field in fields.items()]
    return VBox([*lines, button, said])


def _as_number(text: str) -> float | str:
    """What somebody typed, as a number if it is one."""
    try:
        return float(text)
    except ValueError:
        return text


def _say_of_site(site: Site, asks: Sequence[str], chats: bool) -> None:
    """That somebody's own site is under test, and what it has not; LabError if the notebook can do nothing with it."""
    if chats and (site.websocket is None or site.chat is None):
        lacks = "no WebSocket" if site.websocket is None else "no [chat] that says how to talk on its WebSocket"
        raise LabError(
            f"this notebook measures a chat, and the site {site.name} has {lacks} in its {FILE} (docs/your-site.md); nothing was "
            "changed; 'fab provision --site lab' goes back to the lab's own"
        )
    say(f"The site under test is **{site}**, not the lab's own: what is said of pages and chat is said of the lab's own.")
    if chats and "{room}" not in site.chat.path:
        say(
            f"All sockets of {site.name} have one path, so `balance=hash` brings them all to one instance; they do not feel the "
            "death of another."
        )
    lacking = " and no ".join(f"`{path}`" for path in asks if site.page(path) != path)
    if lacking:
        say(
            f"{site.name} has no page {lacking}: `{site.health}` is asked instead, and what the text says of what it lacks does "
            "not hold. `fab provision --site lab` goes back to the lab's own."
        )


def where_to_chat(host: Host) -> str:
    """The address of the chat's page; of a site that is not the lab's own, what is known of where its chat is."""
    site = site_of(host)
    if site.is_labs:
        return f"[{host.url}/chat/]({host.url}/chat/)"
    path = site.chat_path("{room}")
    return f"{site.name}'s WebSocket is `{path}`: below [{host.url}/]({host.url}/), open a page of its own that talks there."


def full_size(runs: Sequence[Run]) -> Sequence[Run]:
    """The runs that there are of the same experiment at full size, of the same site; these `runs`, if there are none."""
    quick = runs[0]
    folder = quick.path.parents[1] / quick.experiment.replace("-quick", "", 1)
    full = load_runs(folder) if folder.is_dir() else []
    return [run for run in full if str(run.site) == str(quick.site)] or runs


def quick_mode() -> bool:
    """Whether to measure a tenth of the load, once: yes, unless the environment says STACKLAB_FULL=1."""
    return os.environ.get("STACKLAB_FULL") != "1"


def say(text: str) -> None:
    """Show Markdown: words that are made from what was measured."""
    display(Markdown(text))


def show_change(applied: Applied) -> None:
    """What a change did: the real files' diff in colour, who took it up, and how long each step took."""
    if not applied.changed:
        say(show.applied_text(applied).capitalize() + ".")
        return
    lines = "".join(_diff_line(line) for line in applied.diff.splitlines())
    display(HTML(f'<div style="{MONOSPACE}; {BOX}">{lines}</div>'))
    steps = ", ".join(f"{step} {seconds:.2f} s" for step, seconds in applied.durations_s.items())
    say(f"Taken up by **{', '.join(applied.reloaded) or 'nobody'}** ({steps}).")


def _diff_line(line: str) -> str:
    if line.startswith(("+++", "---")):
        return f"<div><b>{html.escape(line)}</b></div>"
    colour = LINE_COLOURS.get(line[:1], "transparent")
    return f'<div style="background: {colour}">{html.escape(line) or "&nbsp;"}</div>'


def table(rows: pd.DataFrame) -> Styler:
    """`rows` to be read: names in words, seconds of waiting in ms, bytes in MiB, shares in percent."""
    shown, formats = {}, {}
    for column in rows.columns:
        name, factor, form = _unit(column, rows[column])
        shown[name] = rows[column] * factor if form and factor != 1 else rows[column]
        formats[name] = form or _words
    left = {name: [{"selector": "th, td", "props": "text-align: left"}] for name, form in formats.items() if form is _words}
    styler = pd.DataFrame(shown).style.hide(axis="index").format_index(escape="html", axis=1)
    styler = styler.format(formats, na_rep=NOTHING, escape="html")
    return styler.set_table_styles(left, overwrite=False)


def _words(value: object) -> str:
    return html.escape(", ".join(map(str, value))) if isinstance(value, (tuple, list)) else show.value(value)


def _unit(column: str, values: pd.Series) -> tuple[str, float, str | None]:
    """(name with its unit, factor, format) of a column; no format for what is not a number."""
    name = METRIC_NAMES.get(column, column.removesuffix("_s").removesuffix("_bytes").removesuffix("_share").replace("_", " "))
    if values.dtype.kind not in "fi":
        return name, 1, None
    if column in ("pid", "parent"):
        return name, 1, "{:d}"
    if column.endswith("_per_s"):
        return f"{name}, per second", 1, "{:,.1f}"
    if column.endswith("_bytes") or "_bytes_" in column:
        return f"{name}, MiB", 1 / MIB, "{:,.1f}"
    if is_time(column):
        return f"{name}, ms", 1000, "{:,.0f}"
    if column.endswith("_share") and column != "busiest_share":
        return name, 100, "{:.2f} %"
    return name, 1, "{:,.0f}" if values.dtype.kind == "i" else "{:,.4g}"


def closing() -> Callable[[Comparison], None]:
    """What to give `bench.compare` as `on_block`: one picture that is drawn anew after each block, the interval closing."""
    looks: dict[int, dict] = {}
    shown = None

    def draw(now: Comparison) -> None:
        nonlocal shown
        if now.metrics:
            looks[now.blocks] = asdict(now.metrics[0])
        ax = plots.interval_closing(now.each, pd.DataFrame(looks.values()))
        plt.close(ax.figure)  # it is shown here, and not once more at the end of the cell
        if shown is None:
            shown = display(ax.figure, display_id=True)
        else:
            shown.update(ax.figure)

    return draw


def show_judgement(judgement: Judgement) -> None:
    """A claim, its verdict, the numbers behind it, and what the machine that they come from can tell at all."""
    words = judgement_words(judgement)
    say(f"**{words['id']}**: {words['sentence']}. The runs say: **{words['verdict']}**.")
    if judgement.verdict != NOT_TESTED:
        if words["of"]:
            say(f"Tested: `{words['of']}`")
        names = {"what": "measured", "than": "against", "figure": "estimate", "n": "pairs"}
        display(table(pd.DataFrame(words["tests"]).rename(columns=names)))
        say(f"The machine: {in_words(judgement.calibration)}.")
    else:
        say(judgement.claim.note)
