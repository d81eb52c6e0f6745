"""A small hub on this machine: enough of its protocol for `datasets` to load from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from threading import Thread
from urllib.parse import unquote

import pytest

Files = dict[str, bytes]

Serving = Callable[[dict[tuple[str, str], Files]], AbstractContextManager[tuple[str, list[str]]]]


@pytest.fixture(scope="session")
def serving_hub() -> Serving:
    """Return what serves datasets for the length of a `with` block."""
    return _serving


@contextmanager
def _serving(repositories: dict[tuple[str, str], Files]) -> Iterator[tuple[str, list[str]]]:
    """Serve datasets until the block ends.

    Args:
        repositories: (`owner/name`, revision) -> path -> bytes; every revision is a commit of
            its own.

    Yields:
        The endpoint for `HF_ENDPOINT`, and the growing list of paths asked for.
    """
    asked: list[str] = []
    commits = {_commit(*key): (key[0], files) for key, files in repositories.items()}

    class Handler(_Handler):
        def respond(self) -> tuple[int, bytes, dict[str, str]]:
            asked.append(self.path)
            path, _, query = self.path.partition("?")
            recursive = "recursive=true" in query
            return _answer(unquote(path), recursive, repositories, commits)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def respond(self) -> tuple[int, bytes, dict[str, str]]:
        raise NotImplementedError

    def do_GET(self) -> None:
        status, body, headers = self.respond()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep the tests' output clean."""


def _commit(name: str, revision: str) -> str:
    return hashlib.sha1(f"{name}@{revision}".encode(), usedforsecurity=False).hexdigest()


def _answer(
    path: str,
    recursive: bool,
    repositories: dict[tuple[str, str], Files],
    commits: dict[str, tuple[str, Files]],
) -> tuple[int, bytes, dict[str, str]]:
    if path.startswith("/api/datasets/"):
        name, _, rest = _parted(path.removeprefix("/api/datasets/"))
        if not any(name == known for known, _ in repositories):
            return 404, b"", {"X-Error-Code": "RepoNotFound"}
        if rest.startswith("tree/"):
            commit, _, folder = rest.removeprefix("tree/").partition("/")
            return _as_json(_tree(commits[commit][1], folder, recursive))
        revision = rest.removeprefix("revision/") or "main"
        commit = revision if revision in commits else _commit(name, revision)
        if commit not in commits:
            return 404, b"", {"X-Error-Code": "RevisionNotFound"}
        return _as_json(_info(name, commit, commits[commit][1]))
    if "/resolve/" in path:
        commit, _, file = path.partition("/resolve/")[2].partition("/")
        return _file(commits[commit][1], commit, file)
    return 404, b"", {}


def _parted(path: str) -> tuple[str, str, str]:
    owner, name, *rest = path.split("/", 2)
    return f"{owner}/{name}", "/", rest[0] if rest else ""


def _as_json(value: object) -> tuple[int, bytes, dict[str, str]]:
    return 200, json.dumps(value).encode(), {"Content-Type": "application/json"}


def _info(name: str, commit: str, files: Files) -> dict[str, object]:
    siblings = [{"rfilename": path} for path in files]
    return {"id": name, "sha": commit, "siblings": siblings, "tags": [], "private": False}


def _tree(files: Files, folder: str, recursive: bool) -> list[dict[str, object]]:
    """List the files and folders in a folder, or everything below it."""
    prefix = f"{folder}/" if folder else ""
    below = [path.removeprefix(prefix) for path in files if path.startswith(prefix)]
    folders = {str(parent) for path in below for parent in PurePosixPath(path).parents} - {"."}
    entries: list[dict[str, object]] = [
        {"type": "directory", "path": prefix + path, "oid": _oid(b"")} for path in folders
    ]
    for path in below:
        body = files[prefix + path]
        entries.append(
            {"type": "file", "path": prefix + path, "size": len(body), "oid": _oid(body)}
        )
    depth = prefix.count("/")
    return [entry for entry in entries if recursive or str(entry["path"]).count("/") == depth]


def _file(files: Files, commit: str, path: str) -> tuple[int, bytes, dict[str, str]]:
    if path not in files:
        return 404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}
    return 200, files[path], {"ETag": f'"{_oid(files[path])}"', "X-Repo-Commit": commit}


def _oid(body: bytes) -> str:
    return hashlib.sha1(body, usedforsecurity=False).hexdigest()
