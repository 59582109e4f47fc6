"""All that a person's yes goes through, built together: pushed requests, codes, refresh tokens, devices, grants."""

import msgspec

from auth.oauth.authorization import Authorization
from auth.oauth.codes import Codes
from auth.oauth.devices import Devices
from auth.oauth.grants import OAuthGrants
from auth.oauth.ground import Ground
from auth.oauth.pushed_requests import PushedRequests
from auth.oauth.refresh import RefreshTokens


class Flows(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    requests: PushedRequests
    authorization: Authorization
    codes: Codes
    refresh_tokens: RefreshTokens
    devices: Devices
    grants: OAuthGrants


def build(ground: Ground) -> Flows:
    requests = PushedRequests(ground)
    return Flows(
        requests=requests,
        authorization=Authorization(ground, requests),
        codes=Codes(ground),
        refresh_tokens=RefreshTokens(ground),
        devices=Devices(ground),
        grants=ground.grants,
    )
