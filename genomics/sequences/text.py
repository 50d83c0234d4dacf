"""Lines of a text file with their numbers; gzip is recognised by content, never by name."""

import gzip
import io
import zlib
from collections.abc import Iterator
from os import PathLike, fspath
from types import TracebackType
from typing import Self

from .records import SequenceFileError

_GZIP = b"\x1f\x8b"
_OTHERS = {
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstandard",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


class NumberedLines:
    """A text handle that knows where it is and stops at what is not text.

    LF, CRLF and CR end a line; a byte order mark at the start is left out. It has as much of a handle as Biopython's
    parsers ask for, and its own errors pass through them with file and line.

    Args:
        path: Text in UTF-8, plain or gzip (bgzip too).

    Attributes:
        number: Number of the last line that was read, from 1; 0 before the first.

    Raises:
        SequenceFileError: Another kind of file, gzip that is truncated or damaged, or a line that is not UTF-8.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = fspath(path)
        self.number = 0
        raw = open(self.path, "rb")
        try:
            head = raw.peek(6)
            for magic, name in _OTHERS.items():
                if head.startswith(magic):
                    raise SequenceFileError(self.path, 1, f"expected plain text in UTF-8 or gzip, got {name}")
        except BaseException:
            raw.close()
            raise
        self._raw = raw
        content = gzip.GzipFile(fileobj=raw, mode="rb") if head.startswith(_GZIP) else raw
        self._text = io.TextIOWrapper(content, encoding="utf-8-sig", errors="surrogateescape", newline=None)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def readline(self) -> str:
        """The next line with its end of line as LF; "" behind the last."""
        try:
            line = self._text.readline()
        except EOFError:
            raise SequenceFileError(
                self.path, self.number + 1, "expected the rest of a gzip file, got its end"
            ) from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise SequenceFileError(self.path, self.number + 1, f"expected sound gzip, got {error}") from None
        if line:
            self.number += 1
        if not line.isascii():
            try:
                line.encode("utf-8")
            except UnicodeEncodeError:
                raise SequenceFileError(self.path, self.number, "expected text in UTF-8, got other bytes") from None
        return line

    def read(self, size: int) -> str:
        """Only `read(0)`, by which parsers tell text from bytes."""
        if size:
            raise io.UnsupportedOperation("lines are read one by one")
        return ""

    def close(self) -> None:
        """Close the file."""
        self._text.close()
        self._raw.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
