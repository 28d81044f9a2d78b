"""What is done to a site. Each act gives, time after time, after which pause in seconds it goes on."""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import psycopg
from psycopg import sql

from config.chaos import askew
from config.chaos.house import TICK_SECONDS, House
from config.chaos.plan import COMMITS, HOUR_SECONDS, Act
from config.up.processes import kill_group

BETWEEN_CUTS_SECONDS = 0.5
OPEN = {
    "orchestration_run": "ended_at is null",
    "orchestration_step": "status in ('ready', 'running', 'waiting')",
    "approvals_request": "status = 'pending'",
    "orchestration_worker": "dead_at is null",
}
CLIENTS = """
from pg_stat_activity
where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
"""
Doing = Iterator[float]


def do(house: House, act: Act) -> Doing:
    house.done[act.kind] += 1
    match act.kind:
        case "kill site":
            return kill_site(house, act.seconds)
        case "empty valkey":
            return empty_valkey(house)
        case "freeze postgres":
            return freeze_postgres(house, act.seconds)
        case "fill disk":
            return fill_disk(house, act.seconds)
        case "early worker" | "late worker":
            return turn_clock(house, act.target, act.seconds, HOUR_SECONDS * (1 if act.kind == "early worker" else -1))
        case "cut backends":
            return cut_backends(house)
        case "cut before" | "cut after":
            return cut_commits(house, COMMITS[act.target], act.seconds, before=act.kind == "cut before")
        case "crash backend":
            return kill_a_backend(house)
        case "lock rows":
            return lock(house, act.target, act.seconds)
        case "restart crew":
            return restart_crew(house)
    return (kill if act.kind.startswith("kill") else freeze)(house, act.target, act.seconds)


# --- processes


def kill(house: House, name: str, seconds: float) -> Doing:
    """Of PostgreSQL the postmaster, without which its other processes end at once."""
    _kill(house, name)
    yield seconds
    house.start_part(name)


def _kill(house: House, name: str) -> None:
    house.down.add(name)
    process = house.process_of(name)
    kill_group(process)
    process.wait()
    house.hurt[name].append((time.time(), time.time()))


def kill_site(house: House, seconds: float) -> Doing:
    """As when `bin/up` is killed, or the machine: everything is gone at once, but for the outside world."""
    names = [name for name in house.parts if name != "simulators"]
    for name in names:
        _kill(house, name)
    yield seconds
    services = house.postgres, house.valkey
    for service in services:
        house.start_part(service.name)
    while not all(service.is_ready() for service in services):
        house.mend()  # PostgreSQL's last processes may have been there when it was started
        yield TICK_SECONDS
    for name in names:
        house.start_part(name)


def freeze(house: House, name: str, seconds: float) -> Doing:
    process, began = house.process_of(name), time.time()
    _signal(signal.SIGSTOP, -process.pid)
    yield seconds
    house.hurt[name].append((began, time.time()))
    _signal(signal.SIGCONT, -process.pid)


def freeze_postgres(house: House, seconds: float) -> Doing:
    """All its processes, each of which is in a session of its own. They go on whatever this thread waits for."""
    pids = [house.process_of("postgres").pid]
    with contextlib.suppress(psycopg.Error), house.connect() as connection:
        _signal(signal.SIGSTOP, *pids)  # from here on it makes no other
        found = connection.execute("select pid from pg_stat_activity where pid <> pg_backend_pid()").fetchall()
        pids += [int(str(pid)) for (pid,) in found]
    _signal(signal.SIGSTOP, *pids)
    thaw = threading.Timer(seconds, _signal, [signal.SIGCONT, *pids])
    thaw.start()
    while thaw.is_alive():
        yield TICK_SECONDS


def _signal(number: signal.Signals, *pids: int) -> None:
    """A negative one: its process group."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def restart_crew(house: House) -> Doing:
    """As a rolling deploy: each is told to go, and when it has gone and its heir has a lease, the next."""
    for name in house.crew:
        house.down.add(name)
        process = house.process_of(name)
        process.send_signal(signal.SIGTERM)
        while process.poll() is None:
            yield TICK_SECONDS
        kill_group(process)
        house.start_part(name)
        while not house.has_lease(name):
            yield 4 * TICK_SECONDS


def turn_clock(house: House, name: str, seconds: float, off: float) -> Doing:
    askew.write(house.clocks[name], off)
    yield seconds
    askew.write(house.clocks[name], 0.0)


# --- what they stand on


def cut_backends(house: House) -> Doing:
    """About half of the connections, in the middle of whatever they do."""
    with contextlib.suppress(psycopg.Error), house.connect() as connection:
        connection.execute(f"select pg_terminate_backend(pid) {CLIENTS} and random() < 0.5")
    yield 0.0


def cut_commits(house: House, words: bytes, seconds: float, *, before: bool) -> Doing:
    """The connection ends at a message with these words: before it arrives, or done and before its answer is read."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        house.cutter.cut(words, before=before)
        yield BETWEEN_CUTS_SECONDS
    house.cutter.cut(None)


def kill_a_backend(house: House) -> Doing:
    """The server ends all the others for it, and recovers as from a crash."""
    with contextlib.suppress(psycopg.Error, ProcessLookupError), house.connect() as connection:
        found = connection.execute(f"select pid {CLIENTS} order by random() limit 1").fetchone()
        if found:
            os.kill(int(str(found[0])), signal.SIGKILL)
    yield 0.0


def lock(house: House, table: str, seconds: float) -> Doing:
    with contextlib.suppress(psycopg.Error), house.connect() as connection, connection.transaction():
        chosen = sql.SQL(f"select from {{}} where {OPEN[table]} order by random() limit 5 for update skip locked")
        connection.execute(chosen.format(sql.Identifier(table)))
        yield seconds


def fill_disk(house: House, seconds: float) -> Doing:
    """All that PostgreSQL has lies on it, its write-ahead log too."""
    if house.disk:
        house.disk.fill()
        yield seconds
        house.disk.make_room()


def empty_valkey(house: House) -> Doing:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2)
        connection.connect(str(house.valkey.socket))
        connection.sendall(b"FLUSHALL\r\n")
        connection.recv(16)
    yield 0.0
