"""Hazards: whoever may name a webhook's URL names what we connect to. What may be named, and where a name may lead."""

from __future__ import annotations

import ipaddress

import pytest

from gateway.webhooks import addresses, targets
from keys.webhook_records import InvalidUrl

NAME = "hooks.acme.example"
PUBLIC = "8.8.8.8"
LOOPBACK = targets.Rules(networks=(ipaddress.ip_network("127.0.0.0/8"),))

# The same address in every notation that some reader takes for it.
LOOPBACKS = ["127.0.0.1", "127.0.0.53", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]"]
ODD = [
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "127.1",
    "127.0.1",
    "017700000001",
    "0x7f.0x0.0x0.0x1",
]
ODD += [
    "127.0.0.1.",
    "127.0.0.01",
    "127.0.0.0x1",
    "0",
    "0.0",
    "1.2.3.4.5",
    "256.1.1.1",
    "8.8.8.010",
    "8.8.2056",
]
INSIDE = [
    "0.0.0.0",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
]
INSIDE += [
    "172.31.255.255",
    "192.168.1.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.7",
]
INSIDE += ["203.0.113.7", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "100.100.100.200"]
INSIDE += ["168.63.129.16"]
INSIDE_V6 = [
    "::",
    "::1",
    "::ffff:10.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:10.0.0.1",
    "::10.0.0.1",
    "64:ff9b::10.0.0.1",
]
INSIDE_V6 += [
    "64:ff9b::7f00:1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::808:808",
    "100::1",
    "2001::1",
    "2001:db8::1",
]
INSIDE_V6 += ["2001:10::1", "2001:20::1", "2002:7f00:1::", "2002:808:808::1", "3fff::1", "4000::1", "5f00::1"]
INSIDE_V6 += [
    "fc00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fd12:3456::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "fe80::1%eth0",
    "2606:4700:4700::1111%eth0",
]
OUTSIDE = [
    PUBLIC,
    "1.1.1.1",
    "93.184.215.14",
    "2606:4700:4700::1111",
    "2a00:1450:4001:800::200e",
    "64:ff9b::808:808",
]


def url(host: str) -> str:
    return f"https://{host}/hook"


@pytest.mark.parametrize("host", LOOPBACKS + ODD + INSIDE + [f"[{one}]" for one in INSIDE_V6])
def test_an_address_inside_is_refused_in_every_notation(host: str) -> None:
    """When it is named, before anything is stored."""
    with pytest.raises(InvalidUrl):
        targets.parse(url(host), targets.Rules())


@pytest.mark.parametrize("address", INSIDE + INSIDE_V6)
def test_a_name_that_leads_inside_is_refused(address: str) -> None:
    """Whatever else the answer holds, and in whatever order."""
    target = targets.parse(url(NAME), targets.Rules())
    for answer in ([address], [PUBLIC, address], [address, PUBLIC]):
        with pytest.raises(targets.AddressRefused):
            targets.check_addresses(target, answer, targets.Rules())


@pytest.mark.parametrize("address", OUTSIDE)
def test_a_public_address_passes(address: str) -> None:
    """The rules above are not so strict that nobody is told anything."""
    target = targets.parse(url(NAME), targets.Rules())
    assert targets.check_addresses(target, [address], targets.Rules()) == (address,)
    shown = f"[{address}]" if ":" in address else address
    assert targets.parse(url(shown), targets.Rules()).address == ipaddress.ip_address(address)


def test_no_address_that_is_not_global_passes_by_the_registry() -> None:
    """The standard library's own table of special ranges agrees with ours on the edges of each of them."""
    for text in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
    ):
        network = ipaddress.IPv4Network(text)
        for address in (network[0], network[-1]):
            assert not addresses.is_public(address)
        assert addresses.is_public(network[0] - 1) is (network[0] - 1).is_global
        assert addresses.is_public(network[-1] + 1) is (network[-1] + 1).is_global


@pytest.mark.parametrize(
    "hostile",
    [
        "",
        "hooks.acme.example",
        "//hooks.acme.example/",
        "http://hooks.acme.example/",
        "HTTPS://hooks.acme.example/",
        "ftp://hooks.acme.example/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "javascript:alert(1)",
        "https:hooks.acme.example",
        "https:/hooks.acme.example",
        "https:///hooks.acme.example",
        "https://",
        "https://:443/",
        "https://alice@hooks.acme.example/",
        "https://alice:secret@hooks.acme.example/",
        "https://hooks.acme.example:443@10.0.0.1/",
        "https://hooks.acme.example#@10.0.0.1/",
        "https://hooks.acme.example\\@10.0.0.1/",
        "https:\\\\10.0.0.1\\",
        "https://hooks.acme.example\\.evil.example/",
        "https://hooks.acme.example/#fragment",
        "https://hooks.acme.example?query",
        "https://hooks.acme.example /",
        " https://hooks.acme.example/",
        "https://hooks.acme.example/\n",
        "https://hooks.acme.example/\r\nHost: inside",
        "https://hooks.acme.example/a b",
        "https://hooks.acme.example/\0",
        "https://hooks.acme.example/ü",
        "https://hooks.acme.example/\t",
        "https://münchen.example/",
        "https://①②⑦.⓪.⓪.①/",
        "https://127。0。0。1/",
        "https://hooks.acme.example%2f@10.0.0.1/",
        "https://%31%30.0.0.1/",
        "https://hooks..example/",
        "https://.example/",
        "https://hooks.acme.example./",
        "https://-hooks.example/",
        "https://hooks-.example/",
        "https://hooks_acme.example/",
        f"https://{'a' * 64}.example/",
        f"https://{'a.' * 130}example/",
        "https://hooks.acme.example:0/",
        "https://hooks.acme.example:65536/",
        "https://hooks.acme.example:99999999/",
        "https://hooks.acme.example:/",
        "https://hooks.acme.example:+443/",
        "https://hooks.acme.example:0443/",
        "https://hooks.acme.example:443:80/",
        "https://[::1/",
        "https://::1/",
        "https://[::1]]/",
        "https://[fe80::1%25eth0]/",
        "https://[2606:4700:4700::1111]evil/",
        "https://[]/",
        "https://[8.8.8.8]/",
        "https://hooks.acme.example/" + "a" * 2_048,
    ],
)
def test_a_url_that_two_readers_could_read_differently_is_refused(hostile: str) -> None:
    """Schemes, names and passwords, whitespace, other scripts, odd ports and brackets; nothing of it is shown."""
    for rules in (targets.Rules(), LOOPBACK):
        with pytest.raises(InvalidUrl) as caught:
            targets.parse(hostile, rules)
        assert "acme" not in str(caught.value)


def test_a_url_is_read_as_it_stands() -> None:
    """Nothing is decoded; a name in another script is written in ASCII."""
    read = targets.parse("https://Hooks.Acme.Example:8443/a%2Fb/../c?x=1&y=%20", targets.Rules())
    assert (read.host, read.port, read.path) == (NAME, 8443, "/a%2Fb/../c?x=1&y=%20")
    assert (read.authority, read.origin) == (f"{NAME}:8443", f"https://{NAME}:8443")
    assert targets.parse("https://xn--mnchen-3ya.example", targets.Rules()).path == "/"
    assert "x=1" not in repr(read)


def test_ports_can_be_narrowed() -> None:
    """An operator who lets only 443 out says so here."""
    rules = targets.Rules(ports=(443, 8443))
    assert targets.parse(f"https://{NAME}:8443/", rules).port == 8443
    with pytest.raises(InvalidUrl):
        targets.parse(f"https://{NAME}:22/", rules)


def test_an_exception_holds_for_what_it_names() -> None:
    """Loopback too, in either family, where an operator says so; and not for what lies beside it."""
    rules = targets.Rules(networks=tuple(map(ipaddress.ip_network, ("::1/128", "127.0.0.0/8", "fd12::/16"))))
    for host in ("127.0.0.1", "[::1]", "[fd12::7]"):
        assert targets.parse(url(host), rules).port == 443
    for host in ("[::]", "[::2]", "[fd13::7]", "[::ffff:127.0.0.1]", "0.0.0.0"):
        with pytest.raises(InvalidUrl):
            targets.parse(url(host), rules)


@pytest.mark.parametrize("metadata", ["169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192"])
def test_metadata_is_refused_whatever_was_allowed(metadata: str) -> None:
    """An exception that is drawn too wide does not give the machine's own credentials away."""
    everything = targets.Rules(networks=tuple(map(ipaddress.ip_network, ("0.0.0.0/1", "128.0.0.0/1"))))
    assert targets.parse(url("10.0.0.1"), everything).host == "10.0.0.1"
    with pytest.raises(InvalidUrl):
        targets.parse(url(metadata), everything)


def test_plain_http_reaches_loopback_alone_and_only_where_allowed() -> None:
    """For demos: not even then another machine, nor a name that says it is this one and is not."""
    rules = targets.Rules(http_loopback=True)
    assert targets.parse("http://127.0.0.1:9000/x", rules).origin == "http://127.0.0.1:9000"
    for refused in ("http://10.0.0.1/", "http://127.0.0.2/", f"http://{NAME}/", "https://127.0.0.1/"):
        with pytest.raises(InvalidUrl):
            targets.parse(refused, rules)
    local = targets.parse("http://localhost/", rules)
    assert targets.check_addresses(local, ["127.0.0.1", "::1"], rules) == ("127.0.0.1", "::1")
    for answer in ("10.0.0.1", PUBLIC, "169.254.169.254", "::ffff:127.0.0.1"):
        with pytest.raises(targets.AddressRefused):
            targets.check_addresses(local, [answer], rules)
