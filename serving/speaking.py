"""What speaks: champions and policy, loaded together, and what the curves say of one order."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.build import CUSTOMER_FEATURES, feature_names
from models import bundle as bundles
from models import depth, grades
from models.bands import bands
from models.bundle import Bundle, BundleError, Champions
from models.curve import (
    DEFAULT_HORIZONS,
    LATE_TERMS,
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
        policy = load(workspace.policies / f"{champions.policy}.yaml")
        if policy.sha256 != champions.policy:
            raise BundleError(f"policy {champions.policy[:12]} was changed")
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
) -> Views:
    """Ask both curves about one row of features, shape (n_features,), and one order."""
    late, paid_on, late_bands, delay_days = None, None, None, 0.0
    default, risk, explanation = None, None, None
    standing, default_interval = None, None
    abstentions = dict(speaking.champions.abstentions)
    letter = str(depth.letters(row[None, :], ALL_FEATURES)[0])
    is_too_thin = letter == depth.FLOOR and not in_default
    if speaking.late is not None and is_too_thin:
        abstentions["late"] = _too_thin(speaking.late, row)
    elif speaking.late is not None:
        curve = speaking.late.curve
        terms = np.arange(curve.shortest, curve.longest + 1, dtype=np.int32)
        by_term = curve.at(row, terms)
        late = {t: float(by_term[t - curve.shortest]) for t in LATE_TERMS}
        delay_days = expected_delay_days(terms, by_term)
        paid_on = payment_interval(terms, by_term, curve.tail)
        planned = bands(curve, row[None, :], terms[:1])
        late_bands = {name: float(share[0]) for name, share in planned._asdict().items()}
        explanation = explain(speaking.late, row, LATE_EXPLAINED_DAYS, currency)
    if in_default:
        abstentions["default"] = {"reason": "the customer is already in default"}
        standing = Standing.of(1.0)
        risk = Risk(1.0, delay_days, 1.0, standing.grade)
    elif speaking.default is not None and is_too_thin:
        abstentions["default"] = _too_thin(speaking.default, row)
    elif speaking.default is not None and not row[DAYS_SINCE_LAST] <= ACTIVE_DAYS:
        # the curve never saw such a customer
        abstentions["default"] = {"reason": "the customer has no invoice of the last year"}
    elif speaking.default is not None:
        curve = speaking.default.curve
        known = row[: len(curve.features)]
        by_term = curve.at(known, np.array(DEFAULT_HORIZONS, np.int32))
        default = dict(zip(DEFAULT_HORIZONS, by_term.tolist(), strict=True))
        within_a_year = default[grades.HORIZON_DAYS]
        standing = Standing.of(within_a_year)
        measured = speaking.default.reference.get("depth")  # older bundles have none
        if measured is not None:
            default_interval = depth.interval(measured, within_a_year, letter)
        horizon = horizon_of(speaking.policy, curve, order.terms_days)
        explanation = explain(speaking.default, known, horizon, currency)
        probability = explanation.probability
        shorter = _if_shorter(speaking.policy, curve, known, order.terms_days, probability)
        cured = cure_rate(speaking.default.reference, speaking.policy)
        risk = Risk(probability, delay_days, shorter, standing.grade, cured)
    if late is None:
        risk = None  # the delay is part of every price
    return Views(
        late,
        paid_on,
        delay_days,
        default,
        risk,
        explanation,
        abstentions,
        letter,
        standing,
        late_bands,
        default_interval,
    )


def cure_rate(reference: dict[str, Any], policy: Policy) -> float:
    """Return the share paid after all that the curve's ledger shows, if the policy counts it."""
    measured = reference.get("cures", {}) if policy.cures == "measured" else {}
    return float(measured.get("rate", 0.0))


def horizon_of(policy: Policy, curve: TermCurve, terms_days: int) -> int:
    """Return the horizon, in days, that prices credit on these terms, as far as the curve goes."""
    return min(max(policy.horizon_days(terms_days), curve.shortest), curve.longest)


def _if_shorter(
    policy: Policy,
    curve: TermCurve,
    row: NDArray[np.float64],
    terms_days: int,
    probability: float,
) -> float | None:
    """Return the probability of default over the life of the shorter terms on offer, if any are."""
    shorter_days = policy.shorter_terms_days(terms_days)
    if shorter_days is None:
        return None
    horizon = np.array([horizon_of(policy, curve, shorter_days)], np.int32)
    return min(float(curve.at(row, horizon)[0]), probability)


def _too_thin(bundle: Bundle, row: NDArray[np.float64]) -> dict[str, Any]:
    """Say why a curve abstains for want of facts, and which would help it most."""
    return depth.abstention(row, ALL_FEATURES, bundle.reference.get("family_weights", {}))
