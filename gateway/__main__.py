"""`python -m gateway` is `portreeve`."""

from gateway import cli

cli.main()
