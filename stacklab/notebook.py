"""What the notebooks share: a first look at the lab, and diffs and tables that read well."""

from __future__ import annotations

import html
import os
from collections.abc import Callable
from dataclasses import asdict

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from IPython import get_ipython
from IPython.display import HTML, Markdown, display
from matplotlib_inline.backend_inline import set_matplotlib_formats
from pandas.io.formats.style import Styler

from stacklab import show
from stacklab.bench.comparison import Comparison
from stacklab.files import RESULTS
from stacklab.labs import Lab, open_lab, require_running
from stacklab.labs.host import Host
from stacklab.runs.calibration import in_words
from stacklab.stack import Applied, is_provisioned, site_of
from stacklab.study import plots
from stacklab.study.summary import METRIC_NAMES
from stacklab.study.verdicts import NOT_TESTED, Judgement, is_time
from stacklab.study.words import MIB, NOTHING, judgement_words

MONOSPACE = "font-family: var(--jp-code-font-family, monospace); font-size: 0.9em; line-height: 1.45"
BOX = "border-left: 4px solid #0072B2; padding: 0.4em 0.9em; margin: 0.3em 0; white-space: pre-wrap"
LINE_COLOURS = {"+": "rgba(0, 158, 115, 0.22)", "-": "rgba(213, 94, 0, 0.22)", "@": "rgba(86, 180, 233, 0.20)"}


def begin() -> tuple[Lab, Host]:
    """The lab that is up, and its web host. From now on pictures are sharp, on the page, and of our style alone.

    LabNotRunning, which names the command that starts it, if the lab is not up; HostRefused if it will not have us.
    """
    if (shell := get_ipython()) is not None:
        shell.run_line_magic("matplotlib", "inline")  # also where MPLBACKEND, or IPython's own configuration, says "qt"
        matplotlib.rcdefaults()
        set_matplotlib_formats("retina")
    lab = open_lab()
    host = lab.web()
    status = lab.status()
    require_running(lab, status)
    say(f"The lab **{lab.name}** ({lab.kind}) answers at [{host.url}]({host.url}/). Results are kept in `{RESULTS}`.")
    if is_provisioned(host) and not (site := site_of(host)).is_labs:
        say(f"The site under test is **{site}**, not the lab's own: what is said of pages and chat is said of the lab's own.")
    if status.get("pinned_cpus"):
        web, desk = show.numbers(status["pinned_cpus"]), show.numbers(status["generator_cpus"])
        say(f"It runs on CPU {web}; the load comes from CPU {desk}, so that neither takes time from the other.")
    return lab, host


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
    styler = pd.DataFrame(shown).style.hide(axis="index").format(formats, na_rep=NOTHING)
    return styler.set_table_styles(left, overwrite=False)


def _words(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else show.value(value)


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
        say(f"Tested: `{words['of']}`")
        names = {"what": "measured", "than": "against", "figure": "estimate", "n": "pairs"}
        display(table(pd.DataFrame(words["tests"]).rename(columns=names)))
        say(f"The machine: {in_words(judgement.calibration)}.")
    else:
        say(judgement.claim.note)
