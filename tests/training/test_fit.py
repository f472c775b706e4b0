"""The fit: nothing of the future enters, the curve keeps its promises, and it repeats itself."""

from dataclasses import replace

import lightgbm as lgb
import numpy as np
import pytest
from scipy.special import expit

from features import history
from features.dictionary import dictionary
from features.history import Facts
from features.ledger import LedgerError
from tests.features.ledgers import is_known, known_before
from tests.training.conftest import CUTOFF, QUICK, dataset_of
from training.dataset import DEFAULT, LATE, Dataset, Pairs
from training.fit import (
    MOST_CALIBRATED,
    Fit,
    calibrate,
    draw_stages,
    fit,
    monotone_directions,
    thinned,
)

both = pytest.mark.parametrize("question", ["late", "default"])


@pytest.fixture(scope="module")
def fits(datasets) -> dict[str, Fit]:
    return {question: fit(dataset, CUTOFF, QUICK) for question, dataset in datasets.items()}


def text(fitted: Fit) -> str:
    return fitted.curve.booster.model_to_string()


# ------------------------------------------------------------------------ what enters, and what not


def changed_since(facts: Facts, first: int) -> Facts:
    """Alter every invoice and settlement known at or after a day; the day itself is kept."""
    altered = {name: dict(rows) for name, rows in facts.items()}
    for name in ("invoices", "settlements"):
        late = ~is_known(facts, name, first)
        cents = facts[name]["amount_cents"]
        altered[name]["amount_cents"] = np.where(late, cents * 3 // 4 + 1, cents)
    late = ~is_known(facts, "invoices", first)
    due_on = facts["invoices"]["due_on"]
    altered["invoices"]["due_on"] = np.where(late, due_on + 40, due_on).astype(np.int32)
    late = ~is_known(facts, "settlements", first)
    settled_on = facts["settlements"]["settled_on"]
    altered["settlements"]["settled_on"] = np.where(late, settled_on + 25, settled_on).astype(
        np.int32
    )
    return altered


@both
@pytest.mark.parametrize("alter", [known_before, changed_since])
def test_facts_known_from_the_cutoff_on_do_not_change_the_fit(facts, fits, question, alter):
    again = fit(dataset_of(question, history.build(alter(facts, CUTOFF))), CUTOFF, QUICK)
    assert text(again) == text(fits[question])
    assert again.curve.calibration == fits[question].curve.calibration
    assert again.curve.tail == fits[question].curve.tail
    assert replace(again, curve=fits[question].curve) == fits[question]


@both
def test_facts_known_in_the_weeks_before_the_cutoff_do_change_it(facts, fits, question):
    altered = history.build(changed_since(facts, CUTOFF - 60))
    again = fit(dataset_of(question, altered), CUTOFF, QUICK)
    assert text(again) != text(fits[question])


@both
def test_what_the_booster_is_stopped_and_calibrated_with_comes_after_what_it_learns(
    datasets, monkeypatch, question
):
    dataset, drawn = datasets[question], []
    draw = Dataset.draw

    def noted(self: Dataset, rows, per_row, cutoff, rng) -> Pairs:
        pairs = draw(self, rows, per_row, cutoff, rng)
        drawn.append((self.as_of[pairs.row], cutoff))
        return pairs

    monkeypatch.setattr(Dataset, "draw", noted)
    fit(dataset, CUTOFF, QUICK)
    (learned, split), (held_out, end), (everything, same_end) = drawn
    assert learned.max() < split <= held_out.min()
    assert split < end == same_end == CUTOFF
    assert everything.min() == learned.min()
    assert split <= everything.max() < CUTOFF


@both
def test_to_the_booster_too_a_row_counts_by_the_share_of_its_terms_that_is_known(
    datasets, monkeypatch, question
):
    given = []
    train = lgb.train

    def noted(parameters, data, **how) -> lgb.Booster:
        given.extend([data, *how.get("valid_sets", [])])
        return train(parameters, data, **how)

    monkeypatch.setattr(lgb, "train", noted)
    dataset, draw, asked = datasets[question], Dataset.draw, []

    def counted(self: Dataset, *how) -> Pairs:
        pairs = draw(self, *how)
        asked.append(pairs.row.size)
        return pairs

    monkeypatch.setattr(Dataset, "draw", counted)
    fit(dataset, CUTOFF, QUICK)
    weights = [data.get_weight() for data in given]
    for weight, pairs in zip(weights, asked, strict=True):
        np.testing.assert_allclose(weight, np.full(pairs, 1 / QUICK.pairs_per_row), rtol=1e-6)


def test_of_many_rows_fewer_terms_each_are_drawn_and_then_fewer_rows(datasets, monkeypatch):
    dataset, draw, asked = datasets["late"], Dataset.draw, []

    def noted(self: Dataset, rows, per_row, *how) -> Pairs:
        asked.append((rows.size, per_row))
        return draw(self, rows, per_row, *how)

    monkeypatch.setattr(Dataset, "draw", noted)

    def learned(most_pairs: int, fewest: int = 6) -> tuple[int, int]:
        asked.clear()
        settings = replace(
            QUICK, pairs_per_row=16, fewest_pairs_per_row=fewest, most_pairs=most_pairs
        )
        draw_stages(dataset, CUTOFF, settings, np.random.default_rng(0))
        return asked[0]

    rows, _ = learned(10**9)
    assert learned(10**9) == (rows, 16)
    assert learned(10 * rows) == (rows, 10)
    assert learned(6 * rows) == (rows, 6)
    assert learned(6 * (rows // 2)) == (rows // 2, 6)
    assert learned(3 * rows, 2) == (rows, 3)
    assert learned(2 * (rows // 2), 2) == (rows // 2, 2)


@both
def test_the_curve_holds_as_many_trees_as_the_held_out_rows_asked_for(fits, question):
    fitted = fits[question]
    assert fitted.curve.booster.num_trees() == fitted.rounds <= QUICK.most_rounds
    names = fitted.curve.booster.feature_name()
    assert names == [*fitted.curve.features, "term_days"]


def test_too_little_time_before_the_cutoff_is_said(datasets):
    dataset = datasets["late"]
    first = int(dataset.as_of.min())
    with pytest.raises(LedgerError, match="late curve: nothing is known before the cut-off"):
        fit(dataset, first, QUICK)
    with pytest.raises(LedgerError, match="late curve: 0 outcomes are known to learn from"):
        fit(dataset, first + 2, QUICK)


# --------------------------------------------------------------------------------------- repeatable


@both
def test_the_same_seed_gives_the_same_curve_at_one_and_two_threads(datasets, fits, question):
    again = fit(datasets[question], CUTOFF, replace(QUICK, threads=2))
    assert text(again) == text(fits[question])
    assert again.curve.calibration == fits[question].curve.calibration


def test_the_seed_draws_other_terms_and_so_other_trees(datasets, fits):
    again = fit(datasets["late"], CUTOFF, replace(QUICK, seed=8)).curve
    X = datasets["late"].X[:500]
    terms = np.full(500, 15, np.int32)
    assert (again.log_odds(X, terms) != fits["late"].curve.log_odds(X, terms)).any()


# --------------------------------------------------------------------------------------- directions


def falls(fitted: Fit, dataset: Dataset, rng: np.random.Generator) -> dict[str, int]:
    """Of 10,000 pairs that differ in one feature: where the riskier one has the lower log-odds."""
    curve = fitted.curve
    X = dataset.X[rng.integers(dataset.X.shape[0], size=10_000)]
    terms = rng.integers(curve.shortest, curve.longest + 1, size=10_000).astype(np.int32)
    found = {}
    for column, name in enumerate(curve.features):
        direction = dictionary()[name].direction
        if direction == 0:
            continue
        values = dataset.X[:, column]
        riskier = X.copy()
        low, high = np.sort(rng.choice(values[~np.isnan(values)], (2, 10_000)), axis=0)
        X_low = X.copy()
        X_low[:, column], riskier[:, column] = (low, high) if direction > 0 else (high, low)
        found[name] = int((curve.log_odds(riskier, terms) < curve.log_odds(X_low, terms)).sum())
    return found


@both
def test_a_riskier_value_never_lowers_the_probability(datasets, fits, question, rng):
    found = falls(fits[question], datasets[question], rng)
    assert len(found) > 15
    assert sum(found.values()) == 0, found


def test_without_the_constraints_it_sometimes_would(datasets, rng):
    dataset = datasets["late"]
    free = replace(QUICK, parameters={"monotone_constraints": [0] * (len(dataset.features) + 1)})
    assert sum(falls(fit(dataset, CUTOFF, free), dataset, rng).values()) > 0


@both
def test_the_directions_are_those_of_the_dictionary_and_the_term_comes_last(datasets, question):
    dataset = datasets[question]
    *features, term = monotone_directions(dataset.question, dataset.features)
    assert features == [dictionary()[name].direction for name in dataset.features]
    assert term == {"late": -1, "default": 1}[question]


@both
def test_the_fitted_curve_never_crosses_itself(datasets, fits, question):
    curve, X = fits[question].curve, datasets[question].X
    terms = np.arange(curve.shortest, curve.longest + 1, dtype=np.int32)
    direction = {"late": -1, "default": 1}[question]
    moved = 0.0
    for row in X[:: X.shape[0] // 60]:
        log_odds = curve.log_odds(np.tile(row, (terms.size, 1)), terms)
        assert (direction * np.diff(log_odds)).min() >= 0
        moved += abs(log_odds[-1] - log_odds[0])
    assert moved > 0


# -------------------------------------------------------------------------------------- calibration


def simulated_pairs(question, slope, offsets, rng, n=80_000) -> tuple[np.ndarray, Pairs]:
    margins = rng.normal(-1.0, 1.5, n)
    terms = rng.integers(question.shortest, question.longest + 1, size=n).astype(np.int32)
    log_odds = slope * margins + np.interp(terms, question.knots, offsets)
    happened = rng.random(n) < expit(log_odds)
    return margins, Pairs(np.arange(n), terms, happened, np.ones(n))


@pytest.mark.parametrize("question", [LATE, DEFAULT], ids=["late", "default"])
@pytest.mark.parametrize("slope", [0.7, 1.3])
def test_calibration_recovers_a_known_slope_and_offset(question, slope, rng):
    along = (np.array(question.knots) - question.shortest) / (question.longest - question.shortest)
    offsets = 0.5 + question.direction * 1.5 * along
    found = calibrate(question, *simulated_pairs(question, slope, offsets, rng))
    assert found.slope == pytest.approx(slope, abs=0.03)
    terms = np.arange(question.shortest, question.longest + 1, dtype=np.int32)
    expected = np.interp(terms, question.knots, offsets)
    assert np.abs(found.offset(terms) - expected).max() < 0.15
    assert (found.offset(terms) - expected).mean() == pytest.approx(0, abs=0.04)


@pytest.mark.parametrize("question", [LATE, DEFAULT], ids=["late", "default"])
def test_calibration_keeps_the_offset_going_the_way_of_the_curve(question, rng):
    against = np.linspace(0, -2 * question.direction, len(question.knots))
    found = calibrate(question, *simulated_pairs(question, 1.0, against, rng))
    assert (question.direction * np.diff(found.offsets) >= 0).all()
    assert found.slope > 0
    wavy = np.where(np.arange(len(question.knots)) % 2, 0.8, -0.8)
    found = calibrate(question, *simulated_pairs(question, 1.0, wavy, rng))
    assert (question.direction * np.diff(found.offsets) >= 0).all()


def test_a_margin_that_says_the_opposite_keeps_a_positive_slope(rng):
    margins, pairs = simulated_pairs(LATE, 1.0, np.zeros(len(LATE.knots)), rng, n=5_000)
    assert calibrate(LATE, -margins, pairs).slope > 0


def test_with_few_rows_the_curve_stays_nearly_as_the_booster_drew_it(rng):
    margins, pairs = simulated_pairs(LATE, 3.0, np.full(len(LATE.knots), 2.0), rng, n=4)
    few = calibrate(LATE, margins, pairs)
    assert few.slope == pytest.approx(1, abs=0.3)
    assert np.abs(few.offsets).max() < 0.3


def test_a_row_asked_twice_weighs_as_much_as_a_row_asked_once(rng):
    margins, pairs = simulated_pairs(LATE, 1.0, np.zeros(len(LATE.knots)), rng, n=2_000)
    doubled = Pairs(
        *(np.concatenate([column, column]) for column in pairs[:3]), np.full(4_000, 0.5)
    )
    once, twice = calibrate(LATE, margins, pairs), calibrate(LATE, np.tile(margins, 2), doubled)
    assert once.slope == pytest.approx(twice.slope, abs=1e-4)
    assert once.offsets == pytest.approx(twice.offsets, abs=1e-3)


# ------------------------------------------------------------------------------------ quick enough


def test_few_pairs_all_calibrate_and_many_are_thinned_without_losing_weight(rng):
    def drawn(n: int) -> Pairs:
        term = rng.choice(LATE.knots, n).astype(np.int32)
        return Pairs(np.arange(n), term, rng.random(n) < 0.3, rng.uniform(0.1, 0.2, n))

    few, many = drawn(1_000), drawn(4 * MOST_CALIBRATED)
    assert all(np.array_equal(*both) for both in zip(thinned(few), few, strict=True))
    assert thinned(many).row.size == MOST_CALIBRATED
    assert thinned(many).weight.sum() == pytest.approx(many.weight.sum(), rel=0.01)


def test_calibration_on_thinned_pairs_is_that_on_all(rng):
    n = 4 * MOST_CALIBRATED
    term, margins = rng.choice(LATE.knots, n).astype(np.int32), rng.normal(-1, 2, n)
    happened = rng.random(n) < expit(0.8 * margins + 0.1 - term / 100)
    pairs = Pairs(np.arange(n), term, happened, np.full(n, 1 / 6))
    on_all, on_some = calibrate(LATE, margins, pairs), calibrate(LATE, margins[::4], thinned(pairs))
    assert on_some.slope == pytest.approx(on_all.slope, abs=0.02)
    assert on_some.offsets == pytest.approx(on_all.offsets, abs=0.08)


@both
def test_predictions_are_the_same_to_the_bit_on_one_thread_and_on_several(datasets, fits, question):
    curve, X = fits[question].curve, datasets[question].X
    term = np.full(X.shape[0], 60, np.int32)
    assert curve.threads == QUICK.threads == 1
    said = [replace(curve, threads=n).log_odds(X, term) for n in (1, 2, 3)]
    assert all(np.array_equal(said[0], one) for one in said)
