"""One pool of connections an upstream, built from the configuration."""

from __future__ import annotations

from gateway.settings import Settings
