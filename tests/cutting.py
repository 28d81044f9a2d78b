"""A server between a process and PostgreSQL that counts round trips, and cuts the connection at a message: before it
arrives, or after it has been done and before its answer is read. A commit then has an outcome that the process does not
know."""

import contextlib
import shutil
import socket
import tempfile
import threading
from pathlib import Path

IDLE = b"Z\x00\x00\x00\x05I"  # ReadyForQuery, outside a transaction: what was sent is committed
READY = IDLE[:5]  # ends each answer
HEAD_BYTES = 65_536
PORT = 5432


class Cutter:
    def __init__(self, target):
        """`target`: the path of the server's socket."""
        self.target = target
        self.folder = Path(tempfile.mkdtemp(prefix="cut"))
        self.cuts = 0
        self.lines = []
        self._words = self._then = None
        self.is_before = False
        self._lock = threading.Lock()
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(self.folder / f".s.PGSQL.{PORT}"))
        self._server.listen(50)
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, words, *, then=None, before=False):
        """The next message with these words is done and gets no answer; or, `before`, does not arrive. `then`: not
        that one, but the next on the same connection that has these."""
        with self._lock:
            self._words, self._then, self.is_before = words, then, before

    def round_trips(self, words):
        """Of the connections whose first messages have these words."""
        return sum(line.answers for line in self.lines if words in line.head)

    def close(self):
        self._server.close()
        shutil.rmtree(self.folder)

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self.target)
                line = Line(self, client, server)
                self.lines.append(line)
                for run in (line.to_server, line.to_client):
                    threading.Thread(target=run, daemon=True).start()

    def is_wanted(self, line, given):
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

    def __init__(self, cutter, client, server):
        self.cutter = cutter
        self.client = client
        self.server = server
        self.is_mute = False
        self.expects = None
        self.head = b""
        self.answers = 0

    def to_server(self):
        with contextlib.suppress(OSError):
            while given := self.client.recv(1 << 20):
                if len(self.head) < HEAD_BYTES:
                    self.head += given
                if self.cutter.is_wanted(self, given):
                    if self.cutter.is_before:
                        break
                    self.is_mute = True
                self.server.sendall(given)
        self.close()

    def to_client(self):
        answer = b""
        with contextlib.suppress(OSError):
            while given := self.server.recv(1 << 20):
                self.answers += given.count(READY)
                if not self.is_mute:
                    self.client.sendall(given)
                    continue
                answer += given
                if answer.endswith(IDLE):
                    break
        self.close()

    def close(self):
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
