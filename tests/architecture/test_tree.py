"""What the tree promises about itself."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("gateway", "auth", "keys", "policies", "storage", "compiled")
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-bench.lock")


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_pinned_and_hashed(lock: str) -> None:
    """`pip --require-hashes` installs nothing else."""
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    requirements = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert requirements
    for requirement in requirements:
        assert re.match(r"[A-Za-z0-9._-]+==[^ ]+ ", requirement), requirement
        assert "--hash=sha256:" in requirement, requirement


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_names_an_address(lock: str) -> None:
    """Where packages come from is the installing machine's business."""
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert "--index-url" not in text


def test_the_locks_agree() -> None:
    """What is tested is what runs."""
    pinned = [
        dict(re.findall(r"^([A-Za-z0-9._-]+)==([^ ]+)", (ROOT / lock).read_text(), re.MULTILINE))
        for lock in LOCKS
    ]
    assert {name: version for name, version in pinned[0].items() if pinned[1].get(name) != version} == {}


def test_the_wheel_names_its_packages() -> None:
    """`auth` and `keys` are common names: nothing is packaged by accident."""
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert configuration["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == list(ROOMS)


def test_no_file_outgrows_its_room() -> None:
    """Past four hundred lines a file is two."""
    files = [file for room in (*ROOMS, "tests", "bench") for file in (ROOT / room).rglob("*.py")]
    assert len(files) > 100
    assert [file for file in files if len(file.read_text().splitlines()) > 400] == []


@pytest.mark.parametrize("room", ROOMS)
def test_every_module_with_an_invariant_says_it(room: str) -> None:
    """A module begins with what it is; only empty packages are silent."""
    silent = [
        file
        for file in (ROOT / room).rglob("*.py")
        if file.read_text().strip() and not file.read_text().startswith('"""')
    ]
    assert silent == []


def test_links_between_documents_lead_somewhere() -> None:
    """A page that is gone is worse than one that never was."""
    broken = []
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            broken += [] if (page.parent / link).exists() else [f"{page.relative_to(ROOT)} → {link}"]
    assert broken == []
