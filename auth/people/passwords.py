"""What may be a password, and the one form in which each is hashed. Pure.

Invariant: however a keyboard composes what somebody types, it hashes alike (NFC, and every space is the one space:
RFC 8265). Refuses: fewer than 12 characters or more than 1024, what cannot be typed, the passwords that everybody tries
first, and the address of the account or its name. Nothing else is asked of one: no digits, no signs, no age.
"""

import unicodedata
from typing import Final

from auth.people.failures import PasswordRefused

SHORTEST: Final = 12
LONGEST: Final = 1024
# Beyond any password of that length: what is longer is not even looked at.
_MOST_BYTES: Final = 4 * LONGEST

# Of twelve characters and more, since nothing shorter passes: the heads of the lists that guessing begins with.
_COMMON: Final = frozenset(
    {
        "000000000000",
        "111111111111",
        "112233445566",
        "123123123123",
        "123412341234",
        "123456123456",
        "1234567890-=",
        "1234567890ab",
        "1234567890abc",
        "1234567890qw",
        "1234567890qwerty",
        "123456789012",
        "1234567890123",
        "12345678901234",
        "123456789012345",
        "1234567890123456",
        "12345678901234567890",
        "123456789abc",
        "1234qwerasdf",
        "1234qwerasdfzxcv",
        "123qweasdzxc",
        "1q2w3e4r5t6y",
        "1q2w3e4r5t6y7u8i",
        "1qaz2wsx3edc",
        "1qaz2wsx3edc4rfv",
        "987654321000",
        "9876543210123",
        "abc123abc123",
        "abcd1234abcd",
        "abcdef123456",
        "abcdefghijkl",
        "abcdefghijklm",
        "abcdefghijklmnop",
        "abcdefghijklmnopqrstuvwxyz",
        "admin1234567",
        "admin12345678",
        "adminadminadmin",
        "administrator",
        "administrator1",
        "asdfasdfasdf",
        "asdfghjkl123",
        "asdfghjkl;'#",
        "asdfghjklqwerty",
        "changemechangeme",
        "changeme1234",
        "correct horse battery staple",
        "correcthorsebatterystaple",
        "football1234",
        "iloveyou1234",
        "iloveyou12345",
        "iloveyouforever",
        "iloveyousomuch",
        "internet1234",
        "letmein12345",
        "letmeinletmein",
        "liverpoolfc1",
        "manchesterunited",
        "masterpassword",
        "monkey123456",
        "mypassword123",
        "mypassword1234",
        "p@ssw0rd1234",
        "p@ssword1234",
        "passphrase123",
        "passw0rd1234",
        "password!123",
        "password0000",
        "password1111",
        "password1234",
        "password12345",
        "password123456",
        "password1234567",
        "password12345678",
        "password123456789",
        "password1password1",
        "password2024",
        "password2025",
        "password2026",
        "passwordpassword",
        "portreeve123",
        "portreeve1234",
        "portreeveportreeve",
        "princess1234",
        "qazwsxedcrfv",
        "qazwsxedc123",
        "qwer1234qwer",
        "qwerqwerqwer",
        "qwerty123456",
        "qwerty1234567",
        "qwerty12345678",
        "qwerty123456789",
        "qwertyqwerty",
        "qwertyuiop12",
        "qwertyuiop123",
        "qwertyuiop1234567890",
        "qwertyuiop[]",
        "qwertyuiopasdf",
        "qwertyuiopasdfghjkl",
        "qwertyuiopasdfghjklzxcvbnm",
        "sunshine1234",
        "superman1234",
        "trustno1trustno1",
        "unbelievable",
        "welcome12345",
        "welcome123456",
        "welcomewelcome",
        "zaq12wsxcde3",
        "zxcvbnm12345",
        "zxcvbnmasdfghjkl",
    }
)


def prepare(text: str) -> bytes | None:
    """As it is hashed; None where nobody can have that for a password."""
    if len(text) > _MOST_BYTES:
        return None
    composed = unicodedata.normalize("NFC", "".join(" " if c.isspace() else c for c in text))
    if not SHORTEST <= len(composed) <= LONGEST or not composed.isprintable():
        return None
    return composed.encode()


def choose(text: str, *, email: str) -> bytes:
    """The same of a new one, which must not be what is guessed first."""
    prepared = prepare(text)
    if prepared is None:
        raise PasswordRefused(f"a password has {SHORTEST} to {LONGEST} characters that can be typed")
    folded = prepared.decode().casefold()
    if folded in _COMMON or len(set(folded)) == 1:
        raise PasswordRefused("this is one of the passwords that are tried first")
    if folded.strip() in {email, email.partition("@")[0]}:
        raise PasswordRefused("your own address is what is tried first")
    return prepared
