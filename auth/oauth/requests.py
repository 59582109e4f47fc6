"""What comes to an endpoint of the authorization server that a client asks itself, whoever brought it there.

Nothing of it is trusted: a form that stands here has been read strictly, each parameter once and none of them empty,
and that is all that is known of it.
"""

from collections.abc import Callable, Mapping

import msgspec

from auth.oauth.certificates import ClientCertificate
from keys.served_clients import ServedClient


def _tell_nobody(_: ServedClient) -> None:
    return


class TokenRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`url` is the endpoint's own address as the metadata tells it. `source` is the address the client has here,
    `network` what limits count it by. `identified` is told who it was, once that is proved. Prints no value that came.
    """

    form: Mapping[str, str]
    source: str
    url: str
    now_ms: int
    network: str = ""
    method: str = "POST"
    authorization: str | None = None
    dpop: tuple[str, ...] = ()
    certificate: ClientCertificate | None = None
    request_id: str | None = None
    identified: Callable[[ServedClient], None] = _tell_nobody

    def __repr__(self) -> str:
        return f"TokenRequest({self.url})"
