"""The demo's configuration: rendered, kept once edited, and always with this run's ports."""

from importlib import resources
from pathlib import Path

import pytest

from gateway import settings
from gateway.demo import example

FIRST = example.Ports(8080, 8081, 8082)
SECOND = example.Ports(9080, 9081, 9082)


def ports_in(config: Path) -> tuple[int, str, str]:
    loaded = settings.load(config)
    urls = [loaded.upstreams[name].url for name in ("paper-trading", "live-trading")]
    return (loaded.server.port, urls[0], urls[1])


def test_the_rendered_example_holds_and_carries_the_ports(tmp_path: Path) -> None:
    """What the package ships is a configuration that loads."""
    config = example.render(tmp_path, SECOND)
    assert ports_in(config) == (9080, "http://127.0.0.1:9081", "http://127.0.0.1:9082")


def test_the_issuer_is_where_the_gateway_is_found(tmp_path: Path) -> None:
    """Clients look for the metadata there; an issuer that somebody has set stays."""
    config = example.render(tmp_path, SECOND)
    assert settings.load(config).service.issuer == "http://127.0.0.1:9080"
    for own, expected in (
        ("http://127.0.0.1:1", "http://127.0.0.1:8080"),
        ("https://own.example", "https://own.example"),
    ):
        before = settings.load(config).service.issuer
        config.write_text(
            config.read_text("utf-8").replace(f'issuer = "{before}"', f'issuer = "{own}"'), "utf-8"
        )
        example.render(tmp_path, FIRST)
        assert settings.load(config).service.issuer == expected


def test_both_files_are_private(tmp_path: Path) -> None:
    """State is 0600 throughout."""
    example.render(tmp_path, FIRST)
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}
    assert {file.name for file in tmp_path.iterdir()} == {example.CONFIG_NAME, example.POLICIES_NAME}


def test_an_untouched_file_follows_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Running the demo again brings a new example along."""
    config = example.render(tmp_path, FIRST)
    newer = tmp_path / "package"
    newer.mkdir()
    for name in (example.CONFIG_NAME, example.POLICIES_NAME):
        body = (tmp_path / name).read_text("utf-8").partition("\n")[2]
        (newer / name).write_text(f"# newer\n{body}", "utf-8")
    monkeypatch.setattr(resources, "files", lambda _: newer)
    example.render(tmp_path, SECOND)
    assert "# newer" in config.read_text("utf-8")
    assert ports_in(config)[0] == 9080


def test_an_edited_file_keeps_everything_but_its_ports(tmp_path: Path) -> None:
    """Running the demo again, and again, takes nobody's changes away."""
    config = example.render(tmp_path, FIRST)
    config.write_text(config.read_text("utf-8").replace("burst = 4000", "burst = 4321"), "utf-8")
    for ports in (SECOND, FIRST, SECOND):
        example.render(tmp_path, ports)
    assert settings.load(config).source_limit.burst == 4321
    assert ports_in(config) == (9080, "http://127.0.0.1:9081", "http://127.0.0.1:9082")


def test_a_file_without_the_mark_counts_as_edited(tmp_path: Path) -> None:
    """A configuration that somebody wrote from scratch is theirs."""
    own = '[service]\nx = [\n"port = 1"]\n[server]\na = []\nport=1 # ours\n'
    own += '[upstreams.paper-trading]\nurl = "p"\n[upstreams.live-trading]\nurl = "l"\n'
    (tmp_path / example.CONFIG_NAME).write_text(own, "utf-8")
    (tmp_path / example.POLICIES_NAME).write_text("# ours\n", "utf-8")
    example.render(tmp_path, SECOND)
    expected = own.replace("port=1 ", "port=9080 ").replace('"p"', '"http://127.0.0.1:9081"')
    expected = expected.replace('"l"', '"http://127.0.0.1:9082"')
    assert (tmp_path / example.CONFIG_NAME).read_text("utf-8") == expected
    assert (tmp_path / example.POLICIES_NAME).read_text("utf-8") == "# ours\n"


def test_an_edited_file_without_a_port_to_set_is_refused(tmp_path: Path) -> None:
    """Another table's port is not taken for the missing one, and the file stays as it is."""
    own = "[server]\n[other]\nport = 1\n"
    (tmp_path / example.CONFIG_NAME).write_text(own, "utf-8")
    with pytest.raises(example.UnusableExample, match=r"no port in \[server\]"):
        example.render(tmp_path, FIRST)
    assert (tmp_path / example.CONFIG_NAME).read_text("utf-8") == own
