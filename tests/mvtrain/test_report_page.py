"""The page: what a user's strings become, that nothing is loaded, what damaged files of a run say."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

import mvtrain
from helpers.page import Page
from mvtrain.report.html import (
    Card,
    Section,
    head_html,
    join_parts,
    jpeg,
    number,
    page_html,
    paragraph,
    significant,
    table,
)
from mvtrain.report.learning_curves import learning_curves_section, log_ticks, read_metrics, read_run_info
from mvtrain.report.plots import figure, figure_html, plain

TAG = re.compile(
    r"</?(a|body|button|caption|code|dd|details|div|dl|dt|em|figcaption|figure|footer|form|h[1-6]|head|header|hr|html|i|"
    r"img|input|li|link|main|meta|nav|ol|option|p|pre|script|section|select|span|strong|style|sub|summary|sup|svg|"
    r"table|tbody|td|th|thead|title|tr|u|ul)( [^>]*)?/?>"
)
"""Elements of a page; `br` is left out, because plotly's labels have a markup of their own with it."""

NASTY = '</script><script>alert("1")</script><img src=x onerror=alert(1)>&amp;\'$plotly'
TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30)


@given(text=TEXT)
def test_text_comes_back_from_the_page_as_it_went_in(text: str) -> None:
    head = head_html(text, [Card(anchor="c", title=text, value=text, detail=text)], {text: text})
    message = Markup('<div id="p">{}</div>').format(paragraph(text))
    page = Page(join_parts([table("t", ["name", text], [[text, "1"]]), head, message]))
    assert page.tables["t"] == [["name", text], [text, "1"]]
    assert page.texts["c"] == 3 * text
    assert page.texts["p"].removesuffix("\n") == text
    assert set(page.tags) <= {"div", "table", "thead", "tbody", "tr", "th", "td", "dl", "dt", "dd", "p", "h1"}


def test_missing_figures_are_dashes() -> None:
    assert (number(float("nan")), significant(float("nan"))) == ("\u2013", "\u2013")
    assert (number(1.234), number(1.234, 1), significant(0.0012345)) == ("1.23", "1.2", "0.001234")


def whole_page() -> str:
    drawn = figure(plain(NASTY))
    drawn.add_scatter(x=[1, 2], y=[1, 2], name=plain(NASTY), text=[plain(NASTY)] * 2)
    body = figure_html(drawn, "curve", 300) + jpeg(np.zeros((4, 4, 3), np.uint8), NASTY) + table("t", [NASTY], [])
    section = Section(anchor="first", title=NASTY, how_to_read=NASTY, body_html=body)
    return page_html(NASTY, paragraph(NASTY), [section], version="1", date="today")


def test_nothing_is_loaded_from_anywhere() -> None:
    page = Page(whole_page())
    addresses = [value for _, _, value in page.links]
    assert addresses
    assert all(value.startswith(("#", "data:")) for value in addresses), addresses
    plotly, *own = page.scripts
    assert len(plotly) > 1e6
    assert not re.search(r"https?://|fetch\(|import\(|import |XMLHttpRequest|<script", "".join(own))
    assert not re.search(r"url\(|@import", "".join(page.styles))


def test_a_users_strings_are_no_html() -> None:
    page = Page(whole_page())
    assert page.tables["t"][0] == [NASTY]
    assert page.tags.count("script") == 3  # plotly, the handler of the page, the figure
    assert page.tags.count("img") == 1
    assert not any(name.startswith("on") for _, name, _ in page.links)
    assert "<img" not in page.scripts[-1]
    assert "</script" not in page.scripts[-1]


METRICS = "epoch,step,loss,val_loss\n0.5,10,2.5,\n1.0,20,1.5,1.75\n1.5,30,nan,\n"


def written(folder: Path, text: str) -> Path:
    (folder / "metrics.csv").write_text(text, encoding="utf-8")
    return folder


def test_metrics_are_read_with_gaps(tmp_path: Path) -> None:
    metrics = read_metrics(written(tmp_path, METRICS))
    assert metrics is not None
    np.testing.assert_array_equal(metrics["step"], [10, 20, 30])
    np.testing.assert_array_equal(metrics["val_loss"], [np.nan, 1.75, np.nan])
    assert np.isnan(metrics["loss"][2])


def test_curves_show_the_metrics(tmp_path: Path) -> None:
    section = learning_curves_section(read_metrics(written(tmp_path, METRICS)))
    assert section.body_html.count("Plotly.newPlot") == 1  # the panel of losses; nothing else was logged
    assert '"name":"val_loss"' in section.body_html


def test_without_metrics_it_is_said(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) is None
    assert "has no metrics.csv" in learning_curves_section(None).body_html
    assert "no rows yet" in learning_curves_section(read_metrics(written(tmp_path, "epoch,step,loss\n"))).body_html


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "epoch,step,loss\n0.5,10,2.5\n1,20,low\n",
            r"metrics\.csv, line 3, column loss: must be a number, found 'low'",
        ),
        ("epoch,step,loss\n0.5,,2.5\n", r"metrics\.csv, line 2, column step: must be a number, found ''"),
        ("epoch,loss\n0.5,2.5\n", r"metrics\.csv is no log of a training: it has no column step"),
        ("epoch,step,loss\n0.5,1,2\n1,2\n", r"metrics\.csv, line 3: has 2 cells, the header 3"),
        ("epoch,step\n0.5,1,7\n", r"metrics\.csv, line 2: has 3 cells, the header 2"),
        ("", r"metrics\.csv is no log of a training: it has no column epoch, step"),
    ],
)
def test_damaged_metrics_say_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message + ".*remove it to get a report without learning curves"):
        read_metrics(written(tmp_path, text))


def test_metrics_that_are_no_text_say_so(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ValueError, match=r"metrics\.csv: not a text file"):
        read_metrics(tmp_path)


@pytest.mark.parametrize("text", ["started: [", "just words", "- words"])
def test_a_damaged_run_yaml_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"run\.yaml is damaged"):
        read_run_info(tmp_path)


@given(low=st.floats(1e-9, 1e6), factor=st.floats(1.01, 1e8))
def test_ticks_are_few_and_between(low: float, factor: float) -> None:
    ticks = log_ticks(low, low * factor)
    assert len(ticks) <= 8
    assert all(low / 1.11 <= tick <= 1.11 * low * factor for tick in ticks)
    assert ticks == sorted(ticks)


def test_html_is_in_templates_only() -> None:
    package = Path(mvtrain.__file__).parent
    for path in package.rglob("*.py"):
        found = TAG.search(path.read_text(encoding="utf-8"))
        assert found is None, f"{path}: {found}"
    assert TAG.search((package / "report" / "templates" / "page.html.j2").read_text(encoding="utf-8"))
