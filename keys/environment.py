"""The two environments, between which nothing crosses."""

from typing import Final, Literal, get_args

from keys import refusals

Environment = Literal["paper", "live"]

ENVIRONMENTS: Final[tuple[Environment, ...]] = get_args(Environment)


class UnknownEnvironment(refusals.InvalidRequest):
    field = "environment"

    def __init__(self, text: str) -> None:
        super().__init__(f"unknown environment {text!r:.80}: expected one of {', '.join(ENVIRONMENTS)}")


def parse_environment(text: str) -> Environment:
    if text not in ENVIRONMENTS:
        raise UnknownEnvironment(text)
    return text
