"""Which paths are served on which port."""

import pytest

from gateway.doors import Doors

EDGE, CONTROL = ("127.0.0.1", 8080), ("127.0.0.1", 9090)
CONTROLS = ("/metrics", "/control/v1/keys", "/console/")
EDGES = ("/paper/v1/orders", "/edge/v1/time", "/.well-known/identity-jwks.json", "/", "/metricsx")


@pytest.mark.parametrize("path", CONTROLS)
def test_control_paths_are_served_by_the_control_door_alone(path: str) -> None:
    """Partners reach the other one."""
    assert Doors(9090).lead_to(path, CONTROL)
    for door in (EDGE, None):
        assert not Doors(9090).lead_to(path, door)


@pytest.mark.parametrize("path", EDGES)
def test_everything_else_is_served_by_the_partners_door_alone(path: str) -> None:
    """The control port is no second way in, past whatever stands in front of the first."""
    assert Doors(9090).lead_to(path, EDGE)
    assert not Doors(9090).lead_to(path, CONTROL)


def test_health_is_told_at_both() -> None:
    """Each has a load balancer of its own."""
    for door in (EDGE, CONTROL):
        assert Doors(9090).lead_to("/health/ready", door)


def test_without_a_control_port_one_door_serves_all() -> None:
    """As the embedded defaults do."""
    for path in (*CONTROLS, *EDGES):
        assert Doors(None).lead_to(path, EDGE)
