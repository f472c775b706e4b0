"""What speaks: champions and policy, loaded together, and what the curves say of one order."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from features.build import CUSTOMER_FEATURES, feature_names
from models import bundle as bundles
from models import depth, grades
from models.bands import LATE_AFTER_DAYS, VERY_LATE_AFTER_DAYS
from models.bundle import Bundle, BundleError, Champions
from models.curve import (
    DEFAULT_HORIZONS,
    LATE_TERMS,
    Explained,
    PaidOn,
    TermCurve,
    expected_delay_days,
    payment_interval,
)
from models.explanation import Explanation, explain
from models.policy import Order, Policy, Risk, load
from models.targets import ACTIVE_DAYS, DEFAULT_DEFINITIONS
from models.workspace import Workspace

DAYS_SINCE_LAST = CUSTOMER_FEATURES.index("purchases_days_since_last")
ALL_FEATURES = feature_names(with_order=True)
LATE_EXPLAINED_DAYS = 30  # where there is no default curve to explain


@dataclass(frozen=True)
class Speaking:
    """What speaks now: champions of both curves and the policy, loaded together.

    Attributes
    ----------
    champions : Champions
    late, default : Bundle or None
        ``None`` where the curve abstains.
    policy : Policy
    shadows : dict of str to Bundle
        Challengers, by question: scored beside the champions and kept off the answer.
    refused : dict of str to str
        Why a challenger that the pointer file names cannot be scored, by question.
    """

    champions: Champions
    late: Bundle | None
    default: Bundle | None
    policy: Policy
    shadows: dict[str, Bundle]
    refused: dict[str, str]

    @classmethod
    def load(
        cls, workspace: Workspace, ledger_id: str, champions: Champions | None = None
    ) -> Speaking:
        """Load what the pointer file names, or `champions`, each file verified before it is parsed.

        Raises
        ------
        BundleError, PolicyError
            If a file is missing or damaged, or a bundle was trained for something else: another
            ledger, set of features (that of the other curve) or default definition. Of a
            challenger, which harms nobody, the reason is kept in ``refused``.
        """
        champions = champions or Champions.load(workspace.champions)
        policy = _policy(workspace, champions.policy)
        definition = asdict(DEFAULT_DEFINITIONS[policy.default_definition])

        def read(question: str, sha256: str | None) -> Bundle | None:
            if sha256 is None:
                return None
            found = bundles.read(workspace.bundles, sha256)
            features = feature_names(with_order=question == "late")
            defined = definition if question == "default" else None
            for what, said, wanted in (
                ("ledger", found.card.get("ledger_id"), ledger_id),
                ("set of features", found.curve.features, features),
                ("default definition", found.card.get("default_definition"), defined),
            ):
                if said != wanted:
                    raise BundleError(f"bundle {sha256[:12]} was trained on another {what}")
            return found

        late, default = read("late", champions.late), read("default", champions.default)
        shadows: dict[str, Bundle] = {}
        refused: dict[str, str] = {}
        for question in ("late", "default"):
            try:
                found = read(question, champions.challengers.get(question))
            except Exception as error:  # noqa: BLE001 (whatever it is, the champions speak)
                refused[question] = str(error)
            else:
                if found is not None:
                    shadows[question] = found
        return cls(champions, late, default, policy, shadows, refused)


def _policy(workspace: Workspace, sha256: str) -> Policy:
    """Read a policy after its hash: what was changed is not parsed."""
    file = workspace.policies / f"{sha256}.yaml"
    if file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() != sha256:
        raise BundleError(f"policy {sha256[:12]} was changed")
    policy = load(file)
    if policy.sha256 != sha256:
        raise BundleError(f"policy {sha256[:12]} was changed")
    return policy


class Views(NamedTuple):
    """What the curves say of one customer and order.

    Attributes
    ----------
    late : dict of int to float, or None
        P(paid more than t days after the due date); ``None`` where the curve abstains.
    paid_on : PaidOn or None
        Days after the due date.
    expected_delay_days : float
    default : dict of int to float, or None
        P(default within h days); ``None`` where the curve abstains or the customer is in default.
    risk : Risk or None
        What the policy may reckon with; ``None`` leaves the order to a person.
    explanation : Explanation or None
        Of the default curve at the order's horizon, else of the late curve.
    abstentions : dict
        Why a curve says nothing.
    data_depth : str
        How much is known of the customer, A to G.
    standing : Standing or None
        ``None`` where the probability of default is not known.
    late_bands : dict of str to float, or None
        ``on_time``, ``late`` and ``very_late``: they add up to 1.
    default_interval : depth.Interval or None
        Of P(default within 365 days); ``None`` where there is none, or it was not measured.
    margins : dict
        Terms asked and what the booster said of them, by question that speaks.
    taken_apart : Explained or None
        The curve that is explained.
    """

    late: dict[int, float] | None
    paid_on: PaidOn | None
    expected_delay_days: float
    default: dict[int, float] | None
    risk: Risk | None
    explanation: Explanation | None
    abstentions: dict[str, dict[str, Any]]
    data_depth: str
    standing: Standing | None
    late_bands: dict[str, float] | None
    default_interval: depth.Interval | None
    margins: dict[str, Asked]
    taken_apart: Explained | None


class Asked(NamedTuple):
    """Terms that a curve was asked at, and its booster's margins there."""

    terms: NDArray[np.int32]
    margins: NDArray[np.float64]


class Standing(NamedTuple):
    """A customer on the master scale."""

    grade: str
    score: int

    @classmethod
    def of(cls, default_probability: float) -> Standing:
        """Place a probability of default within 365 days; 1 for a customer in default."""
        letter, points = grades.grade(default_probability), grades.score(default_probability)
        return cls(str(letter), int(points))


def consult(
    speaking: Speaking,
    row: NDArray[np.float64],
    order: Order,
    currency: str,
    *,
    in_default: bool,
    explained: bool = True,
) -> Views:
    """Ask both curves about one row of features, shape (n_features,), and one order.

    Each curve is asked once, at all the terms that anything reads, and one of them is `explained`,
    which takes the longest.
    """
    letter = str(depth.letters(row[None, :], ALL_FEATURES)[0])
    silent = _silent(speaking, row, letter, in_default=in_default)
    late = None if "late" in silent or speaking.late is None else _ask_late(speaking.late, row)
    default = None
    if "default" not in silent and speaking.default is not None:
        default = _ask_default(speaking.default, row, order, speaking.policy, letter)
    standing = Standing.of(1.0) if in_default else None
    if default is not None:
        standing = Standing.of(default.by_horizon[grades.HORIZON_DAYS])
    explanation, taken_apart = None, None
    if not explained:
        pass
    elif default is not None and speaking.default is not None:
        known, days = row[: len(speaking.default.curve.features)], default.horizon_days
        taken_apart = speaking.default.curve.explain(known, days)
        said = default.log_odds
        explanation = explain(speaking.default, known, days, currency, said, taken_apart)
    elif late is not None and speaking.late is not None:
        days, said = LATE_EXPLAINED_DAYS, late.log_odds
        taken_apart = speaking.late.curve.explain(row, days)
        explanation = explain(speaking.late, row, days, currency, said, taken_apart)
    spoke = {"late": late, "default": default}
    return Views(
        late=None if late is None else late.by_term,
        paid_on=None if late is None else late.paid_on,
        expected_delay_days=0.0 if late is None else late.expected_delay_days,
        default=None if default is None else default.by_horizon,
        risk=None if late is None else _risk(late, default, standing, in_default=in_default),
        explanation=explanation,
        abstentions={**speaking.champions.abstentions, **silent},
        data_depth=letter,
        standing=standing,
        late_bands=None if late is None else late.bands,
        default_interval=None if default is None else default.interval,
        margins={question: one.asked for question, one in spoke.items() if one is not None},
        taken_apart=taken_apart,
    )


class _Late(NamedTuple):
    """What the late curve says, as :class:`Views` has it; `log_odds` are those to explain."""

    by_term: dict[int, float]
    log_odds: float
    paid_on: PaidOn
    expected_delay_days: float
    bands: dict[str, float]
    asked: Asked


def _ask_late(bundle: Bundle, row: NDArray[np.float64]) -> _Late:
    curve = bundle.curve
    terms = np.arange(curve.shortest, curve.longest + 1, dtype=np.int32)
    margins = curve.margins_at(row, terms)
    log_odds = curve.calibration.log_odds(margins, terms)
    unpaid = expit(log_odds)
    by_term = {t: float(unpaid[t - curve.shortest]) for t in LATE_TERMS}
    return _Late(
        by_term,
        float(log_odds[LATE_EXPLAINED_DAYS - curve.shortest]),
        payment_interval(terms, unpaid, curve.tail),
        expected_delay_days(terms, unpaid),
        _bands(by_term[LATE_AFTER_DAYS], by_term[VERY_LATE_AFTER_DAYS]),
        Asked(terms, margins),
    )


def _bands(late: float, very_late: float) -> dict[str, float]:
    """Tell on time, late and very late apart, of an order planned: nothing passed unpaid yet."""
    return {"on_time": 1 - late, "late": late - very_late, "very_late": very_late}


class _Default(NamedTuple):
    """What the default curve says.

    Attributes
    ----------
    by_horizon : dict of int to float
    horizon_days : int
        The order's own: what prices credit on its terms.
    log_odds, probability : float
        At that horizon.
    shorter : float or None
        Probability over the life of the shorter terms on offer, if any are.
    interval : depth.Interval or None
    cured : float
        Share that is paid after all.
    asked : Asked
    """

    by_horizon: dict[int, float]
    horizon_days: int
    log_odds: float
    probability: float
    shorter: float | None
    interval: depth.Interval | None
    cured: float
    asked: Asked


def _ask_default(
    bundle: Bundle, row: NDArray[np.float64], order: Order, policy: Policy, letter: str
) -> _Default:
    curve, reference = bundle.curve, bundle.reference
    shorter_days = policy.shorter_terms_days(order.terms_days)
    priced = [days for days in (order.terms_days, shorter_days) if days is not None]
    horizons = [*DEFAULT_HORIZONS, *(horizon_of(policy, curve, days) for days in priced)]
    terms = np.array(horizons, np.int32)
    margins = curve.margins_at(row[: len(curve.features)], terms)
    log_odds = curve.calibration.log_odds(margins, terms)
    said: list[float] = expit(log_odds).tolist()
    own, *shorter = said[len(DEFAULT_HORIZONS) :]
    by_horizon = dict(zip(DEFAULT_HORIZONS, said, strict=False))
    measured = reference.get("depth")  # older bundles have none
    within_a_year = by_horizon[grades.HORIZON_DAYS]
    return _Default(
        by_horizon,
        horizons[len(DEFAULT_HORIZONS)],
        float(log_odds[len(DEFAULT_HORIZONS)]),
        own,
        min(shorter[0], own) if shorter else None,
        None if measured is None else depth.interval(measured, within_a_year, letter),
        cure_rate(reference, policy),
        Asked(terms, margins),
    )


def _risk(
    late: _Late, default: _Default | None, standing: Standing | None, *, in_default: bool
) -> Risk | None:
    """Say what the policy may reckon with; the delay is part of every price."""
    delay_days, grade = late.expected_delay_days, None if standing is None else standing.grade
    if in_default:
        return Risk(1.0, delay_days, 1.0, grade)
    if default is None:
        return None
    return Risk(default.probability, delay_days, default.shorter, grade, default.cured)


def _silent(
    speaking: Speaking, row: NDArray[np.float64], letter: str, *, in_default: bool
) -> dict[str, dict[str, Any]]:
    """Say why a curve that there is does not speak of this customer."""
    late, default = speaking.late, speaking.default
    is_too_thin = letter == depth.FLOOR and not in_default
    silent: dict[str, dict[str, Any]] = {}
    if late is not None and is_too_thin:
        silent["late"] = _too_thin(late, row)
    if in_default:
        silent["default"] = {"reason": "the customer is already in default"}
    elif default is not None and is_too_thin:
        silent["default"] = _too_thin(default, row)
    elif default is not None and not row[DAYS_SINCE_LAST] <= ACTIVE_DAYS:
        # the curve never saw such a customer
        silent["default"] = {"reason": "the customer has no invoice of the last year"}
    return silent


def cure_rate(reference: dict[str, Any], policy: Policy) -> float:
    """Return the share paid after all that the curve's ledger shows, if the policy counts it."""
    measured = reference.get("cures", {}) if policy.cures == "measured" else {}
    return float(measured.get("rate", 0.0))


def horizon_of(policy: Policy, curve: TermCurve, terms_days: int) -> int:
    """Return the horizon, in days, that prices credit on these terms, as far as the curve goes."""
    return min(max(policy.horizon_days(terms_days), curve.shortest), curve.longest)


def _too_thin(bundle: Bundle, row: NDArray[np.float64]) -> dict[str, Any]:
    """Say why a curve abstains for want of facts, and which would help it most."""
    return depth.abstention(row, ALL_FEATURES, bundle.reference.get("family_weights", {}))
