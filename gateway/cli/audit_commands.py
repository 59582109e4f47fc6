"""`portreeve audit`: what was changed, by whom and why; written out, and verified with or without the store.

Invariant: `verify FILE` opens no store and reads no configuration, unless it is told to compare with the store, so
that an auditor needs this command and the public keys and nothing else.
"""

import sys
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from gateway import clocks, composition, durations, settings
from gateway.cli import context, moments, output
from gateway.ledger import kept, verify
from keys import statements
from storage import audit as ledger
from storage import chain, engine

COLUMNS: Final = ("seq", "at", "actor", "action", "subject", "environment", "reason", "approval")
_UNPINNED: Final = (
    "No key was pinned: this proves only that the export agrees with itself. Whoever made it could have made the keys "
    "in it, too. Give --keys or --key with what you have from elsewhere."
)


@click.group()
def audit() -> None:
    """What was changed, by whom and why; and the proof of it."""


@audit.command()
@click.option("--limit", type=click.IntRange(1, 1_000), default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def tail(limit: int, as_json: bool) -> None:
    """Show the latest events, the newest last."""

    async def read(store: composition.Store, _: settings.Settings) -> list[dict[str, Any]]:
        async with engine.reading(store.engine) as conn:
            return [view(entry) for entry in await ledger.tail(conn, limit)]

    _print_entries(context.act(read), as_json=as_json)


def _moment(_: click.Context, __: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return moments.parse_past(text, clocks.wall_ms())
    except moments.UnreadableMoment as failure:
        raise click.BadParameter(str(failure)) from None


@audit.command()
@click.option("--actor", help="Exactly, as the ledger has it.")
@click.option("--action", help="A beginning: `api_key.` finds all that was done to API keys.")
@click.option("--subject", help="The id of what was changed.")
@click.option("--partner", help="A partner's id.")
@click.option("--environment", type=click.Choice(["paper", "live", "service"]))
@click.option("--since", callback=_moment, help="RFC 3339, or a distance back from now such as 90d.")
@click.option("--until", callback=_moment, help="The same; the moment itself is not part of it.")
@click.option("--text", help="Stands somewhere in the reason, in capitals or not.")
@click.option("--before", type=click.IntRange(1), help="Older than this entry: the next page.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=100, show_default=True)
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def search(before: int | None, limit: int, as_json: bool, **wanted: Any) -> None:  # noqa: ANN401  the fields of Search
    """Find events, the newest first."""

    async def read(store: composition.Store, _: settings.Settings) -> list[ledger.AuditEntry]:
        async with engine.reading(store.engine) as conn:
            return await ledger.search(conn, ledger.Search(**wanted), before=before, limit=limit + 1)

    found = context.act(read)
    views = [view(entry) for entry in found[:limit]]
    following = views[-1]["seq"] if len(found) > limit else None
    if as_json:
        output.print_json({"entries": views, "before": following})
        return
    _print_entries(views, as_json=False)
    if following is not None:
        output.warn(f"There are more: --before {following}")


@audit.command("show")
@click.argument("seq", type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def show_(seq: int, as_json: bool) -> None:
    """Show all of one entry: what was changed, to what, from where, and by which approval."""

    async def read(store: composition.Store, _: settings.Settings) -> list[ledger.AuditEntry]:
        async with engine.reading(store.engine) as conn:
            return await ledger.read_after(conn, seq - 1, 1)

    found = [view(entry) for entry in context.act(read) if entry.seq == seq]
    if not found:
        raise click.ClickException(f"there is no entry {seq}")
    if as_json:
        output.print_json(found[0])
        return
    details = found[0].pop("details")
    output.print_fields({"seq": seq, **found[0]})
    if details:
        output.say("")
        output.print_fields(dict(sorted(details.items())))


@audit.command()
@click.option("--from", "first", type=click.IntRange(1), help="The first entry.  [default: 1]")
@click.option("--to", "last", type=click.IntRange(1), help="The last entry.  [default: the newest]")
@click.option("--since", callback=_moment, help="From the first entry that is not older.")
@context.with_config
def export(first: int | None, last: int | None, since: int | None) -> None:
    """Write entries, checkpoints and keys to stdout, as JSON Lines that anyone can verify."""
    if first is not None and since is not None:
        raise click.UsageError("--from and --since both say where to begin: give one")

    async def write(store: composition.Store, _: settings.Settings) -> None:
        await store.ledger_ring.refresh()
        begin = first or 1
        if since is not None:
            async with engine.reading(store.engine) as conn:
                begin = await ledger.find_since(conn, since) or (await ledger.head(conn))[0] + 1
        out = sys.stdout.buffer
        async for line in store.exporter.export(begin, last):
            out.write(line)
        out.flush()

    context.act(write)


@audit.command()
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def checkpoint(as_json: bool) -> None:
    """Sign what the ledger says by now, without waiting for the next time that a node does."""

    async def make(store: composition.Store, _: settings.Settings) -> dict[str, Any] | None:
        await store.ledger_ring.refresh()
        made = await store.checkpoints.make()
        if made is None:
            return None
        shown = {"seq": made.seq, "at": moments.show(made.at), "root": made.root, "key": made.signer["kid"]}
        return shown | ({"statement": made.statement} if as_json else {})

    shown = context.act(make)
    if shown is None:
        raise click.ClickException("the ledger is empty: there is nothing to sign")
    if as_json:
        output.print_json(shown)
    else:
        output.print_fields(shown)


@audit.command()
@click.option("--reason", required=True, help="Why the ledger is another one; goes into it.")
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def acknowledge(reason: str, as_json: bool) -> None:
    """After a restore: let this host go on from a ledger that does not contain what it remembers."""

    async def let_go(store: composition.Store, _: settings.Settings) -> dict[str, Any]:
        await store.ledger_ring.refresh()
        made = await store.ledger_restores.acknowledge(author=context.author(reason))
        return {"seq": made.seq, "at": moments.show(made.at), "root": made.root, "key": made.signer["kid"]}

    shown = context.act(let_go)
    if as_json:
        output.print_json(shown)
    else:
        output.print_fields(shown)


@audit.command()
@context.with_config
def keys() -> None:
    """Print every public key that ever signed a checkpoint, as a JWKS: auditors keep it."""

    async def read(store: composition.Store, _: settings.Settings) -> list[dict[str, str]]:
        await store.ledger_ring.refresh()
        return await store.checkpoints.jwks()

    output.print_json({"keys": context.act(read)})


@audit.command("verify")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True, dir_okay=False), required=False)
@click.option("--keys", "jwks_file", type=click.Path(path_type=Path, dir_okay=False), help="A JWKS to trust.")
@click.option("--key", "kids", multiple=True, metavar="KID", help="The id of a key to trust; repeatable.")
@click.option(
    "--kept", "kept_", metavar="FILE|SEQ:ROOT", help="An earlier export, or a checkpoint's number and root."
)
@click.option("--against-store", is_flag=True, help="Compare with the configured store, too.")
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def verify_(  # noqa: PLR0913, PLR0917  click passes each option by its name
    file: Path | None,
    jwks_file: Path | None,
    kids: tuple[str, ...],
    kept_: str | None,
    against_store: bool,
    as_json: bool,
) -> None:
    """Verify an export, or without FILE the store itself; name the first entry that is wrong."""
    with context.reported():
        pins = kept.read_pins(jwks_file, kids)
        marks = kept.read_marks(kept_)
    report = _verify_store(pins, marks) if file is None else _verify_file(file, verify.Verifier(pins, marks))
    if against_store and file is not None:
        context.act(lambda store, _: _compare(store, report))
    _print_report(report, as_json=as_json)


def _verify_file(file: Path, verifier: verify.Verifier) -> verify.Report:
    with context.reported(), click.open_file(str(file), "rb") as opened:
        while line := opened.readline(verify.LONGEST_LINE):
            verifier.read(line)
        return verifier.finish()


def _verify_store(pins: verify.Pins, marks: list[statements.Mark]) -> verify.Report:
    """With the ring's own keys, whatever the store says beside its checkpoints, unless others are pinned."""

    async def read(store: composition.Store, _: settings.Settings) -> verify.Report:
        await store.ledger_ring.refresh()
        own = verify.Pins(tuple(await store.checkpoints.jwks()))
        return await store.exporter.verify_store(verify.Verifier(own if pins.is_empty else pins, marks))

    return context.act(read)


async def _compare(store: composition.Store, report: verify.Report) -> None:
    """The hash of one entry stands for all before it."""
    async with engine.reading(store.engine) as conn:
        entries = await ledger.read_after(conn, report.seq - 1, 1) if report.seq else []
    if report.seq and (not entries or entries[0].place != chain.Place(report.seq, report.hash)):
        raise chain.Broken(report.seq, "or one before it is another one in the store")


def _print_report(report: verify.Report, *, as_json: bool) -> None:
    shown = msgspec.to_builtins(report) | {"signed_at": moments.show(report.signed_at)}
    if as_json:
        output.print_json(shown)
    else:
        output.print_fields({name: value for name, value in shown.items() if name != "late"})
        output.say("The ledger holds.")
    for late in report.late:
        if late.is_first or not as_json:
            _tell_late(late)
    if not report.pinned:
        output.warn(_UNPINNED)


def _tell_late(late: verify.Late) -> None:
    waited = durations.show(late.waited_ms - late.waited_ms % 60_000)
    if late.is_first:
        output.warn(
            f"The first checkpoint, of entry {late.seq}, was signed {waited} after an entry that it covers. Earlier "
            "ones may have been taken away: compare with an export or a checkpoint from before (--kept), or with what "
            "a sink has."
        )
    else:
        # As after a time in which no node ran, which is nothing to be warned of.
        output.say(f"The checkpoint of entry {late.seq} was signed {waited} after an entry that it covers.")


def _print_entries(views: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        output.print_json(views)
    else:
        output.print_table(COLUMNS, [[one[column] for column in COLUMNS] for one in views])


def view(entry: ledger.AuditEntry) -> dict[str, Any]:
    return entry.members() | {"at": moments.show(entry.event.at)}
