"""Exports against forgers: whatever is done to one, verification fails and names the first entry it befell."""

import base64
import copy
import hashlib
import random
from collections.abc import Sequence
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.ledger.verify import Pins
from keys import statements
from storage import chain
from tests.support import ledger
from tests.support.ledger import Ledger, parse, relink, verify_lines, write

Lines = list[bytes]


def pinned(kept: Ledger) -> Pins:
    return Pins(tuple(kept.ring.jwks()))


def places(lines: Lines, kind: str = "entry") -> list[int]:
    return [index for index, line in enumerate(lines) if parse(line)[0] == kind]


def seq_of(line: bytes) -> int:
    seq: int = parse(line)[1]["seq"]
    return seq


async def grown(kept: Ledger, *steps: int) -> Lines:
    """Entries with a checkpoint after each step, and a full export."""
    for step in steps:
        await kept.append(step)
        await kept.checkpoints.make()
        kept.room.clock.now_ms += 60_000
    return await kept.export()


def broken(lines: Lines, pins: Pins, kept: Sequence[statements.Mark] = ()) -> chain.Broken:
    with pytest.raises(chain.Broken) as raised:
        verify_lines(lines, pins, kept)
    return raised.value


async def test_an_export_that_nobody_touched_holds(kept: Ledger) -> None:
    """And tells what it proved."""
    lines = await grown(kept, 5, 7, 3)
    report = verify_lines(lines, pinned(kept))
    head = await kept.head()
    assert (report.service, report.first, report.last, report.entries) == (
        ledger.ISSUER,
        1,
        head.seq,
        head.seq,
    )
    assert (report.checkpoints, report.hash, report.pinned) == (3, head.hash, True)
    assert report.keys == (kept.ring.get_signer().kid,)
    assert not verify_lines(lines).pinned


@pytest.mark.parametrize("last", [None, 1, 9, 12, 14])
@pytest.mark.parametrize("first", [1, 2, 6, 8, 9])
async def test_any_part_of_it_holds_alone(kept: Ledger, first: int, last: int | None) -> None:
    """From a checkpoint before it to one behind it, with hashes in place of what was not asked for."""
    await grown(kept, 4, 6, 4)
    lines = await kept.export(first, last if last is None else max(last, first))
    report = verify_lines(lines, pinned(kept))
    shown = [seq_of(lines[place]) for place in places(lines)]
    assert shown == list(range(first, report.last + 1))
    assert len(lines) <= 1 + report.seq + report.checkpoints + 2


def mutate(  # noqa: PLR0911  one way to forge after the other
    chance: random.Random, lines: Lines, foreign: Lines
) -> tuple[str, Lines, set[int]]:
    """One change of one line, and which entries may be named for it."""
    entries = places(lines)
    at = chance.choice(entries)
    seq = seq_of(lines[at])
    before, after = lines[:at], lines[at + 1 :]
    match chance.choice(["edit", "rehash", "text", "delete", "swap", "duplicate", "cut", "splice", "byte"]):
        case "edit":
            content = parse(lines[at])[1]
            name = chance.choice(sorted(content))
            content[name] = altered(content[name], chance)
            return f"edit {name} of {seq}", [*before, write("entry", content), *after], {seq}
        case "rehash":
            content = parse(lines[at])[1] | {"reason": "nothing to see here"}
            content["hash"] = chain.link({key: value for key, value in content.items() if key != "hash"})
            behind = set(range(1, seq + 2))
            return f"rehash {seq}", [*before, write("entry", content), *after], behind
        case "text":
            line = lines[at].replace(
                b'"actor"', b'"actor":"eve","actor"' if chance.random() < 0.5 else b' "actor"'
            )
            return f"spell {seq}", [*before, line, *after], {seq}
        case "delete":
            return f"delete {seq}", [*before, *after], {seq}
        case "swap":
            other = chance.choice([place for place in entries if place != at])
            swapped = list(lines)
            swapped[at], swapped[other] = swapped[other], swapped[at]
            return f"swap {seq}", swapped, {min(seq, seq_of(lines[other]))}
        case "duplicate":
            return f"duplicate {seq}", [*before, lines[at], lines[at], *after], {seq + 1}
        case "cut":
            return f"cut at {seq}", before, {seq}
        case "splice":
            twin = next(line for line in foreign if parse(line)[0] == "entry" and seq_of(line) == seq)
            return f"splice {seq}", [*before, twin, *after], {seq, seq + 1}
        case _:
            place = chance.randrange(len(lines[at]))
            flipped = bytearray(lines[at])
            flipped[place] ^= 1 << chance.randrange(7)
            return f"flip a bit of {seq}", [*before, bytes(flipped), *after], {seq}


def altered(value: object, chance: random.Random) -> object:
    match value:
        case int():
            return value + chance.choice([-1, 1, 100])
        case str():
            return value[:-1] + chr(ord(value[-1]) ^ 1)
        case dict():
            return value | {"roles": ["admin"]}
        case _:
            return "something"


async def test_every_single_change_is_found_and_named(kept: Ledger) -> None:
    """Hundreds of them, anywhere, of every kind: edited, taken out, moved, doubled, cut off, brought from elsewhere."""
    lines = await grown(kept, 5, 8, 4, 9)
    pins = pinned(kept)
    foreign = relinked_elsewhere(lines)
    chance = random.Random(20_261_121)
    for _ in range(800):
        what, changed, expected = mutate(chance, lines, foreign)
        assert broken(changed, pins).seq in expected, what


def relinked_elsewhere(lines: Lines) -> Lines:
    """Another ledger of the same length: as right in itself, and other in its first entry."""
    entries = [parse(lines[place])[1] for place in places(lines)]
    entries[0]["reason"] = "elsewhere"
    return [write("entry", entry) for entry in relink(entries, chain.START)]


@pytest.mark.parametrize("seq", [1, 5, 6, 14, 20])
async def test_a_forgery_linked_anew_fails_at_the_next_checkpoint(kept: Ledger, seq: int) -> None:
    """Every hash is right; but the checkpoint was made of other entries, and all since the one before are in doubt."""
    lines = await grown(kept, 5, 8, 9)
    marks = [statements.read(parse(lines[p])[1], statements.Checkpoint, statements.public_keys(kept.ring.jwks()))[0]
             for p in places(lines, "checkpoint")]  # fmt: skip
    entries = [parse(lines[place])[1] for place in places(lines)]
    entries[seq - 1]["actor"] = "cli:somebody-else"
    forged = iter(relink(entries, chain.START))
    changed = [write("entry", next(forged)) if parse(line)[0] == "entry" else line for line in lines]
    failure = broken(changed, pinned(kept))
    proven = max((mark.seq for mark in marks if mark.seq < seq), default=0)
    assert failure.seq == proven + 1
    assert "vouched" in failure.problem


@pytest.mark.parametrize("kind", ["header", "checkpoint", "end"])
async def test_the_other_lines_cannot_be_changed_either(kept: Ledger, kind: str) -> None:
    """Not a bit of them, and none can be left out, doubled or moved."""
    lines = await grown(kept, 3, 4, 2)
    pins = pinned(kept)
    chance = random.Random(7)
    for at in places(lines, kind):
        broken([*lines[:at], *lines[at + 1 :]], pins)
        broken([*lines[: at + 1], lines[at], *lines[at + 1 :]], pins)
        broken([*lines[: at - 1], *lines[at : at + 1], lines[at - 1], *lines[at + 1 :]], pins) if at else None
        for _ in range(150):
            place = chance.randrange(len(lines[at]))
            flipped = bytearray(lines[at])
            flipped[place] ^= 1 << chance.randrange(8)
            broken([*lines[:at], bytes(flipped), *lines[at + 1 :]], pins)


async def test_leaves_cannot_be_changed(kept: Ledger) -> None:
    """Nor stand in for entries that were asked for."""
    await grown(kept, 4, 6)
    lines = await kept.export(7, 8)
    pins = pinned(kept)
    assert places(lines, "leaf")
    for at in places(lines, "leaf"):
        content = parse(lines[at])[1]
        for changed in (
            content | {"hash": content["hash"].upper()},
            content | {"hash": "0" * 64},
            content | {"seq": content["seq"] + 1},
            content | {"more": 1},
        ):
            broken([*lines[:at], write("leaf", changed), *lines[at + 1 :]], pins)
    at = places(lines)[-1]
    hidden = write("leaf", {name: parse(lines[at])[1][name] for name in ("seq", "hash")})
    assert broken([*lines[:at], hidden, *lines[at + 1 :]], pins).seq == 8


async def test_an_export_cannot_be_made_shorter(kept: Ledger) -> None:
    """An earlier checkpoint in place of the end proves less, and is not an end; nor is the end of another export."""
    lines = await grown(kept, 3, 4)
    first, _ = places(lines, "checkpoint")
    statement = parse(lines[first])[1]
    shorter = [*lines[: first + 1], write("end", statement)]
    assert "portreeve-export+jwt" in str(broken(shorter, pinned(kept)))
    part = await kept.export(1, 2)
    assert broken([*lines[: places(lines)[1] + 1], part[-1]], pinned(kept)).seq == 3


async def test_a_beginning_cannot_be_left_out(kept: Ledger) -> None:
    """A header that begins later, and the checkpoint to begin at, do not make a part out of the whole."""
    lines = await grown(kept, 3, 4)
    header = parse(lines[0])[1] | {"first": 4}
    at = places(lines, "checkpoint")[0]
    assert broken([write("header", header), *lines[at:]], pinned(kept)).seq == 1


async def test_keys_of_the_export_itself_prove_nothing_when_others_are_pinned(kept: Ledger) -> None:
    """A forger can make keys, sign anything, and put them into the header: only not those that were pinned."""
    lines = await grown(kept, 3)
    forger = Ed25519PrivateKey.generate()
    x = base64.urlsafe_b64encode(forger.public_key().public_bytes_raw()).rstrip(b"=").decode()
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": statements.thumbprint(x)}
    forged = forge(lines, forger, jwk)
    assert verify_lines(forged).pinned is False
    for pins in (pinned(kept), Pins(kids=frozenset({kept.ring.get_signer().kid}))):
        assert "not among those" in str(broken(forged, pins))
    # Nor under the id of the key that was pinned.
    lent = forge(lines, forger, jwk | {"kid": kept.ring.get_signer().kid})
    assert "not the one its id says" in str(broken(lent, Pins(kids=frozenset({kept.ring.get_signer().kid}))))
    assert verify_lines(lines, Pins(kids=frozenset({kept.ring.get_signer().kid}))).pinned


def forge(lines: Lines, forger: Ed25519PrivateKey, jwk: dict[str, str]) -> Lines:
    """Every statement is signed anew, by somebody else."""
    header = write("header", parse(lines[0])[1] | {"keys": [jwk]})
    forged = [header]
    for kind, content in map(parse, lines[1:]):
        if kind not in {"checkpoint", "end"}:
            forged.append(write(kind, content))
        else:
            claims = jwt.decode(content, options={"verify_signature": False})
            if kind == "end":
                claims["header"] = hashlib.sha256(header).hexdigest()
            headers = {"typ": jwt.get_unverified_header(content)["typ"], "kid": jwk["kid"]}
            forged.append(write(kind, jwt.encode(claims, forger, algorithm="EdDSA", headers=headers)))
    return forged


async def test_what_was_kept_from_earlier_has_to_be_found_again(kept: Ledger) -> None:
    """A ledger that was forged together with all its checkpoints still contradicts the auditor's own."""
    earlier = await grown(kept, 3)
    mark = statements.read_unverified_mark(parse(earlier[-1])[1])
    later = await grown(kept, 4)
    assert verify_lines(later, pinned(kept), kept=[mark]).entries == (await kept.head()).seq
    other = statements.Mark(mark.seq, "0" * 64)
    assert "kept from earlier" in str(broken(later, pinned(kept), kept=[other]))
    part = await kept.export(mark.seq + 2)
    verify_lines(part, pinned(kept), kept=[mark])
    assert broken(part, pinned(kept), kept=[statements.Mark(1, mark.root)]).seq == 1


@pytest.mark.parametrize(
    "line", [b"", b"\n", b"{}\n", b"[]\n", b"null\n", b'{"a":1,"b":2}\n', b"\xff\n", b"[" * 100_000 + b"\n"]
)
async def test_what_is_no_line_of_an_export_is_told_so(kept: Ledger, line: bytes) -> None:
    """Garbage in any place is a failure with a name."""
    lines = await grown(kept, 2)
    for at in range(len(lines) + 1):
        broken([*lines[:at], line, *lines[at:]], pinned(kept))


async def test_an_export_of_nothing_holds(kept: Ledger) -> None:
    """The part after the last entry holds none, and says so."""
    await grown(kept, 2)
    head = await kept.head()
    report = verify_lines(await kept.export(head.seq + 1), pinned(kept))
    assert (report.entries, report.first, report.last) == (0, head.seq + 1, head.seq)


async def test_a_statement_of_another_kind_is_none(kept: Ledger) -> None:
    """The type is signed with it; so is every claim, and there is one spelling."""
    lines = await grown(kept, 2)
    keys = statements.public_keys(kept.ring.jwks())
    text = parse(lines[places(lines, "checkpoint")[0]])[1]
    statements.read(text, statements.Checkpoint, keys)
    signer = kept.ring.get_signer()
    claims = jwt.decode(text, options={"verify_signature": False})
    wrong: list[tuple[dict[str, Any], dict[str, str]]] = [
        (claims, {"typ": "portreeve-identity+jwt"}),
        (claims, {"typ": "JWT"}),
        (claims, {"jku": "https://elsewhere.example"}),
        (claims | {"more": 1}, {}),
        ({name: claims[name] for name in claims if name != "root"}, {}),
    ]
    for said, extra in wrong:
        headers = {"typ": "portreeve-checkpoint+jwt", "kid": signer.kid} | extra
        made = jwt.encode(copy.deepcopy(said), signer.private_key, algorithm="EdDSA", headers=headers)
        with pytest.raises(statements.StatementRefused):
            statements.read(made, statements.Checkpoint, keys)
    for other in (text + "A", text[:-1] + "_", text + "=", "", "a.b.c"):
        with pytest.raises(statements.StatementRefused):
            statements.read(other, statements.Checkpoint, keys)
