"""The program `mvgeom`, started as `python -m mvgeom`."""

from mvgeom.cli.commands import main

if __name__ == "__main__":
    main()
