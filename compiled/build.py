"""Builds the compiled room in place: `python -m compiled.build`.

Without a C compiler, or where it fails, the gateway runs interpreted: that is said, and is no failure unless
`--require` asks for one.
"""

import sys
import tempfile
from pathlib import Path

from compiled import MODULES, fingerprint, stamp

_ROOM = Path(__file__).parent
# Every index is held against its bounds, and nothing that is None is looked into.
_DIRECTIVES = {
    "language_level": 3,
    "boundscheck": True,
    "wraparound": False,
    "nonecheck": True,
    "initializedcheck": True,
    "cdivision": False,
    "embedsignature": False,
}
_COMPILE = ["-O2", "-g0", "-fstack-protector-strong", "-D_FORTIFY_SOURCE=2", "-fno-strict-aliasing"]


def build(*, compile_with: tuple[str, ...] = (), link_with: tuple[str, ...] = ()) -> None:
    """Raises what the compiler does. What was built before stops being used at once, and until all is built."""
    # Here, because an installation that only runs need not have them.
    from Cython.Build import cythonize  # noqa: PLC0415
    from setuptools import Distribution, Extension  # noqa: PLC0415
    from setuptools.command.build_ext import build_ext  # noqa: PLC0415

    stamp().unlink(missing_ok=True)
    built_from = fingerprint()
    with tempfile.TemporaryDirectory() as scratch:
        extensions = [
            Extension(
                f"compiled.{name}",
                [str(_ROOM / f"{name}.pyx")],
                extra_compile_args=[*_COMPILE, *compile_with],
                extra_link_args=list(link_with),
            )
            for name in MODULES
        ]
        generated = cythonize(  # type: ignore[no-untyped-call]
            extensions, build_dir=scratch, compiler_directives=_DIRECTIVES, quiet=True, force=True
        )
        command = build_ext(Distribution({"name": "portreeve-compiled", "ext_modules": generated}))
        command.build_temp = scratch
        command.build_lib = str(_ROOM.parent)
        command.parallel = len(MODULES)
        command.ensure_finalized()
        command.run()
    stamp().write_text(built_from, encoding="ascii")


def main() -> int:
    try:
        build()
    except ImportError as missing:
        why = f"{missing.name} is not installed"
    except BaseException as failure:  # the tools below raise SystemExit, too
        if isinstance(failure, KeyboardInterrupt):
            raise
        why = str(failure) or type(failure).__name__
    else:
        return 0
    sys.stderr.write(f"portreeve: not compiled ({why}); everything runs interpreted\n")
    return 1 if "--require" in sys.argv[1:] else 0


if __name__ == "__main__":
    raise SystemExit(main())
