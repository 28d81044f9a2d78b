"""`bin/up`: PostgreSQL, Valkey, web, workers, beat and simulators on this machine, until Ctrl-C."""

import contextlib
import http.client
import json
import os
import secrets
import shutil
import socket
import sys
import time
from argparse import Namespace
from pathlib import Path

import environ

from config.up.options import parse
from config.up.parts import free_port, parts
from config.up.processes import Account, Refused
from config.up.services import Postgres, Valkey, away_folder, services_of, socket_folder, tail, wait_until_ready
from config.up.supervisor import Command, Supervisor, announce, end_orphans, hold

ROOT = Path(__file__).resolve().parents[2]
OURS = ("postgres", "postgres.making", "log", "keys.env", "countersign.env", "demo-people.json", "beat", "pids.json")
LARGEST_LOG = 10_000_000


def say(words: str) -> None:
    print(words, flush=True)


def data_folder(given: str | None) -> Path:
    """Others may pass through it, as PostgreSQL's user must when root starts this; each thing in it is private."""
    called_from = Path(os.environ.pop("CALLED_FROM", "."))
    data = (
        Path(called_from, given).resolve()
        if given
        else Path(os.environ.get("COUNTERSIGN_DATA") or ROOT / "var").resolve()
    )
    try:
        data.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
        (data / "log").mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise cannot_write(data, error) from None
    if not os.access(data, os.W_OK | os.X_OK):
        raise cannot_write(data, PermissionError(13, os.strerror(13)))
    return data


def cannot_write(data: Path, error: OSError) -> Refused:
    return Refused(
        f"Cannot write {error.filename or data}: {error.strerror}.\n"
        "Give this user the right to write there, or use another folder: bin/up --data FOLDER."
    )


def check_port(port: int) -> None:
    """Asked before anything is started. `localhost` may also mean ::1, where somebody else may listen."""
    taken = False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            raise Refused(f"This user may not use port {port}. Try: bin/up --port 8000") from None
        except OSError:
            taken = True
        except OverflowError:
            raise Refused(f"{port} is not a port: choose one between 1024 and 65535.") from None
    if not taken and socket.has_ipv6:
        with contextlib.suppress(OSError), socket.create_connection(("::1", port), timeout=0.5):
            taken = True
    if taken:
        raise Refused(
            f"Port {port} is used by another program. Stop that one, or choose another: bin/up --port {port + 1}"
        )


def reset(data: Path) -> None:
    shutil.rmtree(away_folder(data), ignore_errors=True)
    shutil.rmtree(socket_folder(data, Account.choose()), ignore_errors=True)
    for path in (data / name for name in OURS):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    (data / "log").mkdir(mode=0o700)


def write_private(path: Path, variables: dict[str, str]) -> None:
    making = path.with_name(f"{path.name}.making")
    making.unlink(missing_ok=True)
    with os.fdopen(os.open(making, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(f"{name}={value}\n" for name, value in variables.items())
    making.rename(path)


def keys(data: Path) -> dict[str, str]:
    """Made once: sessions and what is encrypted outlive a restart."""
    file = data / "keys.env"
    if not file.exists():
        write_private(file, {"SECRET_KEY": secrets.token_urlsafe(50)})
    return dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)


def own_services(data: Path) -> tuple[Postgres, Valkey] | None:
    """None when the environment or `.env` names servers to use instead."""
    given = [name for name in ("DATABASE_URL", "REDIS_URL") if os.environ.get(name)]
    if len(given) == 1:
        raise Refused(f"{given[0]} is set alone. Set DATABASE_URL and REDIS_URL both, or neither.")
    return None if given else services_of(data, data / "log")


def manage(supervisor: Supervisor, data: Path, *command: str) -> None:
    """One management command, to its end."""
    log = data / "log" / "manage.log"
    job = Command(command[0], [sys.executable, "manage.py", *command], log, ROOT, dict(os.environ), 10)
    job.start()
    assert job.process is not None  # noqa: S101
    while job.process.poll() is None:
        if supervisor.is_stopping:
            job.process.terminate()
        time.sleep(0.02)
    if job.process.returncode and not supervisor.is_stopping:
        raise Refused(f"manage.py {' '.join(command)} failed. The end of {log}:\n{tail(log, 25)}")


def wait_for_site(supervisor: Supervisor, port: int, logs: Path, *, patience_seconds: float = 90) -> None:
    deadline = time.monotonic() + patience_seconds
    answer = "no answer yet"
    while not supervisor.is_stopping:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            response = connection.getresponse()
            answer = f"{response.status}: {response.read(500).decode(errors='replace')}"
            if response.status == 200:
                return
        except (OSError, http.client.HTTPException) as error:
            answer = str(error)
        finally:
            connection.close()
        if time.monotonic() > deadline:
            raise Refused(
                f"The site is not ready after {patience_seconds:g} s (/readyz: {answer}). Its output is in {logs}."
            )
        supervisor.look()
        time.sleep(0.05)


def greet(data: Path, base_url: str, *, demo: bool, is_default: bool) -> None:
    say(f"\nCountersign is at {base_url}   (Ctrl-C stops it; its output: {data / 'log'})")
    people = data / "demo-people.json"
    if demo and people.exists():
        say("Sign in as one of these:")
        for name, password in json.loads(people.read_text()).items():
            say(f"  {name:<10} {password}")
        say("Start kpi-tracking as operator, then answer its question as approver.\n")
    else:
        say("Make a first person with: bin/python manage.py createsuperuser\n")
    if not is_default:
        say(f"For manage.py in another shell: export COUNTERSIGN_DATA={data}")


def run(options: Namespace, began: float) -> None:
    environ.Env.read_env(ROOT / ".env")
    data = data_folder(options.data)
    lock = hold(data)
    check_port(options.port)
    end_orphans(data / "pids.json")
    if options.reset:
        reset(data)
    for log in (data / "log").glob("*.log"):
        if log.stat().st_size > LARGEST_LOG:
            log.rename(log.with_suffix(".log.1"))
    (data / "beat").mkdir(mode=0o700, exist_ok=True)
    base_url = os.environ.get("BASE_URL") or f"http://localhost:{options.port}"
    announce(lock, f"process {os.getpid()}, {base_url}")
    supervisor = Supervisor(say, data / "pids.json")
    supervisor.listen()
    services = own_services(data)
    simulators_port = free_port()
    found = {
        "COUNTERSIGN_DATA": str(data),
        "BASE_URL": base_url,
        **keys(data),
        **({"DATABASE_URL": services[0].url, "REDIS_URL": services[1].url} if services else {}),
    }
    if not os.environ.get("OPENAI_API_KEY"):
        found |= {
            "OPENAI_API_KEY": "key-for-the-simulator",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{simulators_port}/v1",
        }
    for name, value in found.items():
        if name == "COUNTERSIGN_DATA" or not os.environ.get(name):
            os.environ[name] = value
    try:
        if services:
            supervisor.add_services(*services)
            wait_until_ready(services)
        # What manage.py reads while this runs: the same parts with no other setting.
        write_private(
            data / "countersign.env", {name: value for name, value in found.items() if name != "COUNTERSIGN_DATA"}
        )
        manage(supervisor, data, "migrate", "--no-input")
        if not options.no_demo:
            manage(supervisor, data, "seed_demo", "--start-examples")
        if not supervisor.is_stopping:
            supervisor.add(*parts(data, options.port, simulators_port, os.environ))
            wait_for_site(supervisor, options.port, data / "log")
        if not supervisor.is_stopping:
            greet(data, base_url, demo=not options.no_demo, is_default=data == ROOT / "var")
            say(f"Ready after {time.time() - began:.1f} s.")
        supervisor.run()
    finally:
        (data / "countersign.env").unlink(missing_ok=True)
        say("Stopping; work in progress is given its time. Ctrl-C again hurries.")
        supervisor.stop()
        say("Stopped.")


def main() -> int:
    began = float(os.environ.pop("COUNTERSIGN_BEGAN", time.time()))  # of the command, before packages were installed
    try:
        run(parse(sys.argv[1:]), began)
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        return 1
    except PermissionError as error:
        print(cannot_write(Path(str(error.filename)), error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
