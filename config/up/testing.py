"""`bin/test`: every check, on a PostgreSQL and a Valkey of its own. With arguments pytest runs alone, with them."""

import importlib.util
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from config.up.environment import find_browser
from config.up.processes import Account, Refused, kill_group, start
from config.up.services import Postgres, Valkey, services_of, socket_folder, wait_until_ready
from config.up.supervisor import Supervisor

ROOT = Path(__file__).resolve().parents[2]
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "300"}
ENGINE_TESTS = "tests/orchestration/engine"
BROWSER_TESTS = "tests/e2e"
OLDEST_SUPPORTED = 15
SERVERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)


def say(words: str) -> None:
    print(words, flush=True)


@dataclass
class Check:
    """One command. `live` ones speak on the terminal as they go; the others only when they fail."""

    name: str
    command: list[str]
    environment: Mapping[str, str]
    live: bool = False
    process: subprocess.Popen[bytes] | None = None
    log: Path | None = None
    began: float = 0.0
    seconds: float = 0.0

    def start(self, folder: Path) -> None:
        self.began = time.monotonic()
        self.log = folder / f"{re.sub(r'[^a-z]+', '-', self.name)}.log"
        if self.live:
            self.process = subprocess.Popen(
                self.command, cwd=ROOT, env=dict(self.environment), stdin=subprocess.DEVNULL, start_new_session=True
            )
        else:
            self.process = start(self.command, log=self.log, environment=self.environment, folder=ROOT)

    @property
    def passed(self) -> bool:
        return self.process is not None and self.process.returncode == 0

    def is_over(self) -> bool:
        if self.process is None or self.process.poll() is None:
            return False
        self.seconds = time.monotonic() - self.began
        if not self.passed and not self.live and self.log is not None:
            say(f"\n--- {self.name} failed:\n{self.log.read_text(errors='replace')}")
        return True


def test_environment(postgres: Postgres, redis_url: str, data: Path) -> dict[str, str]:
    """Nothing of a developer's own `.env` reaches the tests: what is set here wins over it."""
    return {
        **os.environ,
        "COUNTERSIGN_DATA": str(data),
        "DATABASE_URL": postgres.url,
        "REDIS_URL": redis_url,
        "SECRET_KEY": secrets.token_urlsafe(50),
        "BASE_URL": "http://localhost:8000",
        "OPENAI_API_KEY": "key-for-the-simulator",
        "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }


def static_checks(environment: Mapping[str, str]) -> Iterable[Check]:
    python = sys.executable
    production = {**environment, "BASE_URL": "https://countersign.example", "ALLOWED_HOSTS": "countersign.example"}
    yield Check("ruff check", [python, "-m", "ruff", "check", "."], environment)
    yield Check("ruff format", [python, "-m", "ruff", "format", "--check", "."], environment)
    yield Check("deploy check", [python, "manage.py", "check", "--deploy", "--fail-level", "WARNING"], production)
    yield Check("migrations", [python, "manage.py", "makemigrations", "--check", "--dry-run"], environment)
    yield Check("mypy", [python, "-m", "mypy", "."], environment)


def tests(environment: Mapping[str, str], given: list[str]) -> Check:
    command = [sys.executable, "-m", "pytest", "-n", "2", "-rs"]  # says what was skipped, and why
    # Without the browsers' plugin, which empties its folder of pictures at every start.
    command += given or [f"--ignore={BROWSER_TESTS}", "-p", "no:playwright"]
    return Check("pytest", command, for_pytest(environment), live=True)


def browser_tests(environment: Mapping[str, str]) -> Check:
    """One after the other: their site is made once, and a browser uses the second processor by itself."""
    command = [sys.executable, "-m", "pytest", BROWSER_TESTS, "-p", "no:cacheprovider", "--durations", "10"]
    return Check("browser tests", command, {**for_pytest(environment), "REDIS_URL": database_of_valkey(environment, 9)})


def chaos(environment: Mapping[str, str]) -> Check:
    """On servers of its own. Always the same plan: other ones are tried by hand."""
    command = [sys.executable, "manage.py", "chaos", "--minutes", "2", "--seed", "1"]
    return Check("two minutes of chaos", command, environment)


def database_of_valkey(environment: Mapping[str, str], number: int) -> str:
    return environment["REDIS_URL"].replace("?db=0", f"?db={number}")


def why_no_browser_tests() -> str:
    """Empty when they can be run."""
    if find_browser() is None:
        return "No Chromium was found; install it (Debian: apt install chromium), or name it in COUNTERSIGN_CHROMIUM."
    if importlib.util.find_spec("pytest_playwright") is None:
        return "The packages of requirements-e2e.lock could not be installed; what the beginning of this output says."
    return ""


def for_pytest(environment: Mapping[str, str]) -> dict[str, str]:
    return {**environment, "DJANGO_SETTINGS_MODULE": "tests.settings"}


def oldest_server() -> tuple[int, Path] | None:
    """The oldest PostgreSQL installed here that is supported. COUNTERSIGN_POSTGRES names its folder of binaries."""
    named = os.environ.get("COUNTERSIGN_POSTGRES")
    folders = [Path(named)] if named else [found for pattern in SERVERS for found in Path("/").glob(pattern[1:])]
    found = []
    for folder in folders:
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            printed = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True)
            found.append((int(re.findall(r"\d+", printed.stdout)[0]), folder))
    return min((server for server in found if server[0] >= OLDEST_SUPPORTED), default=None)


def private_data(name: str) -> Path:
    """A folder in /tmp that PostgreSQL's user may pass through when root runs the tests."""
    data = Path(tempfile.mkdtemp(prefix=f"countersign-{name}-"))
    data.chmod(0o711 if os.geteuid() == 0 else 0o700)
    (data / "log").mkdir(mode=0o700)
    return data


def run_lanes(supervisor: Supervisor, lanes: list[deque[Check]], folder: Path) -> list[Check]:
    """Each lane's checks one after the other, the lanes side by side."""
    done: list[Check] = []
    running: dict[int, Check] = {}
    while any(lanes) or running:
        for number, lane in enumerate(lanes):
            if number not in running and lane and not supervisor.is_stopping:
                running[number] = lane.popleft()
                running[number].start(folder)
        for number, check in list(running.items()):
            if check.is_over():
                done.append(running.pop(number))
        if supervisor.is_stopping:
            for check in running.values():
                if check.process is not None:
                    check.process.terminate()
                    kill_group(check.process)
            return done
        time.sleep(0.05)
    return done


def run(given: list[str]) -> bool:
    began = time.monotonic()
    data, old_data = private_data("test"), private_data("test-old")
    supervisor = Supervisor(say, data / "pids.json")
    supervisor.listen()
    postgres, valkey = services_of(data, data / "log", FAST)
    server = oldest_server()
    services: list[Postgres | Valkey] = [postgres, valkey]
    no_browser = why_no_browser_tests()
    has_engine_tests = (ROOT / ENGINE_TESTS).exists()
    old = None
    if server and not given and has_engine_tests:
        account = Account.choose()
        old = replace(
            postgres,
            name="oldest postgres",
            cluster=old_data / "postgres",
            sockets=socket_folder(old_data, account),
            binaries=server[1],
            log=data / "log" / "oldest.log",
            major=server[0],
        )
        services.append(old)
    try:
        supervisor.add_services(*services)
        wait_until_ready(services)
        environment = test_environment(postgres, valkey.url, data)
        lanes = [deque([tests(environment, given)])]
        if not given:
            lanes.append(deque(static_checks(environment)))
            lanes.append(deque([chaos(environment)]))
        if old and server:
            older = {
                **for_pytest(environment),
                "DATABASE_URL": old.url,
                "REDIS_URL": database_of_valkey(environment, 1),
            }
            command = [sys.executable, "-m", "pytest", "-q", ENGINE_TESTS, "-p", "no:cacheprovider"]
            lanes[1].append(Check(f"engine on PostgreSQL {server[0]}", command, older))
        if not given and not no_browser:
            lanes[1].append(browser_tests(environment))
        planned = sum(len(lane) for lane in lanes)
        done = run_lanes(supervisor, lanes, data / "log")
    finally:
        supervisor.stop()
        for folder in (data, old_data):
            shutil.rmtree(socket_folder(folder, Account.choose()), ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)
    say("")
    for check in done:
        say(f"{'passed' if check.passed else 'FAILED'}  {check.seconds:6.1f} s  {check.name}")
    if given:
        say("Only pytest ran, because it was given arguments.")
    elif not has_engine_tests:
        say(f"NOT RUN: the engine's tests on an older PostgreSQL. There is no {ENGINE_TESTS}.")
    elif not server:
        say(
            f"NOT RUN: the engine's tests on an older PostgreSQL. No server of version {OLDEST_SUPPORTED} or newer was"
            " found; install one, or name its folder of binaries in COUNTERSIGN_POSTGRES."
        )
    good = len(done) == planned and all(check.passed for check in done)
    if no_browser and not given:
        say(f"NOT RUN: THE BROWSER TESTS. {no_browser}")
        if os.environ.get("CI", "").lower() in ("true", "1"):
            say("With CI=true that is a failure.")
            good = False
    say(f"{'All passed' if good else 'FAILED'} in {time.monotonic() - began:.0f} s.")
    return good


def main() -> int:
    try:
        return 0 if run(sys.argv[1:]) else 1
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
