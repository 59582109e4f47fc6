import pytest

from keys import environment


def test_both_environments_parse() -> None:
    """The two environments are paper and live."""
    assert [environment.parse_environment(name) for name in ("paper", "live")] == ["paper", "live"]


@pytest.mark.parametrize("text", ["", "Paper", "LIVE", "paper ", "live\n", "test"])
def test_anything_else_is_refused(text: str) -> None:
    """No other spelling names an environment."""
    with pytest.raises(environment.UnknownEnvironment, match="expected one of paper, live"):
        environment.parse_environment(text)
