"""What a power cut leaves of a folder: a program is watched by strace, and only what it has synced is sure to be there.

`record` runs it; `Recording.disks` are the disks that a cut after each of its steps may leave. What was not synced may have
got there all the same, and in any order: so of the changes in folders each alone, all but each, and all up to each; of the
text of files what was synced, half of the rest, and all of it. A folder's own name has to be synced in the one above it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

SYNCS = {"fsync", "fdatasync", "sync", "syncfs"}
CALLS = SYNCS | {
    "open", "openat", "creat", "write", "writev", "copy_file_range", "sendfile", "ftruncate", "rename", "renameat", "renameat2",
    "unlink", "unlinkat", "rmdir", "link", "linkat", "symlink", "symlinkat", "mkdir", "mkdirat", "chmod", "fchmod", "fchmodat",
}  # fmt: skip
FORKS, MOVES = {"clone", "clone3", "fork", "vfork"}, {"chdir", "fchdir"}
ARGUMENT = re.compile(r'(?:AT_FDCWD|\d+)<((?:\\x..)*)>(?:\(deleted\))?|"((?:\\x..)*)"|([^,\s"]+)')
FINISHED = re.compile(r"(\w+)\((.*)\) += (\d+)")

Tree = dict[str, tuple[str, bytes, int]]
"""{path within the folder: ("dir", "file" or "link"; text, or where a link leads; mode)}."""


@dataclass(eq=False)
class Node:
    """A file, folder or link: what a reader sees now, and what of it a power cut leaves for sure."""

    kind: str
    mode: int
    now: bytes = b""
    synced: bytes = b""
    synced_mode: int = 0o644
    names: dict[str, Node] = field(default_factory=dict)
    synced_names: dict[str, Node] = field(default_factory=dict)


@dataclass
class Call:
    """A system call that changes the folder: its name, its arguments (paths whole, texts, others) and what it returned."""

    name: str
    paths: list[str]
    texts: list[bytes]
    others: list[str]
    returned: int


class Disk:
    """The folder `top` as it is, and what of it is synced."""

    def __init__(self, top: str, before: Tree, umask: int = 0o022):
        self.top, self.umask = top, umask
        self.root = Node("dir", 0o755)
        self.changes: list[dict[tuple[Node, str], Node | None]] = []  # in folders, not synced yet
        for path, (kind, text, mode) in before.items():
            folder, name = self._at(f"{top}/{path}")
            folder.names[name] = folder.synced_names[name] = Node(kind, mode, text, text, mode)

    def _at(self, path: str) -> tuple[Node, str]:
        """The folder that a path is in, and its name there."""
        *folders, name = path.removeprefix(self.top).strip("/").split("/")
        here = self.root
        for folder in folders:
            here = here.names[folder]
        return here, name

    def node(self, path: str) -> Node | None:
        """What has this path now."""
        folder, name = self._at(path)
        return folder.names.get(name) if name else self.root

    def _change(self, *names: tuple[str, Node | None]) -> None:
        """Give names, or take them away (None), all at once."""
        change = {self._at(path): node for path, node in names}
        for (folder, name), node in change.items():
            if node:
                folder.names[name] = node
            else:
                folder.names.pop(name, None)
        self.changes.append(change)

    def take(self, call: Call) -> None:
        """Have a call done."""
        name, paths = call.name, call.paths
        if name in ("open", "openat", "creat"):
            flags = call.others[0] if call.others else "O_CREAT|O_TRUNC"
            if not (node := self.node(paths[-1])):
                self._change((paths[-1], node := Node("file", int(call.others[-1], 8) & ~self.umask)))
                node.synced_mode = node.mode
            elif "O_TRUNC" in flags:
                node.now = b""
        elif name in ("write", "writev", "copy_file_range", "sendfile"):
            if node := self.node(paths[1 if name == "copy_file_range" else 0]):
                source = paths[0 if name == "copy_file_range" else 1] if len(paths) > 1 else ""
                node.now += self._text(source)[: call.returned] if source else b"".join(call.texts)[: call.returned]
        elif name == "ftruncate":
            self.node(paths[0]).now = self.node(paths[0]).now[: int(call.others[-1])]
        elif name in SYNCS:
            self._sync(self.node(paths[0]) if name in ("fsync", "fdatasync") else None)
        elif name.startswith("rename"):
            self._change((paths[0], None), (paths[-1], self.node(paths[0])))
        elif name in ("unlink", "unlinkat", "rmdir"):
            self._change((paths[-1], None))
        elif name.startswith("link"):
            self._change((paths[-1], self.node(paths[0])))
        elif name.startswith("symlink"):
            self._change((paths[-1], Node("link", 0o777, call.texts[0], call.texts[0])))
        elif name.startswith("mkdir"):
            self._change((paths[-1], Node("dir", 0o755)))
        else:
            self.node(paths[-1]).mode = int(call.others[0], 8)

    def _text(self, path: str) -> bytes:
        return self.node(path).now if path.startswith(self.top) else Path(path).read_bytes()

    def _sync(self, what: Node | None) -> None:
        """A file or a folder; all there is, with None."""
        for node in [what] if what else self._all(self.root):
            node.synced, node.synced_mode = node.now, node.mode
        done = [change for change in self.changes if what is None or any(folder is what for folder, _ in change)]
        _apply(done, lambda folder: folder.synced_names)
        self.changes = [change for change in self.changes if not any(change is one for one in done)]

    def _all(self, node: Node) -> Iterator[Node]:
        yield node
        for child in node.names.values():
            yield from self._all(child)

    def left(self) -> Iterator[Tree]:
        """What a power cut may leave now."""
        count = len(self.changes)
        each = range(count)
        survivors = {tuple(each[:n]) for n in range(count + 1)} | {(n,) for n in each}
        survivors |= {tuple(i for i in each if i != n) for n in each}
        for survived in survivors:
            names: dict[Node, dict[str, Node]] = {}
            _apply([self.changes[n] for n in survived], lambda folder: names.setdefault(folder, dict(folder.synced_names)))  # noqa: B023
            for share in (0, 0.5, 1):
                yield dict(_tree(self.root, "", names, share))


def _apply(changes: list, names_of: Callable[[Node], dict[str, Node]]) -> None:
    for change in changes:
        for (folder, name), node in change.items():
            if node:
                names_of(folder)[name] = node
            else:
                names_of(folder).pop(name, None)


def _tree(folder: Node, at: str, names: dict[Node, dict[str, Node]], share: float) -> Iterator[tuple]:
    for name, node in names.get(folder, folder.synced_names).items():
        text, path = node.synced, f"{at}{name}"
        if text != node.now and share:
            text = node.now[: int(len(node.now) * share)]
        yield path, (node.kind, text, node.mode if share == 1 else node.synced_mode)
        if node.kind == "dir":
            yield from _tree(node, f"{path}/", names, share)


@dataclass
class Recording:
    """What a program did to the folder `top`, which was as `before`."""

    top: Path
    before: Tree
    calls: list[Call]
    umask: int

    def end(self) -> list[Tree]:
        """What a power cut may leave once all is done."""
        disk = Disk(str(self.top), self.before, self.umask)
        for call in self.calls:
            disk.take(call)
        return [*disk.left()]

    def disks(self, unsynced: str = "") -> Iterator[tuple[str, Tree]]:
        """(the last step done, what the folder then is after a power cut), none twice. `unsynced`: "dir" or "file", as if
        nobody had synced those.
        """
        disk, known = Disk(str(self.top), self.before, self.umask), set()
        for call in self.calls:
            if call.name in SYNCS and getattr(disk.node(call.paths[0]), "kind", "") == unsynced:
                continue
            disk.take(call)
            for tree in disk.left():
                if (key := tuple(sorted(tree.items()))) not in known:
                    known.add(key)
                    yield f"{call.name} {' '.join(call.paths)}", tree


def record(command: list[str | Path], top: Path, umask: int = 0o022) -> Recording:
    """Run a program that changes the folder `top`. AssertionError, with its words, if it fails."""
    before, log = read(top), top.with_name(f"{top.name}.strace")
    traced = f"trace={','.join(CALLS | FORKS | MOVES)}"
    watch = ["strace", "-f", "-qq", "-y", "-xx", "-s", "9999999", "-e", "signal=none", "-e", traced, "-o", log]
    done = subprocess.run([*watch, *command], cwd=top, umask=umask, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [*_lines(log.read_text())]
    log.unlink()
    parents = {found[3]: process for process, line in lines if (found := FINISHED.match(line)) and found[1] in FORKS}
    places: dict[str, str] = {}  # {process: the folder it is in}
    calls = []
    for process, line in lines:
        at = process
        while at not in places and at in parents:
            at = parents[at]
        if call := _call(line, str(top), places.get(at, str(top))):
            if call.name in MOVES:
                places[process] = call.paths[-1]
            else:
                calls.append(call)
    return Recording(top, before, calls, umask)


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """(process, whole call), in the order in which they ended."""
    begun: dict[str, str] = {}
    for line in text.splitlines():
        process, rest = line.split(maxsplit=1)
        if rest.endswith("<unfinished ...>"):
            begun[process] = rest.removesuffix("<unfinished ...>")
        elif rest.startswith("<... "):
            yield process, begun.pop(process) + rest.partition("resumed>")[2]
        else:
            yield process, rest


def _call(line: str, top: str, place: str) -> Call | None:
    """The call in a line, if it succeeded and changes something in `top`, or the `place` of its process."""
    found = FINISHED.match(line)
    if not found or found[1] in FORKS:
        return None
    name, returned = found[1], int(found[3])
    paths, texts, others, at = [], [], [], ""
    for file, quoted, other in ARGUMENT.findall(found[2]):
        if other:
            others.append(other)
        elif quoted and name in ("write", "writev"):
            texts.append(_plain(quoted))
        elif quoted and name.startswith("symlink") and not texts:
            texts.append(_plain(quoted))
        elif quoted:
            paths.append(os.path.normpath(os.path.join(at or place, os.fsdecode(_plain(quoted)))))
        else:
            at = os.fsdecode(_plain(file))
            if name not in ("openat", "renameat", "renameat2", "unlinkat", "linkat", "symlinkat", "mkdirat", "fchmodat"):
                paths.append(at)
    if name in ("open", "openat") and "O_CREAT" not in others[0] and "O_TRUNC" not in others[0]:
        return None
    if name in ("sync", "syncfs"):
        paths = [top]
    if name not in MOVES and not any(path == top or path.startswith(f"{top}/") for path in paths):
        return None
    return Call(name, paths, texts, others, returned)


def _plain(hexes: str) -> bytes:
    return bytes.fromhex(hexes.replace("\\x", ""))


def read(top: Path) -> Tree:
    """A folder as it is."""
    found: Tree = {}
    for path in sorted(top.rglob("*")):
        kind = "link" if path.is_symlink() else "dir" if path.is_dir() else "file"
        text = os.fsencode(os.readlink(path)) if kind == "link" else path.read_bytes() if kind == "file" else b""
        found[str(path.relative_to(top))] = kind, text, path.lstat().st_mode & 0o777
    return found


def lay_out(tree: Tree, top: Path) -> None:
    """Make a folder what a power cut has left."""
    shutil.rmtree(top, ignore_errors=True)
    top.mkdir()
    for path, (kind, text, mode) in tree.items():
        if kind == "dir":
            (top / path).mkdir()
        elif kind == "link":
            (top / path).symlink_to(os.fsdecode(text))
        else:
            (top / path).write_bytes(text)
            (top / path).chmod(mode)
