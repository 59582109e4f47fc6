"""What runs without a task where the room is used, and needs one."""

import asyncio


async def own_task() -> None:
    """For what works in a task only, such as a time limit: from here on the request runs in one."""
    if asyncio.current_task() is None:
        await asyncio.sleep(0)
