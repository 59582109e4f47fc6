"""What helps a partner before a first request passes: the server's clock and the signature check."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Controller, Request, get, post
from litestar.datastructures import State

from gateway import signature_check
from gateway.problems import Refusal
from keys import format as key_format

_DECODER = msgspec.json.Decoder(signature_check.Described)
_SIGNED = ("key", "timestamp", "nonce")


class HelpController(Controller):
    path = "/edge/v1"

    @get("/time", sync_to_thread=False)
    def tell_time(self, state: State) -> dict[str, Any]:
        signing = state.gateway.settings.signing
        return {
            "server_time": state.gateway.clock(),
            "unit": "milliseconds",
            "window_ms": signing.window_ms,
            "max_window_ms": signing.max_window_ms,
            "future_skew_ms": signing.future_skew_ms,
        }

    @post("/signature-check", status_code=200)
    async def check_signature(self, request: Request[Any, Any, State], state: State) -> dict[str, Any]:
        """Explains a described request (a JSON body with a `target`), or this very request as it arrived."""
        body = await request.body()
        described, signed_body = _described(request, body)
        signing = state.gateway.settings.signing
        answer = signature_check.explain(described, signed_body, signing.max_window_ms)
        _require_allowed(described.key, signing.signature_check)
        return answer


def _described(request: Request[Any, Any, State], body: bytes) -> tuple[signature_check.Described, bytes]:
    if request.headers.get("portreeve-key") is not None:
        return _as_received(request), body
    try:
        described = _DECODER.decode(body)
        signed = described.body.encode() if described.body_hex is None else bytes.fromhex(described.body_hex)
    except (msgspec.DecodeError, ValueError) as failure:
        raise Refusal(
            "malformed_request",
            "The body is not a description of a request.",
            hint=_decoding_hint(failure),
        ) from None
    return described, signed


def _decoding_hint(failure: Exception) -> str:
    """Msgspec names the field and the expected type, never a value."""
    detail = (
        str(failure) if isinstance(failure, msgspec.ValidationError) else "body_hex is hex, the rest is JSON."
    )
    return (
        f"Send method, target, key, timestamp, nonce, body or body_hex, and your canonical string. {detail}"
    )


def _as_received(request: Request[Any, Any, State]) -> signature_check.Described:
    """The request that asks, itself: its four headers, its target and its body as they came over the wire."""
    values = {name: request.headers.get(f"portreeve-{name}", "") for name in _SIGNED}
    own = request.headers.get("portreeve-canonical")
    try:
        canonical = None if own is None else bytes.fromhex(own).decode("utf-8", "surrogateescape")
    except ValueError:
        raise Refusal("malformed_headers", "Portreeve-Canonical is your string to sign, in hex.") from None
    target = request.scope["portreeve.target"].decode("ascii")  # type: ignore[typeddict-item]  # our own key
    return signature_check.Described(method=request.method, target=target, canonical=canonical, **values)


def _require_allowed(key_id: str, environments: tuple[str, ...]) -> None:
    environment = key_format.parse_key_id(key_id)
    if environment not in environments:
        raise Refusal("environment_mismatch", f"The signature check does not serve {environment} keys.")
