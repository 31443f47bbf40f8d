"""What a process says while it runs, and how much of it is kept: pipes that never fill, texts that stay readable."""

import contextlib
import threading

LONGEST = 600  # characters of an error or a headline in the journal, on the pages and in the terminal
LONGEST_OUTPUT = 50_000  # characters of a cell's output on its page
KEPT = 1 << 16  # bytes of a stream, its last ones
CHUNK = 1 << 16


class Tail(threading.Thread):
    """Reads a stream to its end, as it comes, and keeps the last `KEPT` bytes: whoever writes into it never waits for a reader."""

    def __init__(self, stream):
        super().__init__(daemon=True)
        self.stream, self.kept = stream, b""
        self.start()

    def run(self):
        with contextlib.suppress(OSError, ValueError), self.stream:
            while chunk := self.stream.read1(CHUNK):
                self.kept = (self.kept + chunk)[-KEPT:]

    def text(self, seconds=2.0):
        """The last that was said. A helper of a dead process can hold the stream open, so its end is not waited for for ever."""
        self.join(seconds)
        return self.kept.decode(errors="replace")


def shorten(text, longest=LONGEST):
    """A text in one line of at most `longest` characters; what is too long keeps its beginning and its end, and says so."""
    line = " ".join(str(text).split())
    if len(line) <= longest:
        return line
    note = f" ... ({len(line):,} characters in all) ... "
    room = longest - len(note)
    return line[: room - room // 4] + note + line[len(line) - room // 4 :]


def cut(text, longest=LONGEST_OUTPUT):
    """A text of several lines with its middle left out where it is longer than `longest` characters."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half:,} characters left out ...]\n{text[-half:]}"
