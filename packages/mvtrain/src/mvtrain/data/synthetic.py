"""Projects that a config asks to be generated."""

from __future__ import annotations

from dataclasses import fields
from difflib import get_close_matches

from rich.console import Console
from rich.progress import Progress

from mvtrain.config import Config


def generate_if_missing(config: Config, console: Console) -> None:
    """Generate the project of a config with `data.synthetic` whose `data.data_dir` does not exist, and say so.

    Raises:
        ValueError: a key of `data.synthetic` that the generator does not know, or a value it refuses.
    """
    data = config.data
    if data.synthetic is None or data.data_dir is None or data.data_dir.exists():
        return
    from mvtrain.synth import SyntheticSpec, generate_project

    known = [field.name for field in fields(SyntheticSpec)]
    for key in data.synthetic:
        if key not in known:
            close = get_close_matches(key, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"
            raise ValueError(f"unknown key data.synthetic.{key}{hint}")
    spec = SyntheticSpec(**data.synthetic)
    console.print(
        f"{data.data_dir} does not exist: generating the project that data.synthetic describes", highlight=False
    )
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("rendering")
        generate_project(
            data.data_dir, spec, progress=lambda done, total: bar.update(task, completed=done, total=total)
        )
