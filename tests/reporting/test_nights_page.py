import re

import pytest
from night_examples import TRUTH, around, drift, fortnight, night, quiet
from reporting_examples import HOSTILE, text_of

from repo.reporting.night_figures import accuracy_figure, batches_figure, reliability_panel
from repo.reporting.nights import Night, NightBatch
from repo.reporting.nights_page import PANELS, render_nights


def said(nights, truth=None):
    return text_of(render_nights(nights, truth))


def test_the_headline_says_what_happened() -> None:
    text = said(fortnight(), TRUTH)
    assert "14 nights: 10 promoted a new champion, 2 rejected the candidate, 1 had nothing new, 1 failed." in text
    assert "day-09-again.jsonl was a duplicate, day-10-broken.jsonl was quarantined." in text
    assert re.search(
        r"On day-08 the reliability of careful-4 was found changed from 0\.9\d to 0\.20, 1 night after it truly had\.",
        text,
    )


def test_the_headline_of_one_night_needs_no_numbers() -> None:
    assert "1 night: it promoted a new champion. Nobody’s reliability was found changed." in said([night()])
    assert "1 night: it had nothing new." in said([quiet()])


@pytest.mark.parametrize(
    ("named", "truth", "headline", "row"),
    [
        (1, [0.9, 0.2, 0.2], ", the very night it truly had.", "right: it truly changed on b, the same night"),
        (2, [0.9, 0.2, 0.2], ", 1 night after it truly had.", "right: it truly changed on b, 1 night before"),
        (1, [0.9, 0.9, 0.9], ", though it truly had not.", "false: its true reliability had not changed"),
        (None, [0.9, 0.9, 0.2], "changed on c was not found.", "missed: it truly changed on c"),
    ],
)
def test_a_change_is_told_beside_the_truth(named, truth, headline, row) -> None:
    nights = [night(day, drift=[drift()] if place == named else []) for place, day in enumerate("abc")]
    text = said(nights, {"ann": truth})
    assert headline in text
    assert row in text
    assert "truly" not in said(nights), "nobody knows the truth of real annotators"


def test_the_truth_of_nights_to_come_is_not_told() -> None:
    nights = fortnight()[:6]
    assert "truly changed" not in said(nights, TRUTH)
    assert render_nights(nights, TRUTH) == render_nights(nights, {name: values[:6] for name, values in TRUTH.items()})


def test_a_long_list_of_changes_and_batches_is_cut_in_the_headline_and_whole_below() -> None:
    bad = [NightBatch(f"bad-{i}.jsonl", "quarantined") for i in range(5)]
    text = said([night(drift=[drift(f"worker-{i}") for i in range(5)], batches=bad)])
    headline, below = text.split("spent", 1)
    assert "2 more batches were kept out." in headline
    assert "2 more changes below." in headline
    assert "worker-4" not in headline
    assert "worker-4" in below
    assert "bad-4.jsonl" in below


def test_every_night_has_its_row() -> None:
    html = render_nights(fortnight(), TRUTH)
    table = html[html.index('id="nights-title"') :]
    rows = [text_of(row) for row in table.split("<tr>")[2:]]
    assert len(rows) == 14
    assert re.search(r"day-05 – rejected 33 s 309 version 5 0\.\d{3} .*version 4 day-05\.jsonl .*no better", rows[4])
    assert "day-10-broken.jsonl quarantined line 309" in rows[9]
    assert re.search(r"day-11 nothing new 1 s 0 – – version 9 none", rows[10])
    assert re.search(r"day-13 ✗ failed 4 s 0 – – version 12 day-13\.jsonl new no space left on device", rows[12])


def test_many_annotators_are_drawn_at_both_ends_and_who_changed_first() -> None:
    many = {f"worker-{i:03}": around(0.99 - i / 1000) for i in range(100)}
    html = render_nights([night(reliabilities=many, drift=[drift("worker-050")])])
    drawn = re.findall(r'<h3><bdi class="name">(worker-\d+)', html)
    assert len(drawn) == PANELS
    assert drawn[:2] == ["worker-050", "worker-000"]
    assert drawn[-1] == "worker-099"
    assert "24 of 100 annotators: those whose reliability changed, then the most and the least reliable." in text_of(
        html
    )
    assert "Every annotator, most reliable first." in said([night()])


def test_a_panel_says_what_it_shows() -> None:
    nights = [
        night("a", reliabilities={"ann": around(0.9)}),
        quiet("b"),
        night("c", reliabilities={"ann": around(0.3)}, drift=[drift()]),
    ]
    panel = reliability_panel(nights, "ann", [0.95, 0.95, 0.2], {2})
    assert panel.alternative == (
        "Reliability over 2 nights: 0.90 on a, 0.30 on c, lowest 0.30, highest 0.90. "
        "The truth: 0.95 at first, 0.20 at last. A change was found on c."
    )
    assert panel.caption == "0.30 (0.27–0.33)"
    plain = reliability_panel(nights, "ann", None, set())
    assert "truth" not in plain.alternative
    assert panel.svg.count("var(--orange)") > plain.svg.count("var(--orange)") == 0
    assert panel.svg.count("stroke-dasharray") > plain.svg.count("stroke-dasharray")


def test_the_champions_accuracy_is_drawn_with_every_fate() -> None:
    figure = accuracy_figure(fortnight())
    assert figure
    assert re.search(
        r"accuracy: 0\.\d{3} on day-01, 0\.\d{3} on day-14; 10 promotions, 2 rejections\.", figure.alternative
    )
    assert accuracy_figure([quiet()]) is None
    alone = accuracy_figure([night(outcome="rejected", champion_accuracy=None)])
    assert alone
    assert alone.alternative == "The champion’s accuracy: not measured; 0 promotions, 1 rejection."


def test_the_batches_are_counted_by_what_became_of_them() -> None:
    assert batches_figure(fortnight()).alternative == (
        "Bars of the batches of 14 nights: 12 trained on, 1 quarantined, 2 others."
    )


def test_hostile_names_are_escaped_and_the_page_is_deterministic() -> None:
    hostile = Night(
        HOSTILE,
        "promoted",
        1.0,
        batches=[NightBatch(HOSTILE, "quarantined", HOSTILE)],
        version=HOSTILE,
        champion=HOSTILE,
        reasons=[HOSTILE],
        drift=[drift(HOSTILE)],
        newcomers=[HOSTILE],
        reliabilities={HOSTILE: around(0.9), "$x^2$": around(0.4), "\ud800": around(0.3)},
    )
    html = render_nights([hostile, night("$\\frac$")], {HOSTILE: [0.9, 0.1]})
    assert "<script" not in html
    assert html.count("</style>") == 1
    html.encode("utf-8")
    assert html == render_nights([hostile, night("$\\frac$")], {HOSTILE: [0.9, 0.1]})
    assert len(html) < 200_000
