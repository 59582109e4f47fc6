"""What a wheel carries of the compiled room: what could be built where the wheel is, for that platform alone."""

import sys
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompiledRoom(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            # A checkout builds in place: `python -m compiled.build`.
            return
        sys.path.insert(0, self.root)
        from compiled import build, libraries, stamp  # noqa: PLC0415  the room itself, before it is installed

        build.main()
        if stamp().exists():
            build_data["artifacts"] += [f"compiled/{path.name}" for path in (*libraries(), stamp())]
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
