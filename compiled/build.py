"""Builds the compiled room in place: `python -m compiled.build`.

Without a C compiler, or where it fails, the gateway runs interpreted: that is said, and is no failure unless
`--require` asks for one.
"""

import os
import shlex
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from compiled import MODULES, fingerprint, inscription, libraries, stamp

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


class NoCompiler(Exception):
    """There is nothing to build with."""


class SourcesChanged(Exception):
    """Nobody can say what was built."""


def build(*, compile_with: tuple[str, ...] = (), link_with: tuple[str, ...] = ()) -> None:
    """Raises what the compiler does. What was built before stops being used at once, and until all is built."""
    stamp().unlink(missing_ok=True)
    _require_compiler()
    built_from = fingerprint()
    with tempfile.TemporaryDirectory() as scratch:
        _compile(Path(scratch), compile_with, link_with)
        made = Path(scratch, _ROOM.name)
        if fingerprint() != built_from:
            raise SourcesChanged("a source changed while it was built")
        # Of what was made here, not of what comes to lie in place: another build may be putting its own there.
        told = inscription(built_from, made)
        for library in libraries():
            # Whoever runs what was built before keeps it: a file that is overwritten changes under its readers.
            library.unlink(missing_ok=True)
            shutil.copy(made / library.name, library)
    stamp().write_text(told, encoding="ascii")


def _require_compiler() -> None:
    """Told before anything is generated for it."""
    command = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    if shutil.which(shlex.split(command)[0]) is None:
        raise NoCompiler("there is no C compiler")


def _compile(scratch: Path, compile_with: tuple[str, ...], link_with: tuple[str, ...]) -> None:
    # Here, because an installation that only runs need not have them.
    from Cython.Build import cythonize  # noqa: PLC0415
    from setuptools import Distribution, Extension  # noqa: PLC0415
    from setuptools.command.build_ext import build_ext  # noqa: PLC0415

    extensions = [
        Extension(
            f"{_ROOM.name}.{name}",
            [str(_ROOM / f"{name}.pyx")],
            extra_compile_args=[*_COMPILE, *compile_with],
            extra_link_args=list(link_with),
        )
        for name in MODULES
    ]
    generated = cythonize(  # type: ignore[no-untyped-call]
        extensions, build_dir=str(scratch), compiler_directives=_DIRECTIVES, quiet=True, force=True
    )
    command = build_ext(Distribution({"name": "portreeve-compiled", "ext_modules": generated}))
    command.build_temp = command.build_lib = str(scratch)
    command.parallel = len(MODULES)
    command.ensure_finalized()
    command.run()


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
