"""The program `mvgeom`, and the entry point that it shares with other programs (`mvgeom.cli.entry`)."""

from mvgeom.cli.commands import app, main

__all__ = ["app", "main"]
