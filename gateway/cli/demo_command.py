"""`portreeve demo`: what `make run` runs."""

from pathlib import Path

import click

from gateway.cli import context
from gateway.demo import children, example, run


@click.command()
@click.option("--port", type=click.IntRange(1, 65_535), envvar="PORT", default=8080, show_default=True)
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".portreeve"),
    show_default=True,
    help="Configuration, database, master key and demo.json live here.",
)
def demo(port: int, state_dir: Path) -> None:
    """Run the whole product with two demo upstreams, until Ctrl-C."""
    try:
        with context.reported():
            run.run(state_dir, port)
    except (run.DemoRefused, children.ChildDied, example.UnusableExample) as error:
        raise click.ClickException(str(error)) from error
