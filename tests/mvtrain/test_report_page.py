"""The page of the report: escaped texts, no requests, errors of damaged files."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

import mvtrain
from helpers.errors import raises_input
from helpers.page import Page
from mvtrain.report.html import (
    Card,
    Section,
    figure,
    figure_html,
    head_html,
    join_parts,
    jpeg,
    number,
    page_html,
    paragraph,
    plain,
    significant,
    table,
)
from mvtrain.report.learning_curves import learning_curves_section, log_ticks, read_metrics, read_run_info

TAG = re.compile(
    r"</?(a|body|button|caption|code|dd|details|div|dl|dt|em|figcaption|figure|footer|form|h[1-6]|head|header|hr|html|i|"
    r"img|input|li|link|main|meta|nav|ol|option|p|pre|script|section|select|span|strong|style|sub|summary|sup|svg|"
    r"table|tbody|td|th|thead|title|tr|u|ul)( [^>]*)?/?>"
)
"""Elements of a page; `br` is left out, because plotly's labels have a markup of their own with it."""

NASTY = '</script><script>alert("1")</script><img src=x onerror=alert(1)>&amp;\'$plotly'
TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30)


@given(text=TEXT)
def test_texts_survive_the_page(text: str) -> None:
    head = head_html(text, [Card(anchor="c", title=text, value=text, detail=text)], {text: text})
    message = Markup('<div id="p">{}</div>').format(paragraph(text))
    page = Page(join_parts([table("t", ["name", text], [[text, "1"]]), head, message]))
    assert page.tables["t"] == [["name", text], [text, "1"]]
    assert page.texts["c"] == 3 * text
    assert page.texts["p"].removesuffix("\n") == text
    assert set(page.tags) <= {"div", "table", "thead", "tbody", "tr", "th", "td", "dl", "dt", "dd", "p", "h1"}


def test_missing_values_are_dashes() -> None:
    assert (number(float("nan")), significant(float("nan"))) == ("\u2013", "\u2013")
    assert (number(1.234), number(1.234, 1), significant(0.0012345)) == ("1.23", "1.2", "0.001234")


def whole_page() -> str:
    drawn = figure(plain(NASTY))
    drawn.add_scatter(x=[1, 2], y=[1, 2], name=plain(NASTY), text=[plain(NASTY)] * 2)
    body = figure_html(drawn, "curve", 300) + jpeg(np.zeros((4, 4, 3), np.uint8), NASTY) + table("t", [NASTY], [])
    section = Section(anchor="first", title=NASTY, how_to_read=NASTY, body_html=body)
    return page_html(NASTY, paragraph(NASTY), [section], version="1", date="today")


def test_the_page_loads_nothing() -> None:
    page = Page(whole_page())
    addresses = [value for _, _, value in page.links]
    assert addresses
    assert all(value.startswith(("#", "data:")) for value in addresses), addresses
    plotly, *own = page.scripts
    assert len(plotly) > 1e6
    assert not re.search(r"https?://|fetch\(|import\(|import |XMLHttpRequest|<script", "".join(own))
    assert not re.search(r"url\(|@import", "".join(page.styles))


def test_texts_of_the_user_are_not_html() -> None:
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


@pytest.mark.parametrize(("last", "figures"), [("0.0", 1), ("0.5", 2)])
def test_masked_patches_are_drawn_where_there_are_any(tmp_path: Path, last: str, figures: int) -> None:
    section = learning_curves_section(
        read_metrics(written(tmp_path, f"epoch,step,loss,mask_ratio\n0.5,1,2.5,0.0\n1,2,2.0,{last}\n2,3,,\n"))
    )
    assert section.body_html.count("Plotly.newPlot") == figures


def test_the_page_states_that_there_are_no_metrics(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) is None
    assert "has no metrics.csv" in learning_curves_section(None).body_html
    assert "no rows yet" in learning_curves_section(read_metrics(written(tmp_path, "epoch,step,loss\n"))).body_html


@pytest.mark.parametrize(
    ("text", "code", "facts"),
    [
        ("epoch,step,loss\n0.5,10,2.5\n1,20,low\n", "bad-number", {"line": 3, "column": "loss", "found": "low"}),
        ("epoch,step,loss\n0.5,,2.5\n", "bad-number", {"line": 2, "column": "step", "found": ""}),
        ("epoch,loss\n0.5,2.5\n", "missing-column", {"column": "step"}),
        ("epoch,step,loss\n0.5,1,2\n1,2\n", "wrong-count", {"line": 3, "found": 2, "expected": 3}),
        ("epoch,step\n0.5,1,7\n", "wrong-count", {"line": 2, "found": 3, "expected": 2}),
        ("epoch,step,loss,loss\n0.5,1,2,3\n", "duplicate-name", {"column": "loss"}),
        ("", "missing-column", {"column": "epoch"}),
        (f"epoch,step,{200000 * 'x'}\n", "invalid-syntax", {}),
    ],
    ids=["number", "empty cell", "column", "short row", "long row", "two columns", "empty", "cell too long"],
)
def test_errors_of_damaged_metrics_name_the_place(
    tmp_path: Path, text: str, code: str, facts: dict[str, object]
) -> None:
    with raises_input(code, path=tmp_path / "metrics.csv", **facts) as caught:
        read_metrics(written(tmp_path, text))
    assert "remove it to get a report without learning curves" in str(caught.value)


def test_metrics_that_are_not_text(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_bytes(b"\xff\xfe\x00\x01")
    with raises_input("not-text", path=tmp_path / "metrics.csv"):
        read_metrics(tmp_path)


def test_a_loss_that_overflowed_is_drawn(tmp_path: Path) -> None:
    section = learning_curves_section(read_metrics(written(tmp_path, "epoch,step,loss\n0.5,1,inf\n1,2,3\n")))
    assert section.body_html.count("Plotly.newPlot") == 1


@pytest.mark.parametrize(
    "text",
    ["started: [", "just words", "- words", "- packages: [torch]", "- hardware: cpu", "- !!int x", "[" * 5000],
    ids=range(7),
)
def test_a_damaged_run_yaml_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.yaml").write_text(text)
    with raises_input("damaged-file", path=tmp_path / "run.yaml"):
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
