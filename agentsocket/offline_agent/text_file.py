"""A text file, read within bounds whatever is in it, and in a thread that gets out of everybody's way."""

import codecs
import threading
import time
from collections.abc import Callable, Generator
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import Final

MAX_LINE = 64 * 1024
"""Characters of a line that are read at once."""
MAX_BYTES = 64 * 1024 * 1024
"""Bytes that are read of one file."""
MAX_SECONDS = 10.0
"""Seconds of computing that one file may cost."""

SAMPLE = 64 * 1024
"""Bytes by which the encoding is told."""
STRETCH, PAUSE = 0.003, 0.001
"""Seconds of work, and of rest in which the event loop and other readers have their turn."""
STEP = 1024 * 1024
"""Bytes between two words on how far it is."""

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROLS: Final = bytes({*range(32)} - set(b"\t\n\f\r\x1b") | {127})
_ONE_AT_A_TIME: Final = threading.Lock()
"""Held by the one that computes: many files at once are in the event loop's way no more than one."""


class TextFile:
    """A text file. ``lines`` grows as it is read."""

    def __init__(self, path: Path, size: int, tell: Callable[[int], object] = lambda _: None) -> None:
        """Look at how it begins, in the thread that is to read it.

        ``tell`` is called now and then with the bytes that are read; what it raises ends the reading.

        Raises:
            OSError: if it cannot be read.
        """
        with path.open("rb") as file:
            self.sample = file.read(SAMPLE)
        self.path, self.size = path, size
        self.encoding = encoding_of(self.sample)
        """How it is written; None where it is no text."""
        self.lines = 0
        self.cut = False
        """Whether it was too much to be read to its end."""
        self._tell = tell
        self._told = 0
        self._deadline = time.thread_time() + MAX_SECONDS

    @property
    def beginning(self) -> str:
        """Its first whole lines; of a first line that is too long, a part."""
        decoder = codecs.getincrementaldecoder(self.encoding or "utf-8")(errors="replace")
        text = decoder.decode(self.sample)
        last = max(text.rfind("\n"), text.rfind("\r")) + 1
        return text[:last] if last and len(self.sample) < self.size else text

    def pieces(self, most: int = MAX_LINE) -> Generator[str, None, None]:
        """Give its lines with their ends, from the beginning; what has more than ``most`` characters in pieces.

        Whoever does not want all of them closes it.

        Raises:
            OSError: if it cannot be read.
        """
        self.lines = 0
        whole = True
        with _ONE_AT_A_TIME, self.path.open("rb") as file, _decoded(file, self.encoding or "utf-8") as text:
            until = time.perf_counter() + STRETCH
            while piece := text.readline(most):
                self.lines += whole
                whole = piece[-1] in "\r\n"
                yield piece
                if time.perf_counter() > until:
                    read = file.tell()
                    self.cut = read > MAX_BYTES or time.thread_time() > self._deadline
                    if self.cut:
                        return
                    self._rest(read)
                    until = time.perf_counter() + STRETCH

    def _rest(self, read: int) -> None:
        _ONE_AT_A_TIME.release()
        try:
            if read >= self._told + STEP:
                self._told = read
                self._tell(read)
            time.sleep(PAUSE)
        finally:
            _ONE_AT_A_TIME.acquire()


def _decoded(file: BufferedReader, encoding: str) -> TextIOWrapper:
    return TextIOWrapper(file, encoding, errors="replace", newline="")


def encoding_of(sample: bytes) -> str | None:
    """Tell how a text is written by how it begins; None where that is no text."""
    for mark, encoding in _MARKS:
        if sample.startswith(mark):
            return encoding
    if b"\0" in sample:
        return _without_mark(sample)
    if len(sample) - len(sample.translate(None, _CONTROLS)) > len(sample) // 100:
        return None
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return "cp1252"  # any bytes are a text of it
    return "utf-8"


def _without_mark(sample: bytes) -> str | None:
    """UTF-16 without its mark: of most languages' letters, every other byte is zero."""
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    most = len(sample) // 2 * 0.7
    if odd > most and not even:
        return "utf-16-le"
    return "utf-16-be" if even > most and not odd else None
