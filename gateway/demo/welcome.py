"""What the demo says once it is ready: where things are, and one signed request to paste."""

import shlex
import sys
from pathlib import Path
from typing import Final

import msgspec

from gateway.cli.credentials import DEMO_FILE, DemoKey
from gateway.demo import example, seed
from gateway.demo.contents import Contents, DemoClient

TARGET: Final = "/paper/v1/orders"
REQUEST_LOG: Final = "requests.log"


class Places(msgspec.Struct, frozen=True):
    state_dir: Path
    ports: example.Ports


def welcome(places: Places, credentials: Contents) -> str:
    state, ports, key = places.state_dir, places.ports, credentials.keys[0]
    return f"""
Portreeve is ready.

  gateway        {credentials.base_url}     ready? {credentials.base_url}/health/ready
  paper trading  {credentials.base_url}/paper/v1/…     upstream on port {ports.paper}
  live trading   {credentials.base_url}/live/v1/…      upstream on port {ports.live}
  people         {credentials.base_url}/oauth/account     who and with what stands beside the keys
  configuration  {state / example.CONFIG_NAME}, {state / example.POLICIES_NAME}
  keys           {state / seed.FILE_NAME}
  request log    {state / REQUEST_LOG}

A signed request, by the command line

  {portreeve_command(state, key)}

or by openssl and curl alone, signed at the moment you paste it:

{snippet(credentials.base_url, key)}
{_token_part(credentials)}
Ctrl-C stops everything.
"""


def portreeve_command(state_dir: Path, key: DemoKey) -> str:
    called_as = Path(sys.argv[0])
    program = [sys.executable, "-m", "gateway"] if called_as.name == "__main__.py" else [str(called_as)]
    command = [*program, "request", "GET", TARGET, "--key", key.id]
    if state_dir / seed.FILE_NAME != DEMO_FILE:
        command += ["--credentials", str(state_dir / seed.FILE_NAME)]
    return shlex.join(command)


def snippet(base_url: str, key: DemoKey) -> str:
    """In a subshell, so that nothing of it stays behind in the shell it is pasted into."""
    return f"""(
  url={base_url} key={key.id} secret={key.secret}
  timestamp=$(date +%s)000 nonce=$(openssl rand -hex 16)
  body=$(printf %s '' | openssl dgst -sha256 -r | cut -d' ' -f1)
  signature=$(printf 'PORTREEVE1\\n%s\\n%s\\n%s\\nGET\\n{TARGET}\\n\\n%s' \\
    "$timestamp" "$nonce" "$key" "$body" | openssl dgst -sha256 -hmac "$secret" -r | cut -d' ' -f1)
  curl -sS "$url{TARGET}" -H "Portreeve-Key: $key" -H "Portreeve-Timestamp: $timestamp" \\
    -H "Portreeve-Nonce: $nonce" -H "Portreeve-Signature: $signature"; echo
)"""


def _token_part(credentials: Contents) -> str:
    by_secret = next((client for client in credentials.oauth_clients if client.client_secret), None)
    if by_secret is None:
        return ""
    return f"""
An access token, and a request with it, as older clients do; docs/oauth.md has the way for new ones

{token_snippet(credentials.base_url, by_secret)}
"""


def token_snippet(base_url: str, client: DemoClient) -> str:
    return f"""(
  url={base_url} client={client.client_id} secret={client.client_secret}
  token=$(curl -sS -u "$client:$secret" -d grant_type=client_credentials -d scope={client.scope} \\
    "$url/oauth/token" | sed -n 's/.*"access_token": *"\\([^"]*\\)".*/\\1/p')
  curl -sS "$url{TARGET}" -H "Authorization: Bearer $token"; echo
)"""
