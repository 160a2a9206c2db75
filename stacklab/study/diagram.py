"""`stack_diagram`: the stack as a picture, every box a process that really runs."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import FancyBboxPatch

from stacklab.stack.services import SERVICES, family
from stacklab.study.plots import INK, MUTED

NEW = "#CC79A7"
CELL_WIDTH, CELL_HEIGHT, GAP = 0.86, 0.46, 0.1
HEAD, PAD = 0.78, 0.16  # the room for a box's name, and around its cells
IN_A_ROW = 5
MOST_CELLS = 20  # more processes of one kind than this are counted, not drawn
LANES_GAP = 0.75


@dataclass(frozen=True)
class Box:
    """One service: its name, a second line, and the processes in it as (text, is new)."""

    name: str
    words: str
    colour: str
    cells: list[tuple[str, bool]]
    in_a_row: int = IN_A_ROW

    @property
    def shown(self) -> list[tuple[str, bool]]:
        if len(self.cells) <= MOST_CELLS:
            return self.cells
        return [*self.cells[: MOST_CELLS - 1], (f"+ {len(self.cells) - MOST_CELLS + 1}", False)]

    @property
    def columns(self) -> int:
        return max(1, min(self.in_a_row, len(self.shown)))

    @property
    def width(self) -> float:
        return max(2.1, self.columns * (CELL_WIDTH + GAP) - GAP + 2 * PAD)

    @property
    def height(self) -> float:
        rows = -(-len(self.shown) // self.columns)
        return HEAD + rows * (CELL_HEIGHT + GAP) - GAP + PAD if rows else HEAD + 0.1


def stack_diagram(processes: pd.DataFrame, before: pd.DataFrame | None = None, ax: Axes | None = None) -> Axes:
    """The services and their processes, from `stacklab.stack.processes.processes`, and the way of a request through them.

    With `before` (the same table, taken earlier), processes that were not there then stand out.
    """
    known = set(processes["pid"] if before is None else before["pid"])
    nginx, uwsgi, instances, redis, database = _boxes(processes, known)
    browser = Box("Browsers", "pages and chat", MUTED, [])
    right = 2.85 + nginx.width + 1.25
    stores = right + max(uwsgi.width, instances.width) + 1.35
    total = uwsgi.height + LANES_GAP + instances.height
    middle = total / 2
    top, bottom = total - uwsgi.height / 2, instances.height / 2
    if ax is None:
        _, ax = plt.subplots(figsize=((stores + 2.3) * 0.82, (total + 0.2) * 0.82), layout="constrained")
    for box, left, centre in (
        (browser, 0, middle),
        (nginx, 2.85, middle),
        (uwsgi, right, top),
        (instances, right, bottom),
        (database, stores, top),
        (redis, stores, bottom),
    ):
        _draw(ax, box, left, centre)
    _arrow(ax, (browser.width, middle), (2.85, middle), "TLS :443")
    edge = 2.85 + nginx.width
    _arrow(ax, (edge, middle), (right, top), "/")
    _arrow(ax, (edge, middle), (right, bottom), "/ws/")
    _arrow(ax, (right + uwsgi.width, top), (stores, top), "queries")
    _arrow(ax, (right + instances.width, bottom), (stores, bottom), "messages")
    if before is not None:
        _rounded(ax, 0, 0.05, 0.3, 0.24, face=NEW, edge=NEW)
        ax.text(0.42, 0.17, "new since the change", color=MUTED, fontsize=9.5, va="center")
    ax.text(0, 0.55, "Each small box is a process\nwith its number (pid).", color=MUTED, fontsize=9.5, va="bottom")
    reach = max(total, nginx.height, redis.height) / 2 + 0.1
    ax.set(xlim=(-0.1, stores + 2.2), ylim=(middle - reach, middle + reach), aspect="equal")
    ax.axis("off")
    return ax


def _boxes(processes: pd.DataFrame, known: set[int]) -> tuple[Box, ...]:
    """nginx, the WSGI server, the ASGI server, Redis, the database."""

    def cells(rows: pd.DataFrame, words: str = "{pid}") -> list[tuple[str, bool]]:
        return [
            (words.format(pid=row.pid, port=", ".join(f":{port}" for port in row.ports)), row.pid not in known)
            for row in rows.itertuples()
        ]

    def master(rows: pd.DataFrame) -> str:
        pids = rows.loc[rows["role"] == "master", "pid"]
        return f"master {', '.join(map(str, pids))}" if len(pids) else "does not run"

    def box(name: str, words: str, shown: list[tuple[str, bool]], in_a_row: int | None = None) -> Box:
        service = SERVICES[name]
        return Box(service.label, words, service.colour, shown, **({"in_a_row": in_a_row} if in_a_row else {}))

    rows = {name: processes[processes["service"].map(family) == name] for name in SERVICES}

    def in_place_of(usual: str) -> str:
        """The server that the settings chose, as its processes tell."""
        kin = (name for name, service in SERVICES.items() if service.chosen_by == SERVICES[usual].chosen_by)
        return next((name for name in kin if len(rows[name])), usual)

    wsgi, asgi = in_place_of("uwsgi"), in_place_of("daphne")
    nginx, pages, database = rows["nginx"], rows[wsgi], rows["postgresql"]
    return (
        box("nginx", master(nginx), cells(nginx[nginx["role"] == "worker"]), in_a_row=2),
        box(wsgi, f"{master(pages)}, unix socket", cells(pages[pages["role"] == "worker"])),
        box(asgi, "one process an instance", cells(rows[asgi], "{port}\n{pid}")),
        box("redis", "unix socket", cells(rows["redis"]), in_a_row=1),
        box("postgresql", "unix socket", cells(database[database["role"] == "server"]), in_a_row=1)
        if len(database) else Box("SQLite", "a file", MUTED, []),
    )


def _draw(ax: Axes, box: Box, left: float, centre: float) -> None:
    bottom = centre - box.height / 2
    tint = tuple(1 - 0.16 * (1 - part) for part in to_rgb(box.colour))
    _rounded(ax, left, bottom, box.width, box.height, face=tint, edge=box.colour)
    top = bottom + box.height
    ax.text(left + PAD, top - 0.2, box.name, fontsize=12, fontweight="bold", color=INK, va="center")
    ax.text(left + PAD, top - 0.5, box.words, fontsize=9, color=MUTED, va="center")
    for number, (words, is_new) in enumerate(box.shown):
        row, column = divmod(number, box.columns)
        x = left + PAD + column * (CELL_WIDTH + GAP)
        y = top - HEAD - row * (CELL_HEIGHT + GAP) - CELL_HEIGHT
        _rounded(ax, x, y, CELL_WIDTH, CELL_HEIGHT, face=NEW if is_new else "white", edge=NEW if is_new else box.colour)
        ax.text(x + CELL_WIDTH / 2, y + CELL_HEIGHT / 2, words, fontsize=9, color=INK, ha="center", va="center", linespacing=1.05)


def _rounded(ax: Axes, left: float, bottom: float, width: float, height: float, face, edge) -> None:
    style = "round,pad=0,rounding_size=0.08"
    ax.add_patch(FancyBboxPatch((left, bottom), width, height, boxstyle=style, facecolor=face, edgecolor=edge, linewidth=1.2))


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], words: str) -> None:
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": MUTED, "linewidth": 1.4, "shrinkA": 1, "shrinkB": 1})
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    if start[1] == end[1]:
        ax.text(x, y + 0.12, words, fontsize=9, color=INK, ha="center", va="bottom")
    else:
        up = end[1] > start[1]
        ax.text(x - 0.15, y + (0.12 if up else -0.12), words, fontsize=9, color=INK, ha="right", va="bottom" if up else "top")
