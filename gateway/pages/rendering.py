"""From a template and values to the bytes of a page.

Invariant: whatever is filled in is escaped, a name that has no value is a defect rather than a gap, and text that came
from others shows as what it is: characters that would reorder or hide what stands around them are replaced.
"""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import jinja2

from gateway.pages.assets import Assets

_TEMPLATES: Final = Path(__file__).parent / "templates"
# Controls, and formats such as those that turn the direction of writing around.
_UNSHOWN: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
_UNITS: Final = ((86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1_000, "second"))


class Templates:
    def __init__(self, assets: Assets) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "moment": moment,
            "duration": duration,
            "plain": plain,
            "monogram": monogram,
        }
        self._environment.globals["asset"] = assets.address

    def render(self, name: str, values: dict[str, Any]) -> bytes:
        return self._environment.get_template(name).render(values).encode()

    def names(self) -> list[str]:
        return self._environment.list_templates()


def moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def duration(ms: int) -> str:
    """In the largest unit that leaves nothing over."""
    size, unit = next(
        ((size, unit) for size, unit in _UNITS if ms >= size and ms % size == 0), (1, "millisecond")
    )
    count = ms // size
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def plain(text: str) -> str:
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(each) in _UNSHOWN else each for each in text
    )


def monogram(name: str) -> str:
    """Stands where a picture would: nothing is fetched from anybody else to show a page."""
    return next((each.upper() for each in name if each.isalnum()), "?")
