"""The program `mvgeom`, and the entry point that other programs share with it (`mvgeom.cli.entry`)."""

from mvgeom.cli.commands import app, main

__all__ = ["app", "main"]
