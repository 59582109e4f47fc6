"""Calls everything that the stubs of the compiled room declare: `python -m tests.support.stub_calls SEED CALLS`.

A room built elsewhere, with sanitizers in it, comes first on the path. What is called with is made by the stubs' types,
from real messages that were cut, flipped and joined; now and then it is of a wrong type, too. Objects live through many
calls, so that what they were taught meets what they read.

Invariant: the same seed makes the same calls. It ends with a failure where a function of bytes alone raises, where
anything else raises what no caller can have meant, and where a failure was swallowed. Prints how often each was called
and answered something, as JSON.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import json
import random
import sys
from collections import defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import compiled
from tests.support.stub_values import Values

_CALLS_OF_AN_OBJECT = 40
# Of an object, until it is born: what it is offered is not always what it may have.
_BIRTHS = 10
# Of requests on a few connections.
_ROUNDS = 40
# What a function may make of arguments that no caller would give.
_MEANT = (
    TypeError,
    ValueError,
    OverflowError,
    LookupError,
    ArithmeticError,
    AttributeError,
    # Of what passes for a future: asked too early, settled twice, or cancelled.
    asyncio.InvalidStateError,
    asyncio.CancelledError,
)


class Declared(NamedTuple):
    """A function of a module, or a method of a class: its name, and the types of its arguments."""

    name: str
    types: dict[str, ast.expr]

    def takes_bytes_alone(self) -> bool:
        return all(isinstance(each, ast.Name) and each.id == "bytes" for each in self.types.values())


class Stub(NamedTuple):
    functions: list[Declared]
    classes: dict[str, list[Declared]]
    aliases: dict[str, ast.expr]


def read_stub(path: Path) -> Stub:
    stub = Stub([], {}, {})
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            stub.functions.append(_declared(node, []))
        elif isinstance(node, ast.ClassDef):
            methods = [each for each in node.body if isinstance(each, ast.FunctionDef)]
            if node.name.startswith("_"):
                # What the room asks of others, and has not itself.
                continue
            stub.classes[node.name] = [_declared(each, each.decorator_list) for each in methods]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            stub.aliases[node.target.id] = node.value
    return stub


def _declared(node: ast.FunctionDef, decorators: list[ast.expr]) -> Declared:
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    if any(isinstance(each, ast.Name) and each.id == "property" for each in decorators):
        return Declared(node.name + "@", {})
    return Declared(
        node.name,
        {each.arg: each.annotation or ast.Constant(None) for each in arguments if each.arg != "self"},
    )


class Caller:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])

    def call_all(self, calls: int) -> None:
        stubs = {name: read_stub(Path(compiled.__file__).parent / f"{name}.pyi") for name in compiled.MODULES}
        parts = [
            (name, part)
            for name, stub in stubs.items()
            for part in (*stub.classes, *[""][: len(stub.functions)])
        ]
        for _ in range(calls // (_CALLS_OF_AN_OBJECT * len(parts)) + 1):
            for name, part in parts:
                self._call_part(name, stubs[name], part)

    def _call_part(self, name: str, stub: Stub, part: str) -> None:
        module = importlib.import_module(f"compiled.{name}")
        values = Values(self._random, stub.aliases)
        if not part:
            self._call_some(f"{name}.", module, stub.functions, values)
            return
        (born, *methods) = sorted(stub.classes[part], key=lambda each: each.name != "__init__")
        for _ in range(_BIRTHS):
            values.renew()
            arguments, _ = values.arguments(born.types, is_birth=True)
            made = self._call(f"{name}.{part}", getattr(module, part), arguments, must_answer=False)
            if made is not None:
                self._call_some(f"{name}.{part}.", made, methods, values)
                return

    def _call_some(self, prefix: str, owner: object, declared: list[Declared], values: Values) -> None:
        for _ in range(_CALLS_OF_AN_OBJECT if declared else 0):
            chosen = self._random.choice(declared)
            if chosen.name.endswith("@"):
                getattr(owner, chosen.name[:-1])
                self.counts[prefix + chosen.name][0] += 1
                continue
            values.renew()
            arguments, is_right = values.arguments(chosen.types)
            # An object may have been taught what nobody would teach it.
            must_answer = is_right and chosen.takes_bytes_alone() and isinstance(owner, ModuleType)
            self._call(prefix + chosen.name, getattr(owner, chosen.name), arguments, must_answer=must_answer)

    def _call(self, name: str, function: Any, arguments: list[Any], *, must_answer: bool) -> Any:  # noqa: ANN401
        count = self.counts[name]
        count[0] += 1
        try:
            answer = function(*arguments)
        except _MEANT:
            if must_answer:
                sys.stderr.write(f"{name} raised for {arguments!r}\n")
                raise
            return None
        count[1] += answer is not None
        return answer


def main() -> None:
    assert compiled.IS_USED, compiled.WHY_NOT
    swallowed: list[object] = []
    sys.unraisablehook = swallowed.append
    caller = Caller(int(sys.argv[1]))
    caller.call_all(int(sys.argv[2]))
    if "steps" in compiled.MODULES:
        # Not every room has them.
        step_calls = importlib.import_module("tests.support.step_calls")
        driven = step_calls.drive(random.Random(int(sys.argv[1])), _ROUNDS)
        caller.counts["steps.begun"] = [driven.begun, driven.ended]
        caller.counts["steps.given"] = [driven.begun, driven.given]
    assert not swallowed, swallowed
    print(json.dumps(caller.counts))  # noqa: T201  what it was asked for


if __name__ == "__main__":
    main()
