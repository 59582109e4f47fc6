"""Which paths are served on which port, where control has one of its own.

Invariant: with a control port configured, partners' port serves no control path, and the control port nothing but
control paths and health. Without one, one port serves all.
"""

from __future__ import annotations

_CONTROL_ROOTS = frozenset({"metrics", "control", "console"})


class Doors:
    def __init__(self, control_port: int | None) -> None:
        self._control_port = control_port
        self.are_divided = control_port is not None

    def lead_to(self, path: str, server: tuple[str, int | None] | None) -> bool:
        """Whether a path is served on the port that its request came in by."""
        if self._control_port is None:
            return True
        root = path.split("/", 2)[1]
        came_by_control = server is not None and server[1] == self._control_port
        return root == "health" or (root in _CONTROL_ROOTS) == came_by_control
