"""People: who they are, how they prove it, and for how long that holds.

`Accounts` is for those who keep accounts, `OwnPasswords`, `SecondFactors` and `Passkeys` for whoever an account is of;
`SignIn` and `Sessions` are what stands between a browser and all else. Nothing here knows HTTP: a cookie is a text.
"""

from auth.people.accounts import Accounts
from auth.people.own_passwords import OwnPasswords
from auth.people.passkeys import Passkeys
from auth.people.records import Account, HalfSignedIn, SignedIn, Step
from auth.people.second_factors import SecondFactors
from auth.people.sessions import Sessions
from auth.people.sign_in import SignIn

__all__ = [
    "Account",
    "Accounts",
    "HalfSignedIn",
    "OwnPasswords",
    "Passkeys",
    "SecondFactors",
    "Sessions",
    "SignIn",
    "SignedIn",
    "Step",
]
