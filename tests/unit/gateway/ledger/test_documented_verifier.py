"""The verifier in docs/audit.md, run as it stands there: it agrees with ours about what holds and what does not."""

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storage import chain
from tests.support.ledger import Ledger, parse, relink, verify_lines, write

PAGE = Path(__file__).parents[4] / "docs" / "audit.md"
Verify = Callable[[list[bytes], set[str]], dict[str, Any]]


@pytest.fixture(scope="module")
def documented() -> Verify:
    found = re.search(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    imported = set(re.findall(r"^(?:from|import) (\w+)", found[1], re.MULTILINE))
    assert imported <= {"base64", "hashlib", "json", "sys", "cryptography"}
    names: dict[str, Any] = {"__name__": "auditors"}
    exec(compile(found[1], str(PAGE), "exec"), names)  # noqa: S102  what the page tells others to run
    verify: Verify = names["verify"]
    return verify


@pytest.mark.parametrize(("first", "last"), [(1, None), (1, 5), (4, 9), (7, None), (8, 8), (10, 12)])
async def test_it_finds_good_what_is_good(
    kept: Ledger, documented: Verify, first: int, last: int | None
) -> None:
    """The whole and every part."""
    for step in (4, 3, 4):
        await kept.append(step)
        await kept.checkpoints.make()
    lines = await kept.export(first, last)
    end = documented(lines, {kept.ring.get_signer().kid})
    ours = verify_lines(lines)
    assert (end["last"], end["root"]) == (ours.last, ours.root)


async def test_it_finds_wrong_what_is_wrong(kept: Ledger, documented: Verify) -> None:
    """Bits anywhere, lines taken out, doubled and moved, forgeries linked anew, keys that were not pinned."""
    for step in (4, 5):
        await kept.append(step)
        await kept.checkpoints.make()
    lines = await kept.export()
    trusted = {kept.ring.get_signer().kid}
    chance = random.Random(11)

    def refuse(changed: list[bytes], keys: set[str] = trusted) -> None:
        if keys:
            with pytest.raises(chain.Broken):
                verify_lines(changed)
        with pytest.raises(Exception) as ours:  # noqa: PT011  whatever it ends with, it does not accept
            documented(changed, keys)
        assert ours.value is not None

    for at, line in enumerate(lines):
        refuse([*lines[:at], *lines[at + 1 :]])
        refuse([*lines[: at + 1], line, *lines[at + 1 :]])
        for _ in range(10):
            flipped = bytearray(line)
            flipped[chance.randrange(len(line))] ^= 1 << chance.randrange(8)
            refuse([*lines[:at], bytes(flipped), *lines[at + 1 :]])
    entries = [parse(line)[1] for line in lines if parse(line)[0] == "entry"]
    entries[3]["actor"] = "cli:somebody-else"
    forged = iter(relink(entries, chain.START))
    refuse([write("entry", next(forged)) if parse(line)[0] == "entry" else line for line in lines])
    refuse(lines, set())
