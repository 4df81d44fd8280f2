import re
from xml.etree import ElementTree

from night_examples import TRUTH, fortnight
from reporting_examples import simulated_history

from repo.reporting.figures import interval_plot, posterior_histogram, reliability_histogram, training_curves
from repo.reporting.night_figures import accuracy_figure, batches_figure, reliability_panel


def test_figures_are_well_formed_and_hold_no_link_id_clash_or_fixed_colour():
    figures = [
        reliability_histogram([0.2, 0.9], 0.9),
        posterior_histogram([0.1]),
        interval_plot([(0.9, (0.8, 1.0)), (0.5, (0.4, 0.6)), (0.2, (0.1, 0.3))]),
        *training_curves(simulated_history()),
        accuracy_figure(fortnight()),
        batches_figure(fortnight()),
        reliability_panel(fortnight(), "careful-1", TRUTH["careful-1"], ()),
        reliability_panel(fortnight(), "careful-4", TRUTH["careful-4"], {7}),
    ]
    ids = [name for figure in figures for name in re.findall(r' id="([^"]+)"', figure.svg)]
    assert len(ids) == len(set(ids)) > 0
    for figure in figures:
        ElementTree.fromstring(str(figure.svg))
        assert "http" not in figure.svg
        assert set(re.findall(r"#[0-9a-f]{6}", figure.svg)) <= {"#ffffff"}
        assert "var(--" in figure.svg


def test_a_figure_is_drawn_the_same_every_time():
    assert reliability_histogram([0.2, 0.9], 0.9) == reliability_histogram([0.2, 0.9], 0.9)


def test_the_text_alternative_gives_the_numbers():
    assert reliability_histogram([0.2, 0.9, 0.95], None).alternative == (
        "Histogram of 3 reliabilities from 0.20 to 0.95, median 0.90; 1 below 0.5."
    )
    assert "2 below 0.5" in posterior_histogram([0.1, 0.49, 0.5, 0.9]).alternative


def test_curves_exist_only_for_metrics_that_were_logged():
    plain = [{"step": 5, "epoch": 0.1, "loss": 0.7}, {"step": 10, "epoch": 0.2, "loss": 0.6}]
    assert [figure.title for figure in training_curves(plain)] == ["Loss"]
    assert training_curves([]) == []


def test_a_long_history_is_thinned_says_so_and_keeps_its_last_step():
    history = [{"step": i, "loss": 1 / (i + 1)} for i in range(5000)]
    (curve,) = training_curves(history)
    assert "One in 5 logged steps" in curve.caption
    assert "at step 4999" in curve.alternative
    assert len(curve.svg) < 60_000


def test_the_intervals_text_alternative_counts_who_is_better_like_and_worse_than_a_coin():
    figure = interval_plot([(0.9, (0.8, 1.0)), (0.8, (0.6, 0.9)), (0.6, (0.5, 0.7)), (0.2, (0.1, 0.3))])
    assert figure.alternative == "Intervals of 4 reliabilities: 2 lie above one half, 1 contain it, 1 lie below."


def test_ten_thousand_intervals_are_thinned_and_the_figure_says_so():
    figure = interval_plot([(1 - i / 10_000, (0.9 - i / 12_000, 1.0)) for i in range(10_000)])
    assert "One in 25 annotators is drawn." in figure.caption
    assert "Intervals of 10000 reliabilities" in figure.alternative
    assert len(figure.svg) < 120_000
