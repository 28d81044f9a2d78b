"""A small disk of its own for PostgreSQL, that can be filled. To make one takes the right to mount."""

import contextlib
import os
import subprocess
from pathlib import Path

from config.up.processes import Account

MEGABYTE = 1 << 20


class NoDisk(Exception):
    """This user may not mount one."""


class Disk:
    def __init__(self, path: Path, megabytes: int) -> None:
        """Raises NoDisk."""
        path.mkdir(mode=0o700)
        account = Account.choose()
        options = f"size={megabytes}m,uid={account.uid},gid={account.gid},mode=0700"
        mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            path.rmdir()
            raise NoDisk
        self.path = path
        self._ballast = path / "ballast"

    def fill(self) -> None:
        with contextlib.suppress(OSError), self._ballast.open("wb", buffering=0) as file:
            while file.write(bytes(MEGABYTE)):
                pass

    def make_room(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)  # noqa: S607
        self.path.rmdir()
