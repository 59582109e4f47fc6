"""Where people go on after they have signed in: never to an address that somebody handed them."""

import pytest

from gateway.pages import ways

REQUEST = "urn:ietf:params:oauth:request_uri:abc-DEF_123"
CLIENT = "prc_paper_0123456789ABCDEFGHIJKLMNOP"


def test_a_way_back_to_an_authorization_names_its_request() -> None:
    """What is carried through a form comes back as it was."""
    way = ways.parse({"to": "authorize", "client_id": CLIENT, "request_uri": REQUEST})
    assert way.address.startswith("/oauth/authorize?client_id=prc_paper_")
    assert ways.parse(dict(way.fields)) == way
    assert way.through("/oauth/sign-in").startswith("/oauth/sign-in?to=authorize&client_id=")


def test_without_a_way_it_leads_to_the_account() -> None:
    """Somebody came by themselves."""
    assert ways.parse({}).address == "/oauth/account"


@pytest.mark.parametrize(
    "to",
    [
        "https://evil.example",
        "//evil.example",
        "/oauth/account",
        "javascript:alert(1)",
        "",
        "account ",
        "Account",
    ],
)
def test_a_way_is_a_name_and_never_an_address(to: str) -> None:
    """No link leads through our sign-in to somewhere else."""
    with pytest.raises(ways.MalformedWay):
        ways.parse({"to": to})


@pytest.mark.parametrize(
    "fields",
    [
        {"client_id": CLIENT},
        {"client_id": CLIENT, "request_uri": "https://evil.example/request"},
        {"client_id": CLIENT, "request_uri": REQUEST + "&x=1"},
        {"client_id": "//evil.example", "request_uri": REQUEST},
        {"client_id": CLIENT + "\n", "request_uri": REQUEST},
    ],
)
def test_parameters_are_of_their_form(fields: dict[str, str]) -> None:
    """What is not is refused before it stands in any address."""
    with pytest.raises(ways.MalformedWay):
        ways.parse({"to": "authorize", **fields})


def test_what_is_no_part_of_a_step_is_left_out() -> None:
    """A parameter that nobody asked for goes nowhere."""
    way = ways.parse({"to": "device", "user_code": "BCDF-GHJK", "next": "https://evil.example"})
    assert way.address == "/oauth/device?user_code=BCDF-GHJK"


@pytest.mark.parametrize("step", ways.STEPS)
def test_every_step_is_a_page_of_ours(step: str) -> None:
    """An address begins with one slash, below our own root."""
    fields = {"client_id": CLIENT, "request_uri": REQUEST, "user_code": "BCDF-GHJK"}
    assert ways.make(step, fields).address.startswith("/oauth/")
