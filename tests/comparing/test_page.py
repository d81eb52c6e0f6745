from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from metaft.comparing.curves import gather_curves
from metaft.comparing.drawing import COLOURS, INK, shorten
from metaft.comparing.page import render_page
from metaft.comparing.report import build_report
from metaft.prior.suggestion import Prediction

if TYPE_CHECKING:
    from tests.comparing.conftest import Comparison

_VOID = {"br", "meta", "link"}
_PAGES = ((255, 255, 255), (0x15, 0x18, 0x1C))  # light and dark, as in report.css


class _Elements(HTMLParser):
    """Collects elements and texts, and sees that what is opened is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


SCORES = {
    f"t{at}": {"plain": [0.7, 0.72], "learned": [0.75 + at / 100, 0.77], "a<b>$c": [0.6, 0.61]}
    for at in range(7)
} | {"known": {"plain": [0.9, 0.9], "learned": [0.9, 0.91], "a<b>$c": ["diverged", "failed"]}}


@pytest.fixture(scope="module")
def page(comparison: Comparison) -> str:
    predicted = {"learned": Prediction("accuracy", 0.8, 0.7, 0.9, 9.0, 512.0, 0.01)}
    plan, traces = comparison(SCORES, seen=["known"], predicted=predicted)
    return render_page(build_report(plan, traces), gather_curves(plan, traces))


@pytest.fixture(scope="module")
def elements(page: str) -> _Elements:
    return _Elements(page)


def test_page_needs_nothing_from_elsewhere(page: str, elements: _Elements) -> None:
    for _, attributes in elements.found:
        for name in ("src", "href", "xlink:href", "action"):
            target = attributes.get(name) or "#"
            assert target.startswith("#") or target == "data:,"
    assert not re.search(r"@import|url\((?!#)", page)
    assert "script" not in {tag for tag, _ in elements.found}


def test_ids_are_unique_and_every_reference_has_one(page: str, elements: _Elements) -> None:
    ids = Counter(attributes["id"] for _, attributes in elements.found if "id" in attributes)
    assert {name for name, count in ids.items() if count > 1} == set()
    asked = set(re.findall(r'(?:url\(|href=")#([\w-]+)', page))
    asked |= {str(section["aria-labelledby"]) for section in elements.all("section")}
    assert asked <= set(ids)


def test_page_can_be_read_without_seeing_it(elements: _Elements) -> None:
    assert elements.all("html") == [{"lang": "en"}]
    headings = [tag for tag, _ in elements.found if re.fullmatch(r"h\d", tag)]
    assert headings[0] == "h1"
    assert Counter(headings)["h1"] == 1
    assert all(cell["scope"] in {"col", "row"} for cell in elements.all("th"))
    assert len(elements.all("caption")) == len(elements.all("table")) > 5
    figures = [svg for svg in elements.all("svg") if svg["aria-label"]]
    assert len(figures) == len(elements.all("figure")) == 2 + 1 + 1 + 8 + 1
    assert all(svg["role"] == "img" for svg in figures)


def test_names_stand_as_they_are(page: str, elements: _Elements) -> None:
    assert "a<b>$c" in elements.texts
    assert "<b>" not in page


def test_page_says_what_was_found(page: str, elements: _Elements) -> None:
    told = " ".join(" ".join(elements.texts).split())
    assert "Over 7 datasets, learned (+6.5 points, 95% interval" in told
    assert "learned : epoch 2 of 3" in told.replace("learned:", "learned :")
    assert "(predicted 80.0, 70.0 to 90.0)" in told
    assert "1 of 8 tasks, or relatives of theirs, are among those that the prior" in told
    assert "2 runs failed" in told
    assert "Critical difference 1.25" in page


def test_figures_take_the_colour_of_the_text(page: str) -> None:
    assert INK not in page
    assert "currentColor" in page
    assert "prefers-color-scheme: dark" in page


def test_two_methods_have_no_ranks(comparison: Comparison) -> None:
    plan, traces = comparison({"mail": {"plain": [0.7], "steady": ["failed"]}})
    page = render_page(build_report(plan, traces), gather_curves(plan, traces))
    assert "Critical-difference diagram" not in page
    assert "1 dataset is too few" in page


def test_page_without_an_unseen_task_or_any_run_that_ended_well(comparison: Comparison) -> None:
    scores = {"mail": {"plain": ["failed"], "a": ["failed"], "b": ["diverged"]}}
    plan, traces = comparison(scores, seen=["mail"])
    page = render_page(build_report(plan, traces), gather_curves(plan, traces))
    assert "no run ended well" in page
    assert "nothing is shown" in page


def test_same_report_gives_the_same_page(comparison: Comparison) -> None:
    plan, traces = comparison({"mail": {"plain": [0.7], "steady": [0.8]}})
    report, curves = build_report(plan, traces), gather_curves(plan, traces)
    assert render_page(report, curves) == render_page(report, curves)


def _luminance(colour: tuple[int, ...]) -> float:
    """Return the relative luminance of WCAG 2.2."""
    parts = [part / 255 for part in colour]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("behind", _PAGES)
def test_colours_stand_out_in_light_and_dark(colour: str, behind: tuple[int, ...]) -> None:
    one = _luminance(tuple(bytes.fromhex(colour[1:])))
    low, high = sorted((one, _luminance(behind)))
    assert (high + 0.05) / (low + 0.05) >= 3  # WCAG 2.2, 1.4.11


def test_long_names_keep_both_ends() -> None:
    assert shorten("sms_spam") == "sms_spam"
    assert shorten("recipe:experiments/rates/high.yaml") == "recipe:exper…es/high.yaml"
