"""nginx as a plain proxy: the floor, which checks nothing.

Also what both nginx contenders need: where the binary and its modules lie, and a folder that holds
configuration, pid, log and temporary files, so that no root is needed.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

from bench.contenders.requests import Signed
from bench.contenders.server import Server, folder_of
from bench.deployment import free_port
from bench.ground import Ground

# Where distributions put it, which is not on everyone's PATH.
_SYSTEM_FOLDERS = "/usr/sbin:/usr/local/sbin:/usr/local/nginx/sbin"
NOT_FOUND = "nginx (Debian: package nginx)"


class NginxPlain:
    checks: frozenset[str] = frozenset()

    def __init__(self, name: str = "nginx-plain", workers: int = 1) -> None:
        self.name = name
        self._workers = workers

    def missing(self, _ground: Ground) -> str | None:
        return None if find_nginx() else NOT_FOUND

    def start(self, ground: Ground) -> Server:
        folder, port = folder_of(ground.folder, self.name), free_port()
        configuration = configure(
            "nginx-plain.conf", folder, workers=self._workers, port=port, upstream=ground.upstream_port
        )
        # It is sent the same bytes as those that check them.
        return Server(command(configuration, folder), folder, port, Signed("unchecked", lambda _: "0" * 64))


def find_nginx() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path=_SYSTEM_FOLDERS)


def command(configuration: Path, folder: Path) -> list[str]:
    binary = find_nginx()
    if binary is None:
        raise FileNotFoundError("nginx")
    return [binary, "-e", "stderr", "-p", str(folder), "-c", str(configuration)]


def configure(template: str, folder: Path, *, workers: int = 1, **values: object) -> Path:
    """Fills in a template that lies beside this module."""
    # Workers of a root nginx would become `nobody`, who may not enter the folder.
    run_as = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
    # A socket for each: of several that share one, the last to sleep is woken first, and takes nearly all.
    spread = " reuseport" if workers > 1 else ""
    text = (Path(__file__).parent / template).read_text()
    configuration = folder / "nginx.conf"
    configuration.write_text(
        text.format(run_as=run_as, folder=folder, workers=workers, spread=spread, **values)
    )
    return configuration


def modules_folder(binary: str) -> Path:
    built = subprocess.run([binary, "-V"], check=True, stderr=subprocess.PIPE, text=True, timeout=20).stderr
    return Path(parse_modules_path(built))


def parse_modules_path(built: str) -> str:
    """What `nginx -V` says, or what follows from its prefix."""
    for option, below in (("modules-path", ""), ("prefix", "/modules")):
        found = re.search(rf"--{option}=(\S+)", built)
        if found is not None:
            return found[1] + below
    return "/usr/local/nginx/modules"
