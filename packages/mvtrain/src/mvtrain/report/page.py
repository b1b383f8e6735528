"""The page itself: one HTML file that loads nothing from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from string import Template

from plotly.offline import get_plotlyjs

from mvtrain.report.html import Section, escape

_PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>$title</title>
<style>
$style
</style>
<script>
$plotly
</script>
<script>
// Plotly ends an animation for another one, such as Pause, by a rejection without reason that nobody catches.
window.addEventListener("unhandledrejection", event => { if (event.reason === undefined) event.preventDefault(); });
</script>
</head>
<body>
<header>
<p class="kind">mvtrain report</p>
$overview
<nav>$links</nav>
</header>
<main>
$sections
</main>
<footer>Written by mvtrain $version on $date.</footer>
</body>
</html>
""")


def page_html(title: str, overview_html: str, sections: Sequence[Section], *, version: str, date: str) -> str:
    """The whole page.

    Args:
        title: of the window, plain text.
        overview_html: what stands before the sections.
        sections: in their order.
        version: of mvtrain.
        date: of the report.
    """
    return _PAGE.substitute(
        title=escape(title),
        style=resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8"),
        plotly=get_plotlyjs(),
        overview=overview_html,
        links="".join(f'<a href="#{escape(each.anchor)}">{escape(each.title)}</a>' for each in sections),
        sections="\n".join(_section_html(each) for each in sections),
        version=escape(version),
        date=escape(date),
    )


def _section_html(section: Section) -> str:
    return (
        f'<section id="{escape(section.anchor)}">\n<h2>{escape(section.title)}</h2>\n'
        f'<p class="how">{escape(section.how_to_read)}</p>\n{section.body_html}\n</section>'
    )
