from __future__ import annotations

import math

from metaft.prior.wording import number_text, or_nan, p_note, p_text, share_text


def test_what_is_not_known_is_a_dash() -> None:
    for unknown in (None, math.nan, math.inf):
        assert number_text(unknown) == share_text(unknown) == "-"
    assert p_text(None) == "-"
    assert math.isnan(or_nan(None))


def test_figures_as_tables_show_them() -> None:
    assert number_text(-0.001) == "0.00"
    assert number_text(1.25, 1) in ("1.2", "1.3")
    assert share_text(0.025) == "2.5 %"
    assert (p_text(0.0123), p_text(0.0009), p_text(1.0)) == (".012", "< .001", "1.000")
    assert (p_note(0.0123), p_note(0.0)) == ("p = .012", "p < .001")
