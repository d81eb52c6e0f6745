"""A PostgreSQL server of the tests' own, where one is installed."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import sqlalchemy as sa

_ADMIN = "metaft"
_START_SECONDS = 60


class Server:
    """A running server that is reached through a socket file alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://{_ADMIN}@/{database}?host={self._folder}"

    def create_database(self) -> str:
        """Create an empty database and return its URL."""
        name = f"test_{uuid.uuid4().hex}"
        engine = sa.create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return self.url(name)


@contextlib.contextmanager
def running_server() -> Iterator[Server]:
    """Start a server, or skip the test with the reason why there is none."""
    if not find_spec("psycopg"):
        pytest.skip("psycopg is not installed")
    programs, user = _find_programs(), _unprivileged_user()
    folder = Path(tempfile.mkdtemp(prefix="metaft-pg-"))
    if user:
        shutil.chown(folder, user)
    try:
        _run(user, programs / "initdb", "-D", folder / "data", "-A", "trust", "-U", _ADMIN, "-N")
        server = _start(user, programs, folder)
        try:
            yield Server(folder)
        finally:
            server.send_signal(signal.SIGQUIT)
            server.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _find_programs() -> Path:
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    on_path = shutil.which("initdb")
    if on_path:
        found.append(Path(on_path).resolve().parent)
    if not found:
        pytest.skip("no PostgreSQL server is installed")
    return found[-1]


def _unprivileged_user() -> str | None:
    """Name the user to run as; None for this one. The server refuses to run as root."""
    if os.getuid():
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    for name in ("postgres", "nobody"):
        if name in names:
            return name
    pytest.skip("PostgreSQL refuses to run as root, and there is no user postgres or nobody")


def _run(user: str | None, *command: str | Path) -> None:
    subprocess.run(
        command, user=user, cwd="/", check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def _start(user: str | None, programs: Path, folder: Path) -> subprocess.Popen[bytes]:
    server = subprocess.Popen(
        [programs / "postgres", "-D", folder / "data", "-k", folder, "-c", "listen_addresses="],
        user=user,
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(Server(folder)):
        if server.poll() is not None or time.monotonic() > deadline:
            server.kill()
            pytest.fail("the PostgreSQL server does not start")
        time.sleep(0.1)
    return server


def _answers(server: Server) -> bool:
    try:
        sa.create_engine(server.url("postgres"), poolclass=sa.NullPool).connect().close()
    except sa.exc.OperationalError:
        return False
    return True
