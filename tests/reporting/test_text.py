import pytest
from hypothesis import given
from hypothesis import strategies as st

from repo.reporting.text import count, cut, encodable, interval, invisible, percent, short, showable, signed


@given(st.text(st.characters()))
def test_showable_text_can_be_encoded_and_holds_no_control_or_direction_override(text):
    shown = showable(text)
    shown.encode("utf-8")
    assert not any(c in shown for c in "\x00\x1b\x7f\u202e\u2066\r")


def test_showable_leaves_ordinary_text_of_any_script_alone():
    text = "Line one\n\tzwei — שלום, مرحبا, 你好 👩‍👩‍👧 <b>&\"'"
    assert showable(text) == text


def test_direction_overrides_are_spelt_out_and_surrogates_replaced():
    assert showable("a\u202eb\ud800c\x00") == "a⟨U+202E⟩b\ufffdc\ufffd"
    assert encodable("a\ud800b\u202e") == "a?b\u202e"


@given(st.text(max_size=3000), st.integers(50, 600), st.integers(1, 900))
def test_a_cut_text_loses_nothing_it_does_not_count(text, shown, folded):
    parts = cut(text, shown, folded)
    assert text.startswith(parts.start + parts.rest)
    assert len(parts.start) + len(parts.rest) + parts.left_out == len(text)
    assert len(parts.start) <= shown + shown // 4
    assert len(parts.rest) <= folded


@pytest.mark.parametrize("text", ["", " \n\t", "\u200b", "\ufeff\u2060", "\x00"])
def test_a_text_with_nothing_to_see_is_known_as_such(text):
    assert invisible(text)
    assert not invisible(text + ".")


def test_an_id_of_ten_thousand_characters_becomes_one_short_line():
    assert short("x\ny" * 5000, 8) == "x↵yx↵yx…"
    assert short("plain", 8) == "plain"


@pytest.mark.parametrize(
    ("share", "shown"), [(0, "0%"), (0.001, "<1%"), (0.125, "12%"), (0.996, ">99%"), (1, "100%"), (0.5, "50%")]
)
def test_percentages_never_round_something_to_nothing_or_everything(share, shown):
    assert percent(share) == shown


def test_counts_agree_with_their_noun():
    assert (count(1, "label"), count(1300, "label"), count(2, "row was", "rows were")) == (
        "1 label",
        "1,300 labels",
        "2 rows were",
    )


@pytest.mark.parametrize(
    ("bounds", "shown"),
    [((0.912, 0.968), "0.91–0.97"), ((0.951, 0.9589), "0.951–0.959"), ((0, 1), "0.00–1.00"), ([0.5, 0.6], "0.50–0.60")],
)
def test_an_interval_has_as_many_decimals_as_its_width_needs(bounds, shown):
    assert interval(bounds) == shown


def test_a_signed_number_has_a_real_minus_and_no_signed_zero():
    assert [signed(x) for x in (0.123, -0.1, 0.004, -0.004, 0)] == ["+0.12", "−0.10", "0.00", "0.00", "0.00"]
