"""The laws of a curve in force, on both curves trained the real way and rows of a real ledger.

What is tried in small beside each module is tried here at scale: every term, 100,000 pairs, bytes
anywhere in a bundle.
"""

import json
import shutil

import lightgbm as lgb
import numpy as np
import pytest

from features.build import build, customer_spine, invoice_spine
from features.dictionary import dictionary
from features.history import build as lay_out
from features.store import Store
from models import bundle as bundles
from models.bundle import MANIFEST, Bundle, BundleError, Champions
from models.explanation import explain

PAIRS = 100_000
QUESTIONS = ("late", "default")
both = pytest.mark.parametrize("question", QUESTIONS)


@pytest.fixture(scope="module")
def in_force(trained) -> dict[str, Bundle]:
    champions = Champions.load(trained.champions)
    return {name: bundles.read(trained.bundles, getattr(champions, name)) for name in QUESTIONS}


@pytest.fixture(scope="module")
def described(trained) -> dict[str, np.ndarray]:
    """Describe each invoice on its issue date, and each customer on random dates."""
    store = Store(trained.facts_url)
    history = lay_out(store.read(versions=True), store.ledger.observed_from)
    rng = np.random.default_rng(5)
    customer = np.repeat(np.arange(history.customers.size), 20)
    first, last = store.ledger.observed_from + 400, store.last_day()
    dates = rng.integers(first, last, size=customer.size).astype(np.int32)
    return {
        "late": build(history, invoice_spine(history)),
        "default": build(history, customer_spine(customer, dates)),
    }


def drawn(X: np.ndarray, curve, n: int, rng) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows and, for each, a whole term of the curve."""
    terms = rng.integers(curve.shortest, curve.longest + 1, size=n).astype(np.int32)
    return X[rng.integers(len(X), size=n)], terms


# --------------------------------------------------------------------------------- the explanations


@both
def test_explanations_add_up_to_the_log_odds_at_every_term(in_force, described, question):
    curve, rng = in_force[question].curve, np.random.default_rng(1)
    terms = np.repeat(np.arange(curve.shortest, curve.longest + 1, dtype=np.int32), 5)
    X = described[question][rng.integers(len(described[question]), size=terms.size)]
    told = np.empty(terms.size)
    for n, (row, term) in enumerate(zip(X, terms, strict=True)):
        base, contributions = curve.explain(row, int(term))
        told[n] = base + contributions.sum()
    assert set(terms) == set(range(curve.shortest, curve.longest + 1))
    np.testing.assert_allclose(told, curve.log_odds(X, terms), rtol=0, atol=1e-9)


@both
def test_the_reasons_named_and_the_rest_add_up_too(in_force, described, question):
    bundle, rng = in_force[question], np.random.default_rng(2)
    X, terms = drawn(described[question], bundle.curve, 300, rng)
    for row, term, log_odds in zip(X, terms, bundle.curve.log_odds(X, terms), strict=True):
        told = explain(bundle, row, int(term), "EUR")
        total = told.base + sum(reason.contribution for reason in told.reasons) + told.other
        assert total == pytest.approx(log_odds, abs=1e-9, rel=0)


# ------------------------------------------------------------------------------------ the direction


def risky_values(X: np.ndarray, names: tuple[str, ...], rng) -> tuple[np.ndarray, np.ndarray]:
    """Move one random feature of each row the risky way, one that has a direction and a value.

    Half go as far as a value that another row has, half any distance, ten thousand and more. A
    missing value has no place in the order: it stays missing, and none becomes missing.
    """
    directions = np.array([dictionary()[name].direction for name in names])
    choices = np.where((directions != 0) & ~np.isnan(X), rng.random(X.shape), -1.0)
    column, row = choices.argmax(axis=1), np.arange(len(X))
    assert (choices[row, column] >= 0).all()
    values, way = X[row, column], directions[column]
    other = X[rng.permutation(len(X)), column]
    seen = np.where(way > 0, np.fmax(values, other), np.fmin(values, other))
    beyond = values + way * 10.0 ** rng.uniform(-3, 5, size=len(X))
    moved = X.copy()
    moved[row, column] = np.where(rng.random(len(X)) < 0.5, seen, beyond)
    return moved, column


@both
def test_a_riskier_value_never_lowers_the_probability(in_force, described, question):
    curve, rng = in_force[question].curve, np.random.default_rng(3)
    X, terms = drawn(described[question], curve, PAIRS, rng)
    riskier, column = risky_values(X, curve.features, rng)
    before, after = curve.log_odds(X, terms), curve.log_odds(riskier, terms)
    assert (after < before).sum() == 0
    assert (after > before).sum() > PAIRS / 50  # the trees do ask about what was moved
    assert np.unique(column).size > 20
    assert (curve.probability(riskier, terms) < curve.probability(X, terms)).sum() == 0


@both
def test_several_riskier_values_at_once_never_lower_it_either(in_force, described, question):
    curve, rng = in_force[question].curve, np.random.default_rng(4)
    X, terms = drawn(described[question], curve, PAIRS // 5, rng)
    riskier = X
    for _ in range(5):
        riskier, _ = risky_values(riskier, curve.features, rng)
    assert (curve.log_odds(riskier, terms) < curve.log_odds(X, terms)).sum() == 0


@both
def test_the_probability_goes_one_way_with_the_term(in_force, described, question):
    curve, rng = in_force[question].curve, np.random.default_rng(6)
    X, terms = drawn(described[question], curve, PAIRS, rng)
    longer = rng.integers(terms, curve.longest + 1).astype(np.int32)
    sooner, later = curve.probability(X, terms), curve.probability(X, longer)
    way = {"late": -1, "default": 1}[question]
    assert (way * (later - sooner) < 0).sum() == 0
    assert (later != sooner).mean() > 0.5


# -------------------------------------------------------------------------------------- the bundle


@both
@pytest.mark.parametrize("flips", [(0x01,), (0x20, 0x80)], ids=["lowest", "case and highest"])
def test_a_byte_changed_anywhere_is_refused_before_lightgbm_sees_it(
    in_force, trained, tmp_path, monkeypatch, question, flips
):
    def parse(*_: object, **__: object) -> None:
        raise AssertionError("LightGBM was given a damaged model")

    sha256 = in_force[question].sha256
    shutil.copytree(trained.bundles / sha256, tmp_path / sha256)
    monkeypatch.setattr(lgb, "Booster", parse)
    rng, refused = np.random.default_rng(7), 0
    names = [MANIFEST, *json.loads((tmp_path / sha256 / MANIFEST).read_bytes())]
    for name in names:
        file = tmp_path / sha256 / name
        data = file.read_bytes()
        inside = rng.integers(len(data), size=60)
        for place in {0, len(data) - 1, *inside.tolist()}:
            for flip in flips:
                file.write_bytes(changed(data, place, flip))
                with pytest.raises(BundleError, match=f"{name} was changed"):
                    bundles.read(tmp_path, sha256)
                refused += 1
        file.write_bytes(data)
    assert refused >= 50 * len(names)
    with pytest.raises(AssertionError, match="LightGBM was given"):
        bundles.read(tmp_path, sha256)  # whole again: only now is it parsed


def changed(data: bytes, place: int, flip: int) -> bytes:
    return data[:place] + bytes([data[place] ^ flip]) + data[place + 1 :]
