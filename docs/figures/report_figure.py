"""The figure of docs/report.md: parts of a report as a browser shows them.

uv run python docs/figures/report_figure.py RUN/report.html docs/images/report.png
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

_PLAYED = 25
"""Frames of the videos, so that the animals have moved."""
# The header, the heat map, the first of the worst frames, the first two figures in 3D.
_LEAVE = """() => {
  const shown = ['errors', 'worst-frames', 'pose'];
  document.querySelectorAll('section').forEach(s => { if (!shown.includes(s.id)) s.remove(); });
  document.querySelectorAll('nav, footer, .facts :nth-child(n+15)').forEach(e => e.remove());
  const errors = document.querySelector('#errors');
  errors.querySelectorAll('h3, .scroll, .caption').forEach(e => e.remove());
  document.querySelectorAll('#worst-frames > :nth-child(n+6), #pose .plot:nth-child(n+3)').forEach(e => e.remove());
}"""


def take_screenshot(report: Path, out: Path) -> None:
    """Write the figure as PNG with 256 colors."""
    executable = shutil.which("chromium")
    if executable is None:
        raise SystemExit("no chromium: install it (apt-get install chromium)")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.goto(report.resolve().as_uri())
        page.wait_for_function("document.querySelector('#plot-pose-1')._transitionData._frames.length > 0")
        page.evaluate(_LEAVE)
        page.evaluate(f"Plotly.animate('plot-pose-1', ['{_PLAYED}'], {{mode: 'immediate', frame: {{duration: 0}}}})")
        page.wait_for_timeout(3000)
        # Images below the window are loaded when they are scrolled to, which a full-page screenshot does not do.
        page.evaluate("Promise.all([...document.images].map(i => { i.loading = 'eager'; return i.decode(); }))")
        content = page.screenshot(full_page=True)
        browser.close()
    image = Image.open(io.BytesIO(content)).convert("RGB")
    few = image.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
    few.save(out, optimize=True)


if __name__ == "__main__":
    take_screenshot(Path(sys.argv[1]), Path(sys.argv[2]))
