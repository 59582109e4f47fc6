"""`portreeve doctor`: asks each thing that a node leans on, and says what is wrong with it.

Invariant: it changes nothing, and one check that fails keeps no other from being made.
"""

import asyncio
import os
import stat
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, Literal

import click
import msgspec

import compiled
from gateway import clocks, composition, pools, settings
from gateway.cli import context, failures, output, paging
from keys import identities
from storage import migrate, redis

CONNECT_S: Final = 2.0


class Finding(msgspec.Struct, frozen=True):
    subject: str
    verdict: Literal["ok", "warning", "failed"]
    detail: str


class Unwell(Exception):
    """A check's own verdict, where nothing else raised one."""


VERDICTS: Final[tuple[type[Exception], ...]] = (Unwell, *failures.KNOWN)
Check = Callable[[settings.Settings], Awaitable[str]]


@click.command()
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def doctor(as_json: bool) -> None:
    """Check configuration, files, store, keys, Redis and upstreams. Exits with 1 when something fails."""
    configured = context.load_settings()
    findings = asyncio.run(examine(configured))
    if as_json:
        output.print_json(findings)
    else:
        output.print_table(
            ("", "check", "detail"), [(one.verdict, one.subject, one.detail) for one in findings]
        )
    if any(one.verdict == "failed" for one in findings):
        sys.exit(1)


async def examine(configured: settings.Settings) -> list[Finding]:
    findings = [Finding("configuration", "ok", str(configured.file))]
    for subject, check, failed in _checks(configured):
        try:
            findings.append(Finding(subject, "ok", await check(configured)))
        except VERDICTS as error:
            findings.append(Finding(subject, failed, failures.explain(error)))
    return findings


def _checks(configured: settings.Settings) -> Iterator[tuple[str, Check, Literal["warning", "failed"]]]:
    yield "state directory", _check_state_dir, "failed"
    yield "compiled room", _check_compiled, "warning"
    yield "schema", _check_schema, "failed"
    yield "KMS", _check_kms, "failed"
    yield "signing keys", _check_ring, "failed"
    yield "upstream credentials", _check_credentials, "warning"
    yield "second person", _check_second_person, "warning"
    if configured.redis is None:
        yield "replay store", _check_single_worker, "warning"
    else:
        yield "replay store", _check_redis, "failed"
    if any(upstream.url.startswith("https://") for upstream in configured.upstreams.values()):
        yield "upstream TLS", _check_upstream_tls, "failed"
    for name in configured.upstreams:
        # An upstream that is away takes only its own routes along.
        yield f"upstream {name}", _UpstreamCheck(name), "warning"


async def _check_state_dir(configured: settings.Settings) -> str:
    path = configured.service.state_dir
    mode = stat.S_IMODE(os.stat(path).st_mode)  # noqa: PTH116  pathlib's is no different, and flagged in here
    if mode & 0o022:
        raise Unwell(f"{path} can be written by others (mode {mode:04o}): chmod 700 it")
    if not os.access(path, os.W_OK):
        raise Unwell(f"{path} can't be written")
    return path


async def _check_compiled(_: settings.Settings) -> str:
    """Nothing but the price of a request depends on it."""
    if not compiled.IS_USED and compiled.WHY_NOT != compiled.TURNED_OFF:
        raise Unwell(f"{compiled.describe()}: requests cost more")
    return compiled.describe()


async def _check_schema(configured: settings.Settings) -> str:
    url = configured.storage.url
    # Opening it would make an empty one, and a doctor changes nothing.
    if url.startswith("sqlite:") and not os.access(url.removeprefix("sqlite:"), os.R_OK):
        raise Unwell(f"{url} can't be read: run `portreeve init`")
    async with composition.opened_engine(configured) as engine:
        await migrate.require_current(engine)
    return f"current, in {url}"


async def _check_kms(configured: settings.Settings) -> str:
    await _check_schema(configured)
    async with composition.opened_store(configured, clocks.wall_ms) as store:
        found = await store.data_keys.examine()
    if not found.data_keys:
        raise Unwell("there are no data keys: run `portreeve init`")
    if found.failures:
        raise Unwell("; ".join(found.failures))
    count = f"every data key ({found.data_keys})"
    if configured.kms.second is None:
        return f"{configured.kms.backend} opens {count}"
    return f"{configured.kms.backend} and {configured.kms.second.backend} each open {count}"


async def _check_ring(configured: settings.Settings) -> str:
    await _check_schema(configured)
    async with composition.opened_store(configured, clocks.wall_ms) as store:
        await store.ring.refresh()
        return f"identity assertions are signed by {store.ring.get_signer().kid}"


async def _check_credentials(configured: settings.Settings) -> str:
    """As a node would: what would be sent is opened or fetched, and none of it is sent."""
    await _check_schema(configured)
    async with composition.opened_store(configured, clocks.wall_ms) as store:
        served = composition.serve_credentials(configured, store, clocks.wall_ms)
        try:
            await served.refresh()
            await served.look()
            if served.missing:
                raise Unwell("; ".join(f"{name}: {why}" for name, why in served.missing.items()))
            return f"{len(served.by_upstream)} can be sent"
        finally:
            await served.aclose()


async def _check_second_person(configured: settings.Settings) -> str:
    if not configured.policies.approvals.two_persons:
        raise Unwell("two_persons = false: any one operator may do everything, and undo every freeze, alone")
    await _check_schema(configured)
    async with composition.opened_store(configured, clocks.wall_ms) as store:
        opened = await store.break_glass.find_all_open()
        unsigned = await _find_unsigned(store)
    if opened:
        raise Unwell(f"break-glass is open: {', '.join(f'{one.id} by {one.opened_by}' for one in opened)}")
    signed = configured.policies.approvals.deciders == "keys"
    # Where a key is asked for they are good for nothing, and nobody's worry.
    if unsigned and not signed:
        raise Unwell(
            f"accounts of a machine have approved {', '.join(unsigned)}: as good as what that machine says;"
            ' see deciders = "keys"'
        )
    decided = ", and decided with a key" if signed else "; accounts of this machine decide, too"
    return f"asked for where the policies say so{decided}"


async def _find_unsigned(store: composition.Store) -> list[str]:
    """Approvals that can be used, and rest on nothing but an account."""
    approved = await paging.gather(
        lambda after: store.approvals.find_page(state="approved", after=after), lambda page: page.approvals
    )
    return [each.id for each in approved if identities.is_shell(each.decided_by or "")]


async def _check_single_worker(configured: settings.Settings) -> str:
    if configured.server.workers > 1:
        raise Unwell("several workers without [redis] share neither nonces nor limits")
    return "in this process: right for one worker on one node"


async def _check_redis(configured: settings.Settings) -> str:
    async with composition.opened_redis(configured) as client:
        if client is not None:
            with redis.translated():
                await client.ping()
    return "Redis answers"


async def _check_upstream_tls(configured: settings.Settings) -> str:
    pools.build_pools(configured)
    return "certificates and keys can be used"


class _UpstreamCheck:
    def __init__(self, name: str) -> None:
        self._name = name

    async def __call__(self, configured: settings.Settings) -> str:
        url = configured.upstreams[self._name].url
        address = settings.parse_upstream(url)
        try:
            async with asyncio.timeout(CONNECT_S):
                _, writer = await asyncio.open_connection(address.host, address.port)
        except TimeoutError:
            raise Unwell(f"{url} does not answer within {CONNECT_S:.0f} s") from None
        except OSError as error:
            raise Unwell(f"{url}: {error.strerror or error}") from None
        writer.close()
        return f"{url} accepts connections"
