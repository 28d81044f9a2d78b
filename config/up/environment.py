"""Make `.venv` from the lock, once, and become its Python.

Runs before anything is installed, on whichever Python was found: the standard library only. The environment is made by
uv when it is there, else, or when uv reaches no index, by venv and pip. A stamp written last, of the locks and of the
place, tells a finished environment from one half made, out of date, or moved with its checkout.
"""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "countersign.stamp"
# What would send packages elsewhere than into the environment.
MISLEADING = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PYTHONHOME", "PYTHONPATH", "UV_TARGET", "UV_PREFIX")


def locks() -> list[Path]:
    """The browser tests' packages are large and few need them: COUNTERSIGN_E2E=required adds them."""
    names = ["requirements.lock"]
    if os.environ.get("COUNTERSIGN_E2E"):
        names.append("requirements-e2e.lock")
    return [ROOT / name for name in names]


def wanted_stamp() -> str:
    digests = [hashlib.sha256(lock.read_bytes()).hexdigest() for lock in locks()]
    return "\n".join([str(VENV), *digests, ""])


def is_finished() -> bool:
    # exists() follows the link: the Python the environment was made from may be gone.
    return PYTHON.exists() and STAMP.is_file() and STAMP.read_text().startswith(wanted_stamp().rstrip("\n"))


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in MISLEADING}
    return subprocess.run(command, env=environment, text=True, capture_output=True, check=False)


def install_with_uv(uv: str) -> bool:
    if not can_keep() and run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(VENV)).returncode:
        return False
    for lock in locks():
        result = run(uv, "pip", "install", "--quiet", "--python", str(PYTHON), "--require-hashes", "-r", str(lock))
        if result.returncode:
            print("uv could not install the packages; trying pip.", file=sys.stderr)
            return False
    return True


def install_with_pip() -> None:
    if importlib.util.find_spec("ensurepip") is None:
        refuse(
            f"{sys.executable} cannot make virtual environments: its venv module is not installed.",
            "Debian, Ubuntu: apt install python3-venv. Or put uv on PATH.",
        )
    if not can_keep() or run(str(PYTHON), "-m", "pip", "--version").returncode:
        made = run(sys.executable, "-m", "venv", "--clear", str(VENV))
        if made.returncode:
            refuse(f"Making {VENV} failed:", made.stdout + made.stderr)
    options = ["--quiet", "--no-input", "--disable-pip-version-check", "--root-user-action=ignore", "--retries=2"]
    for lock in locks():
        result = run(str(PYTHON), "-m", "pip", "install", *options, "--no-deps", "--require-hashes", "-r", str(lock))
        if result.returncode:
            refuse(
                *(result.stdout + result.stderr).strip().splitlines()[-6:],
                f"The packages of {lock.name} could not be installed. Is the network there? Behind a proxy set"
                " HTTPS_PROXY, with a package index of your own PIP_INDEX_URL, then run this again.",
            )


def can_keep() -> bool:
    """An environment that was finished once, here, takes a changed lock; any other is made anew."""
    if not (PYTHON.exists() and STAMP.is_file()):
        return False
    return STAMP.read_text().splitlines()[:1] == [str(VENV)]


def make() -> None:
    print("Making .venv from requirements.lock; the first time this takes about half a minute.", file=sys.stderr)
    uv = shutil.which("uv")
    if not (uv and install_with_uv(uv)):
        install_with_pip()
    STAMP.write_text(wanted_stamp())


def refuse(*lines: str) -> None:
    print(*lines, sep="\n", file=sys.stderr)
    sys.exit(1)


def main() -> None:
    if not is_finished():
        try:
            # Two commands started together make one environment. The lock is the folder's own: nothing is left behind.
            folder = os.open(ROOT, os.O_RDONLY)
            fcntl.flock(folder, fcntl.LOCK_EX)
            if not is_finished():
                make()
            os.close(folder)
        except PermissionError as error:
            refuse(
                f"Cannot write {error.filename}: {error.strerror}.",
                f"Run this as the user who owns {ROOT}, or clone it into a folder of your own.",
            )
        except KeyboardInterrupt:
            refuse("Stopped; the next start makes .venv again.")
    os.execv(PYTHON, [str(PYTHON), *sys.argv[1:]])


if __name__ == "__main__":
    main()
