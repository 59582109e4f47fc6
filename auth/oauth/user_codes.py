"""What a person reads off one device and types on another: eight letters, grouped. Pure.

Invariant: no vowels, so no words, and nothing that looks like a digit; 20^8 codes. However it was typed, its letters
alone count. Refuses what cannot be one.
"""

from typing import Final

from auth.oauth.drawn import Entropy

ALPHABET: Final = "BCDFGHJKLMNPQRSTVWXZ"
LENGTH: Final = 8
LONGEST_TYPED: Final = 32

_HALF: Final = LENGTH // 2
# A byte beyond the last whole round of the alphabet would make its first letters likelier.
_FAIR: Final = 256 - 256 % len(ALPHABET)


class MalformedUserCode(ValueError):
    def __init__(self) -> None:
        super().__init__("a code is eight letters")


def draw(entropy: Entropy) -> str:
    letters = ""
    while len(letters) < LENGTH:
        byte = entropy(1)[0]
        if byte < _FAIR:
            letters += ALPHABET[byte % len(ALPHABET)]
    return letters


def show(letters: str) -> str:
    return f"{letters[:_HALF]}-{letters[_HALF:]}"


def parse(typed: str) -> str:
    if len(typed) > LONGEST_TYPED:
        raise MalformedUserCode
    letters = "".join(each for each in typed.upper() if each not in " -\t")
    if len(letters) != LENGTH or not set(letters) <= set(ALPHABET):
        raise MalformedUserCode
    return letters
