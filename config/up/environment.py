"""Make `.venv` from the lock, once, and become its Python.

Runs before anything is installed, on whichever Python was found: the standard library only. The environment is made by
uv when it is there, else, or when uv reaches no index, by venv and pip. A stamp written last, of the place and
of each lock that was installed, tells a finished environment from one half made, out of date, or moved with its
checkout.
"""

import fcntl
import hashlib
import importlib.util
import os
import runpy
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = (ROOT / ".venv").resolve()  # a link to the environment of another checkout is that environment
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "countersign.stamp"
# What would send packages elsewhere than into the environment.
MISLEADING = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PYTHONHOME", "PYTHONPATH", "UV_TARGET", "UV_PREFIX")


LOCK = ROOT / "requirements.lock"
BROWSER_LOCK = ROOT / "requirements-e2e.lock"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def find_browser() -> str | None:
    """What the browser tests drive. COUNTERSIGN_CHROMIUM names one that is not on PATH."""
    named = os.environ.get("COUNTERSIGN_CHROMIUM")
    return next((found for name in ([named] if named else BROWSERS) if (found := shutil.which(name))), None)


def wants_browser_tests() -> bool:
    """Their packages are large and few need them: `bin/test` asks for them, where there is a browser."""
    return bool(os.environ.get("COUNTERSIGN_E2E")) and find_browser() is not None


def stamp_of(*locks: Path) -> str:
    return "\n".join([str(VENV), *(hashlib.sha256(lock.read_bytes()).hexdigest() for lock in locks), ""])


def is_finished() -> bool:
    # exists() follows the link: the Python the environment was made from may be gone.
    return PYTHON.exists() and STAMP.is_file() and STAMP.read_text().startswith(stamp_of(LOCK).rstrip("\n"))


def is_complete() -> bool:
    return is_finished() and (not wants_browser_tests() or STAMP.read_text() == stamp_of(LOCK, BROWSER_LOCK))


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in MISLEADING}
    return subprocess.run(command, env=environment, text=True, capture_output=True, check=False)


def install_with_uv(uv: str) -> bool:
    if not can_keep() and run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(VENV)).returncode:
        return False
    if uv_install(uv, LOCK).returncode:
        print("uv could not install the packages; trying pip.", file=sys.stderr)
        return False
    return True


def uv_install(uv: str, lock: Path) -> subprocess.CompletedProcess[str]:
    return run(uv, "pip", "install", "--quiet", "--python", str(PYTHON), "--require-hashes", "-r", str(lock))


def pip_install(lock: Path) -> subprocess.CompletedProcess[str]:
    options = ["--quiet", "--no-input", "--disable-pip-version-check", "--root-user-action=ignore", "--retries=2"]
    return run(str(PYTHON), "-m", "pip", "install", *options, "--no-deps", "--require-hashes", "-r", str(lock))


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
    result = pip_install(LOCK)
    if result.returncode:
        refuse(
            *(result.stdout + result.stderr).strip().splitlines()[-6:],
            f"The packages of {LOCK.name} could not be installed. Is the network there? Behind a proxy set"
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
    STAMP.write_text(stamp_of(LOCK))


def add_browser_tests() -> None:
    """Nothing else needs them, so without them the environment is good all the same."""
    print(f"Adding the packages of {BROWSER_LOCK.name} to .venv.", file=sys.stderr)
    uv = shutil.which("uv")
    if (uv and uv_install(uv, BROWSER_LOCK).returncode == 0) or pip_install(BROWSER_LOCK).returncode == 0:
        STAMP.write_text(stamp_of(LOCK, BROWSER_LOCK))
    else:
        print(f"The packages of {BROWSER_LOCK.name} could not be installed.", file=sys.stderr)


def refuse(*lines: str) -> None:
    print(*lines, sep="\n", file=sys.stderr)
    sys.exit(1)


def answer_at_once() -> None:
    """`bin/up --help` needs nothing installed, nor does a word that `bin/up` does not know."""
    if sys.argv[1:3] == ["-m", "config.up"]:
        runpy.run_path(str(Path(__file__).with_name("options.py")))["parse"](sys.argv[3:])


def main() -> None:
    answer_at_once()
    os.environ["COUNTERSIGN_BEGAN"] = str(time.time())  # for who says how long it took, the installation included
    if not is_complete():
        try:
            # Two commands started together make one environment. The lock is the folder's own: nothing is left behind.
            folder = os.open(ROOT, os.O_RDONLY)
            fcntl.flock(folder, fcntl.LOCK_EX)
            if not is_finished():
                make()
            if not is_complete():
                add_browser_tests()
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
