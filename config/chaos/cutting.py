"""A server between a process and PostgreSQL that counts round trips, and cuts the connection at a message: before it
arrives, or after it has been done and before its answer is read. A commit then has an outcome that the process does not
know."""

import contextlib
import shutil
import socket
import tempfile
import threading
from pathlib import Path

READY = b"Z\x00\x00\x00\x05"  # ReadyForQuery, which with one byte more ends each answer: what was sent is done
HEAD_BYTES = 65_536
PORT = 5432


class Cutter:
    def __init__(self, target: str, head_bytes: int = HEAD_BYTES) -> None:
        """`target`: the path of the server's socket. `head_bytes`: how much is kept of what a connection says first."""
        self.target = target
        self.head_bytes = head_bytes
        self.folder = Path(tempfile.mkdtemp(prefix="cut"))
        self.cuts = 0
        self.lines: list[Line] = []
        self._words: bytes | None = None
        self._then: bytes | None = None
        self.is_before = False
        self._lock = threading.Lock()
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(self.folder / f".s.PGSQL.{PORT}"))
        self._server.listen(50)
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, words: bytes | None, *, then: bytes | None = None, before: bool = False) -> None:
        """The next message with these words is done and gets no answer; or, `before`, does not arrive. `then`: not
        that one, but the next on the same connection that has these. None: no message any more."""
        with self._lock:
            self._words, self._then, self.is_before = words, then, before

    def round_trips(self, words: bytes) -> int:
        """Of the connections whose first messages have these words."""
        return sum(line.answers for line in self.lines if words in line.head)

    def close(self) -> None:
        self._server.close()
        shutil.rmtree(self.folder)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                server = socket.socket(socket.AF_UNIX)
                try:
                    server.connect(self.target)
                except OSError:  # it is away
                    client.close()
                    server.close()
                    continue
                line = Line(self, client, server)
                self.lines.append(line)
                for run in (line.to_server, line.to_client):
                    threading.Thread(target=run, daemon=True).start()

    def is_wanted(self, line: "Line", given: bytes) -> bool:
        """Whether this message is the one, which only one is."""
        with self._lock:
            if line.expects is not None and line.expects in given:
                line.expects = None
            elif self._words is not None and self._words in given:
                self._words, line.expects = None, self._then
            else:
                return False
            self.cuts += line.expects is None
            return line.expects is None


class Line:
    """One connection."""

    def __init__(self, cutter: Cutter, client: socket.socket, server: socket.socket) -> None:
        self.cutter = cutter
        self.client = client
        self.server = server
        self.is_mute = False
        self.expects: bytes | None = None
        self.head = b""
        self.answers = 0

    def to_server(self) -> None:
        with contextlib.suppress(OSError):
            while given := self.client.recv(1 << 20):
                if len(self.head) < self.cutter.head_bytes:
                    self.head += given
                if self.cutter.is_wanted(self, given):
                    if self.cutter.is_before:
                        break
                    self.is_mute = True
                self.server.sendall(given)
        self.close()

    def to_client(self) -> None:
        answer = b""
        with contextlib.suppress(OSError):
            while given := self.server.recv(1 << 20):
                self.answers += given.count(READY)
                if not self.is_mute:
                    self.client.sendall(given)
                    continue
                answer += given
                if answer[-6:-1] == READY:
                    break
        self.close()

    def close(self) -> None:
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
