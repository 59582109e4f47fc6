"""The pages of the oauth surface: where people sign in, allow apps something, and keep their account.

They are made here, on the server, and work without a script but for passkeys. One address, one turn: what a page does
is a function in one of these modules, and the table below is all that is served. Invariant: see `serving` for what
holds of every page, whatever its turn does.
"""

from __future__ import annotations

from typing import Final

from litestar import Router

from gateway.pages import account, authorize, confirm, device, enrol, new_passwords, sign_in
from gateway.pages.serving import Serving, Turn

SHOWN: Final[dict[str, Turn]] = {
    "/oauth/sign-in": sign_in.show,
    "/oauth/sign-in/second": sign_in.show_second,
    "/oauth/confirm": confirm.show,
    "/oauth/enrol": enrol.show,
    "/oauth/authorize": authorize.show,
    "/oauth/device": device.show,
    "/oauth/invitation": new_passwords.show_invitation,
    "/oauth/reset": new_passwords.show_reset,
    "/oauth/account": account.show,
    "/oauth/account/password": new_passwords.show_change,
    "/oauth/account/one-time-codes": account.show_codes,
    "/oauth/account/passkeys": account.show_passkeys,
    "/oauth/account/recovery-codes": account.show_recovery_codes,
}
TAKEN: Final[dict[str, Turn]] = {
    "/oauth/sign-in": sign_in.with_password,
    "/oauth/sign-in/code": sign_in.with_code,
    "/oauth/sign-in/recovery": sign_in.with_recovery_code,
    "/oauth/sign-in/passkey": sign_in.begin_passkey,
    "/oauth/sign-in/second/passkey": sign_in.begin_second_passkey,
    "/oauth/sign-in/passkey/answer": sign_in.with_passkey,
    "/oauth/sign-out": sign_in.sign_out,
    "/oauth/confirm": confirm.with_password,
    "/oauth/confirm/passkey": confirm.begin_passkey,
    "/oauth/confirm/passkey/answer": confirm.with_passkey,
    "/oauth/enrol/one-time-codes": enrol.begin_codes,
    "/oauth/enrol/one-time-codes/confirm": enrol.confirm_codes,
    "/oauth/enrol/passkey": enrol.begin_passkey,
    "/oauth/enrol/passkey/answer": enrol.add_passkey,
    "/oauth/authorize": authorize.decide,
    "/oauth/device": device.look,
    "/oauth/device/decision": device.decide,
    "/oauth/invitation": new_passwords.accept_invitation,
    "/oauth/reset": new_passwords.reset,
    "/oauth/reset/request": new_passwords.request_reset,
    "/oauth/account/sign-out-everywhere": account.sign_out_everywhere,
    "/oauth/account/sessions/end": account.end_session,
    "/oauth/account/apps/withdraw": account.withdraw,
    "/oauth/account/password": new_passwords.change,
    "/oauth/account/one-time-codes/begin": account.begin_codes,
    "/oauth/account/one-time-codes/confirm": account.confirm_codes,
    "/oauth/account/one-time-codes/remove": account.remove_codes,
    "/oauth/account/passkeys/begin": account.begin_passkey,
    "/oauth/account/passkeys/add": account.add_passkey,
    "/oauth/account/passkeys/rename": account.rename_passkey,
    "/oauth/account/passkeys/remove": account.remove_passkey,
    "/oauth/account/recovery-codes": account.make_recovery_codes,
}


def build() -> Router:
    """All of them; what they need of a running node is in the application's state by the time they are asked."""
    serving = Serving()
    shown = [serving.shown(path, turn) for path, turn in SHOWN.items()]
    taken = [serving.taken(path, turn) for path, turn in TAKEN.items()]
    return serving.router([serving.asset(), *shown, *taken])
