import pytest

from policies import actions, document
from policies.approvals import BUILT_IN, Approvals, Facts
from policies.strict import PolicyError

LIVE_TRADING = Facts(environment="live", granted=frozenset({"orders:write"}), trading=True)
HOUR_MS = 3_600_000

BASE = """
[permissions."orders:write"]
description = "Place orders"
trading = true
[roles.officer]
permissions = ["control:approve"]
[roles.risk]
permissions = []
"""


def read(rules: str, top: str = "") -> Approvals:
    return document.parse((top + BASE + rules).encode(), "p.toml").approvals


@pytest.mark.parametrize("action", sorted(actions.EMERGENCY))
def test_an_emergency_act_needs_one_person(action: str) -> None:
    """Without rules, and under a rule about all acts of its kind."""
    kind = action.partition(".")[0]
    assert BUILT_IN.find_need(action, LIVE_TRADING) is None
    if kind != "leak":
        assert read(f'[[approvals]]\naction="{kind}.*"').find_need(action, LIVE_TRADING) is None


@pytest.mark.parametrize("action", sorted(actions.TAKING_BACK))
def test_taking_a_freeze_back_needs_two_whatever_the_rules_say(action: str) -> None:
    """Without a rule, and under one whose conditions are not met."""
    need = BUILT_IN.find_need(action, Facts())
    assert need is not None
    assert need.wait_ms == 24 * HOUR_MS
    narrow = read(f'[[approvals]]\naction="{action}"\nenvironment="live"\ntrading=true\nexpires="1h"')
    assert narrow.find_need(action, Facts(environment="paper")) == need


@pytest.mark.parametrize("action", ["key.create", "key.widen"])
@pytest.mark.parametrize("permission", ["control:approve", "control:break-glass"])
def test_handing_out_the_power_to_approve_needs_two(action: str, permission: str) -> None:
    """Otherwise one person makes themselves the second."""
    assert BUILT_IN.find_need(action, Facts(granted=frozenset({permission}))) is not None
    assert BUILT_IN.find_need(action, Facts(granted=frozenset({"control:keys-read"}))) is None


def test_what_no_rule_names_needs_one_person() -> None:
    """The gateway can be run by a few people without asking each other about everything."""
    for action in actions.ALL - actions.TAKING_BACK:
        assert BUILT_IN.find_need(action, LIVE_TRADING) is None


def test_a_rule_counts_when_all_its_conditions_are_met() -> None:
    """Environment, trading, and one of the permissions; an act about both environments is about either."""
    found = read(
        '[[approvals]]\naction="key.create"\nenvironment="live"\ntrading=true\npermissions=["orders:write"]'
    )
    assert found.find_need("key.create", LIVE_TRADING) is not None
    assert found.find_need("key.create", Facts(None, frozenset({"orders:write"}), trading=True)) is not None
    assert found.find_need("key.create", Facts("paper", frozenset({"orders:write"}), trading=True)) is None
    assert found.find_need("key.create", Facts("live", frozenset({"orders:write"}), trading=False)) is None
    assert found.find_need("key.create", Facts("live", frozenset(), trading=True)) is None
    assert found.find_need("key.widen", LIVE_TRADING) is None


def test_to_widen_is_to_change() -> None:
    """A rule about changes is not got round by a wider one; narrowing is free of a rule about widening."""
    every = read('[[approvals]]\naction="key.change"')
    assert every.find_need("key.widen", Facts()) is not None
    assert every.find_need("key.change", Facts()) is not None
    assert read('[[approvals]]\naction="key.widen"').find_need("key.change", Facts()) is None


def test_of_several_rules_all_have_to_be_satisfied() -> None:
    """The shortest wait, and somebody with a role of each."""
    found = read(
        '[[approvals]]\naction="kms.*"\nexpires="2h"\napprovers=["officer"]\n'
        '[[approvals]]\naction="kms.rotate"\nexpires="7d"\napprovers=["risk", "officer"]\n'
    ).find_need("kms.rotate", Facts())
    assert found is not None
    assert (found.wait_ms, found.approvers) == (2 * HOUR_MS, (("officer",), ("risk", "officer")))


def test_a_shop_of_one_says_so() -> None:
    """Only the one switch at the top takes away what is built in."""
    found = read("", top="two_persons = false\n")
    assert not found.two_persons
    assert all(found.find_need(action, LIVE_TRADING) is None for action in actions.ALL)


def test_an_action_that_nobody_knows_is_a_mistake() -> None:
    """An operation cannot pass under a name that no rule could catch."""
    with pytest.raises(actions.UnknownAction):
        BUILT_IN.find_need("key.destroy", Facts())


def test_break_glass_may_be_made_shorter() -> None:
    """An hour, unless the policies say less."""
    assert read("").longest_break_glass_ms == HOUR_MS
    assert read('[break_glass]\nlongest="20m"').longest_break_glass_ms == HOUR_MS // 3


@pytest.mark.parametrize(
    ("rules", "place"),
    [
        ('[[approvals]]\naction="key.destroy"', "approvals[0].action"),
        ('[[approvals]]\naction="keys.*"', "approvals[0].action"),
        ('[[approvals]]\naction="*"', "approvals[0].action"),
        ('[[approvals]]\naction="key.*x"', "approvals[0].action"),
        ('[[approvals]]\naction="kms.*"\n[[approvals]]\naction="key.freeze"', "approvals[1].action"),
        ('[[approvals]]\naction="leak.*"\n', "approvals[0].action"),
        ("[[approvals]]", "approvals[0]"),
        ('[[approvals]]\naction="kms.*"\nwhen="live"', "approvals[0]"),
        ('[[approvals]]\naction="kms.*"\nenvironment="test"', "approvals[0].environment"),
        ('[[approvals]]\naction="kms.*"\npermissions=["x:y"]', "approvals[0].permissions[0]"),
        ('[[approvals]]\naction="kms.*"\napprovers=["officer", "king"]', "approvals[0].approvers[1]"),
        ('[[approvals]]\naction="kms.*"\nexpires="24"', "approvals[0].expires"),
        ('[[approvals]]\naction="kms.*"\nexpires="31d"', "approvals[0].expires"),
        ('[break_glass]\nlongest="61m"', "break_glass.longest"),
        ('[break_glass]\nlongest="1 h"', "break_glass.longest"),
        ('[break_glass]\nshortest="1m"', "break_glass"),
    ],
)
def test_an_error_names_its_place(rules: str, place: str) -> None:
    """A rule that is misspelt is not a rule that is not there."""
    with pytest.raises(PolicyError) as caught:
        read(rules)
    assert caught.value.place == f"p.toml: {place}"


def test_whose_yes_counts_is_said_for_all_acts() -> None:
    """Anybody's who may decide, unless the file asks for a key; nothing else can be asked for."""
    assert read("").deciders == BUILT_IN.deciders == "anybody"
    assert read("", top='deciders = "keys"\n').deciders == "keys"
    with pytest.raises(PolicyError, match="deciders"):
        read("", top='deciders = "shells"\n')
    with pytest.raises(PolicyError, match="two_persons: is false"):
        read("", top='two_persons = false\ndeciders = "keys"\n')


def test_rules_without_a_second_person_are_a_contradiction() -> None:
    """They would never be asked."""
    with pytest.raises(PolicyError, match="two_persons: is false"):
        read('[[approvals]]\naction="kms.*"', top="two_persons = false\n")
    with pytest.raises(PolicyError, match="two_persons"):
        read("", top='two_persons = "no"\n')
