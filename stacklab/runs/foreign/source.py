"""A file of another tool, as text: gzip unpacked, its encoding found, read in pieces. It is never changed."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TextIO

import pyarrow as pa

from stacklab.errors import ResultsError

HEAD_BYTES = 1 << 16
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
DELIMITERS = ",;\t|"
WHOLE_BYTES = 64 << 20  # of a file that is read at once: a summary is never so large


@dataclass(frozen=True)
class Source:
    """A file, of which only the `head` has been looked at. `is_one_run`: no other run was appended to it, as one knows."""

    path: Path
    is_one_run: bool = False

    def open(self) -> BinaryIO:
        """Its bytes, unpacked."""
        try:
            with open(self.path, "rb") as file:
                packed = file.read(2) == b"\x1f\x8b"
            return _Unpacked(self) if packed else open(self.path, "rb")
        except OSError as error:
            self.refuse(error.strerror or str(error))

    @cached_property
    def head(self) -> bytes:
        """The first bytes of it, unpacked."""
        with self.open() as file:
            return file.read(HEAD_BYTES)

    @cached_property
    def encoding(self) -> str:
        """By its mark; without one UTF-8, or what else its bytes can only be."""
        for mark, encoding in MARKS.items():
            if self.head.startswith(mark):
                return encoding
        for zeros, encoding in ((self.head[1::2], "utf-16-le"), (self.head[::2], "utf-16-be")):
            if len(self.head) > 1 and zeros.count(0) > 0.9 * len(zeros):
                return encoding
        words = codecs.getincrementaldecoder("utf-8")("replace").decode(self.head)
        garbled, others = words.count("\ufffd"), sum(mark > "\x7f" for mark in words)
        return "utf-8" if 2 * garbled <= others else "latin-1"  # one bad byte among good ones makes no other encoding

    @property
    def is_binary(self) -> bool:
        return "utf-16" not in self.encoding and b"\0" in self.head

    @cached_property
    def text(self) -> str:
        """The head, decoded."""
        return codecs.getincrementaldecoder(self.encoding)("replace").decode(self.head)

    @cached_property
    def _first_line(self) -> str:
        return re.match(r"[^\r\n]*", self.text.lstrip("\r\n"))[0]

    @cached_property
    def raw_header(self) -> list[str]:
        """The fields of the first line, by the delimiter that it has most of, with the spaces around them."""
        return next(csv.reader([self._first_line], delimiter=self.delimiter), [""])

    @property
    def header(self) -> list[str]:
        """The fields of the first line."""
        return [field.strip().strip('"') for field in self.raw_header]

    @cached_property
    def delimiter(self) -> str:
        return max(DELIMITERS, key=lambda mark: (self._first_line.count(mark), -DELIMITERS.index(mark)))

    def lines(self) -> TextIO:
        """Its text, line by line; what is no text in its encoding is replaced."""
        return io.TextIOWrapper(self.open(), encoding=self.encoding, errors="replace")

    def whole(self) -> str:
        """All of its text; ResultsError if that is too much for a summary."""
        with self.lines() as file:
            text = file.read(WHOLE_BYTES)
            if file.read(1):
                self.refuse(f"is larger than {WHOLE_BYTES >> 20} MB, too large for a summary")
        return text

    def stream(self) -> Any:
        """Its bytes in UTF-8, for pyarrow."""
        return pa.PythonFile(_Recoded(self.open(), self.encoding), mode="r")

    def refuse(self, why: str, row: int | None = None) -> NoReturn:
        """ResultsError, in one line that names the file, and the row."""
        where = f", row {row:,}" if row is not None else ""
        raise ResultsError(plain(f"{self.path}{where}: {why}"))


class _Unpacked(gzip.GzipFile):
    """A packed file that is read; one that is damaged, or was cut off, is told as such."""

    def __init__(self, source: Source):
        super().__init__(source.path)
        self._source = source

    def read(self, size: int | None = -1) -> bytes:
        return self._told(super().read, size)

    def read1(self, size: int = -1) -> bytes:
        return self._told(super().read1, size)

    def _told(self, read: Callable[[int | None], bytes], size: int | None) -> bytes:
        try:
            return read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self._source.refuse(f"cannot be unpacked ({error})")


class _Recoded(io.RawIOBase):
    """A file's bytes in UTF-8, whatever they were; those that are nothing are replaced, and so no reader meets them."""

    def __init__(self, file: BinaryIO, encoding: str):
        self._file, self._decode = file, codecs.getincrementaldecoder(encoding)("replace").decode

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, since none becomes more than three; b"" at the end alone."""
        while data := self._file.read(max(size // 3, 1)):
            if text := self._decode(data).encode():
                return text
        return self._decode(b"", final=True).encode()

    def close(self) -> None:
        """Close the file too."""
        self._file.close()
        super().close()


def plain(words: str, most: int = 400) -> str:
    """Words of a file on their way to a terminal: one line, no control characters, no more than can be read."""
    line = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", words)
    return line if len(line) <= most else line[: most - 1] + "…"
