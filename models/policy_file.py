"""The policy file: its schema, its checks, and the words of the facts it may name.

``load`` reads models/policy.yaml, or another file of the same shape, once, into a frozen
:class:`Policy`. A policy that could answer more risk with a softer action is refused here.
models/policy.schema.json tells an editor what each value may be (:mod:`models.policy_schema`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from models.grades import GRADES
from models.strict_yaml import Number, Rate, Section, Whole, fault_at, read

Security = Literal["retention_of_title", "bank_guarantee", "letter_of_credit"]
Instrument = Literal[Security, "insured_sale", "factoring"]
Kind = Literal["open", "reduced_limit", "shorter_terms", "deposit", Instrument, "cash", "refuse"]
Action = Literal[Kind, "review"]
Importance = Literal["normal", "important", "key"]
Fact = Literal[
    "bank_details_unverified",
    "insolvency_opened",
    "cover_withdrawn",
    "limit_breached",
    "is_natural_person",
]
CustomerFact = Literal[
    "bank_details_unverified", "insolvency_opened", "cover_withdrawn", "is_natural_person"
]
"""Facts of the customer that the books or the insurer tell, whatever the order."""

SECURITIES: tuple[Security, ...] = ("retention_of_title", "bank_guarantee", "letter_of_credit")
"""What may stand behind the order; the loss that is left falls along them."""

SECURED = frozenset({*SECURITIES, "factoring"})
"""Options whose loss given default is their own."""

CHAINS: tuple[tuple[Kind, ...], ...] = (
    ("reduced_limit",),
    ("shorter_terms",),
    SECURITIES,
    ("insured_sale",),
    ("factoring",),
)
"""Options between open terms and cash that compare with each other, softest first; and deposits."""

FRAUD_SIGNALS: frozenset[Fact] = frozenset({"bank_details_unverified"})
"""Facts that hold even an order paid in advance."""


class Rule(NamedTuple):
    """A blocking rule or a constraint that fired, in words."""

    id: str
    fr: str
    en: str


FACT_WORDS: dict[Fact, tuple[str, str]] = {
    "bank_details_unverified": (
        "coordonnées bancaires modifiées, non vérifiées",
        "bank details changed and not verified",
    ),
    "insolvency_opened": ("procédure collective ouverte", "insolvency proceedings opened"),
    "cover_withdrawn": (
        "agrément retiré ou refusé par l’assureur-crédit",
        "cover withdrawn or refused by the credit insurer",
    ),
    "limit_breached": (
        "encours déjà au-delà de la limite de crédit et de sa tolérance",
        "exposure already beyond the credit limit and its tolerance",
    ),
    "is_natural_person": ("personne physique", "natural person"),
}


class PolicyError(ValueError):
    """The policy cannot be used; each line of the message says file, line, key and fault."""


Amount = Annotated[Number, Field(ge=0)]
Days = Annotated[int, Field(gt=0)]


class LossGivenDefault(Section):
    """Share of an uninsured unpaid amount lost after cures and recoveries, by rank of the claim.

    What is None secures no option on offer.
    """

    unsecured: Annotated[Number, Field(gt=0, le=1)]
    retention_of_title: Rate | None = None
    bank_guarantee: Rate | None = None
    letter_of_credit: Rate | None = None
    factoring: Rate | None = None


class Funding(Section):
    """Cost of the money lent to the customer."""

    annual_rate: Rate
    basis_days: Days
    days: Literal["terms + expected_delay"]


class Acceptance(Section):
    """Share of customers who take each option; it falls from the softest to the hardest.

    With no `deposit`, or with another option None, that option is not on offer.
    """

    open: Rate
    deposit: dict[Annotated[Number, Field(gt=0, lt=1)], Rate]
    reduced_limit: Rate | None = None
    shorter_terms: Rate | None = None
    retention_of_title: Rate | None = None
    bank_guarantee: Rate | None = None
    letter_of_credit: Rate | None = None
    insured_sale: Rate | None = None
    factoring: Rate | None = None
    cash: Rate
    refuse: Annotated[Number, Field(ge=0, le=0)]

    def at(self, deposit_rate: Decimal) -> Decimal:
        """Interpolate between the stated deposits, from open (0) to cash (1)."""
        knots = [(Decimal(0), self.open), *sorted(self.deposit.items()), (Decimal(1), self.cash)]
        (left, high), (right, low) = next(p for p in pairwise(knots) if deposit_rate <= p[1][0])
        return high + (low - high) * (deposit_rate - left) / (right - left)

    def of(self, kind: Kind) -> Decimal | None:
        """Return the acceptance of an option without a rate; None when it is not on offer."""
        share: Decimal | None = getattr(self, kind)
        return share

    def chains(self) -> Iterator[list[tuple[str, Decimal]]]:
        """Give each chain from the softest option to the hardest, with its acceptance."""
        deposits = [(f"deposit {rate}", share) for rate, share in sorted(self.deposit.items())]
        offered = [
            [(str(kind), share) for kind in chain if (share := self.of(kind)) is not None]
            for chain in CHAINS
        ]
        for between in [deposits, *offered]:
            yield [("open", self.open), *between, ("cash", self.cash), ("refuse", self.refuse)]

    @model_validator(mode="after")
    def _falls(self) -> Self:
        for chain in self.chains():
            for (softer, high), (harder, low) in pairwise(chain):
                if low >= high:
                    raise ValueError(f"must fall: {harder} ({low}) is not below {softer} ({high})")
        return self


class Cost(Section):
    """What an instrument costs the seller: a share of an amount, and at least an amount."""

    rate: Rate
    minimum_amount: Amount

    def cents(self, amount_cents: Decimal) -> Decimal:
        """Return the cost for an amount in cents; nothing for nothing."""
        if amount_cents == 0:
            return Decimal(0)
        return max(self.rate * amount_cents, 100 * self.minimum_amount)


FREE = Cost(rate=Decimal(0), minimum_amount=Decimal(0))


class InstrumentCosts(Section):
    """Cost of each instrument; what is left out is free."""

    retention_of_title: Cost = FREE
    bank_guarantee: Cost = FREE
    letter_of_credit: Cost = FREE
    insured_sale: Cost = FREE
    factoring: Cost = FREE


class Review(Section):
    """What it costs to hold an order for a person, and who waits for the answer."""

    cost_amount: Amount = Decimal(0)
    acceptance_rate: Rate = Decimal(1)


class Strategic(Section):
    """A figure by strategic importance; a customer of normal importance has 0."""

    important: Amount = Decimal(0)
    key: Amount = Decimal(0)

    def of(self, importance: Importance) -> Decimal:
        """Return the figure of a customer."""
        match importance:
            case "important":
                return self.important
            case "key":
                return self.key
        return Decimal(0)

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.key < self.important:
            raise ValueError(f"key ({self.key}) is below important ({self.important})")
        return self


class Appetite(Section):
    """Expected loss accepted on one customer, as a share of its group's yearly purchases."""

    expected_loss_rate: Rate
    extra_when_strategic: Strategic = Strategic()


class EquityShare(Section):
    """Exposure allowed as a share of published equity, and at least an amount."""

    share_rate: Rate
    least_amount: Amount


class Concentration(Section):
    """Exposure allowed on one group as a share of all receivables."""

    share_rate: Rate
    receivables_amount: Amount


def _by_grade(bands: Mapping[object, object]) -> Mapping[object, object]:
    """Read bands of grades, such as ``C-D``, into one entry a grade."""
    found: dict[object, object] = {}
    for band, value in bands.items():
        first, _, last = str(band).partition("-")
        if first not in GRADES or (last or first) not in GRADES or (last or first) < first:
            raise ValueError(f"{band} is no band of grades such as B or C-D")
        for grade in GRADES[GRADES.index(first) : GRADES.index(last or first) + 1]:
            if grade in found:
                raise ValueError(f"bands overlap: grade {grade} is in two")
            found[grade] = value
    if missing := [grade for grade in GRADES if grade not in found]:
        raise ValueError(f"bands are missing for {', '.join(missing)}")
    return found


def _falls_with_risk(days: dict[str, int]) -> dict[str, int]:
    if any(days[worse] > days[better] for better, worse in pairwise(GRADES)):
        raise ValueError("a worse grade must not be reviewed later")
    return days


ByGrade = Annotated[dict[str, Days], BeforeValidator(_by_grade), AfterValidator(_falls_with_risk)]


class LimitRules(Section):
    """Parameters of the recommended limit and of its use; by default it has no slack or bound."""

    headroom: Annotated[Number, Field(ge=1)] = Decimal(1)
    tolerance_rate: Rate = Decimal(0)
    coarsest_step: Literal[10, 100, 1000, 10000] = 1000
    beyond_cover_amount: Amount | None = None
    equity: EquityShare | None = None
    concentration: Concentration | None = None
    hysteresis_rate: Annotated[Number, Field(ge=0, lt=1)] = Decimal(0)
    review_above_expected_loss_amount: Amount = Decimal(0)
    review_days: ByGrade = dict.fromkeys(GRADES, 365)


class BlockingRule(Section):
    """When a fact is true, only some options remain, or a person decides.

    Either `allow`, where ``review`` holds the order for a person, or `require`, except for the
    option named by `unless`.
    """

    id: str
    when: Fact
    allow: Annotated[tuple[Action, ...], Field(strict=False)] | None = None
    unless: Kind | None = None
    require: Literal["human_decision"] | None = None

    @property
    def in_words(self) -> Rule:
        """The rule as an answer names it."""
        return Rule(self.id, *FACT_WORDS[self.when])

    def bars(self, kind: Kind) -> bool:
        """Whether the rule, once fired, forbids this option."""
        return self.allow is not None and kind not in self.allow

    @property
    def requires_human(self) -> bool:
        """Whether the rule, once fired, leaves the decision to a person."""
        return self.require is not None or "review" in (self.allow or ())

    @model_validator(mode="after")
    def _has_one_effect(self) -> Self:
        if (self.allow is None) == (self.require is None) or (self.unless and not self.require):
            raise ValueError("a rule has either allow, or require with an optional unless")
        if self.bars("refuse"):
            raise ValueError("allow must keep refuse")
        if self.bars("open") and not self.bars("reduced_limit"):
            raise ValueError("reduced_limit is open terms on a part: allow it with open only")
        if self.bars("cash") and self.when not in FRAUD_SIGNALS:
            raise ValueError(f"allow must keep cash: {self.when} is no signal of fraud")
        return self


RoleName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Role(Section):
    """What people of a role may decide: these options, up to an amount left on credit."""

    most_amount: Amount
    kinds: Annotated[tuple[Kind, ...], Field(strict=False, min_length=1)]


class OverrideRules(Section):
    """Who may decide otherwise than the policy; by default nobody."""

    longest_days: Days = 90
    never_when: Annotated[tuple[CustomerFact, ...], Field(strict=False)] = (
        "bank_details_unverified",
        "insolvency_opened",
    )
    roles: dict[RoleName, Role] = Field(default_factory=dict)


class Policy(Whole):
    """A checked policy file, as :func:`load` reads it."""

    version: str
    default_definition: Literal["bureau", "bank", "insurer"]  # models/default_definitions.yaml
    horizon: Annotated[str, Field(alias="horizon_days", pattern=r"^terms \+ \d+$")]
    lgd_rate: LossGivenDefault
    cures: Literal["measured", "ignored"] = "ignored"
    funding: Funding
    assumed_margin_rate: Rate = Decimal(0)
    acceptance_rate: Acceptance
    deposit_step_rate: Annotated[Number, Field(gt=0, lt=1)]
    shorter_terms_rate: Annotated[Number, Field(gt=0, lt=1)] = Decimal("0.5")
    instrument_cost: InstrumentCosts = InstrumentCosts()
    review: Review = Review()
    future_orders: Strategic = Strategic()
    appetite: Appetite
    limit: LimitRules = LimitRules()
    blocking: Annotated[tuple[BlockingRule, ...], Field(strict=False)]
    override: OverrideRules = OverrideRules()

    def assumed_margin_cents(self, amount_cents: int) -> int:
        """Return the margin of an order that was not given one, in cents."""
        return round(amount_cents * self.assumed_margin_rate)

    def horizon_days(self, terms_days: int) -> int:
        """Return the horizon, in days, at which the default curve prices an order."""
        return terms_days + int(self.horizon.removeprefix("terms + "))

    def shorter_terms_days(self, terms_days: int) -> int | None:
        """Return the shorter terms on offer for an order, in days; None when there are none."""
        if self.acceptance_rate.shorter_terms is None:
            return None
        shorter = int(terms_days * self.shorter_terms_rate)
        return shorter if shorter > 0 else None

    def lgd_of(self, kind: Kind) -> Decimal:
        """Return the loss given default of what an option leaves on credit."""
        share = getattr(self.lgd_rate, kind) if kind in SECURED else self.lgd_rate.unsecured
        return Decimal(share)

    @cached_property
    def deposits(self) -> tuple[tuple[Decimal, Decimal], ...]:
        """Deposit rates on offer with their acceptance, smallest rate first."""
        steps = range(1, int(1 / self.deposit_step_rate)) if self.acceptance_rate.deposit else ()
        rates = [i * self.deposit_step_rate for i in steps]
        return tuple((rate, self.acceptance_rate.at(rate)) for rate in rates)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if 1 % self.deposit_step_rate:
            raise fault_at("deposit_step_rate")(f"must divide 1; got {self.deposit_step_rate}")
        ids = [rule.id for rule in self.blocking]
        if len(set(ids)) < len(ids):
            raise fault_at("blocking")(f"ids must be unique; got {ids}")
        return self

    @model_validator(mode="after")
    def _loss_falls(self) -> Self:
        """Check that the loss falls along each chain, as the acceptance does."""
        secured: tuple[tuple[Kind, ...], ...] = (SECURITIES, ("factoring",))
        for chain in secured:
            softer, high = "unsecured", self.lgd_rate.unsecured
            for kind in chain:
                if self.acceptance_rate.of(kind) is None:
                    continue
                low = getattr(self.lgd_rate, kind)
                at = fault_at("lgd_rate", kind)
                if low is None:
                    raise at(f"is on offer (acceptance_rate.{kind}), and its loss is not said")
                if low >= high:
                    raise at(f"loss must fall: {kind} ({low}) is not below {softer} ({high})")
                softer, high = kind, low
        return self


def load(source: Path | str) -> Policy:
    """Read and check a policy.

    Parameters
    ----------
    source : Path or str
        A file, or the text of one.

    Raises
    ------
    PolicyError
        With one line for each fault: ``policy.yaml:12: acceptance_rate.cash: ...``.
    """
    return read(source, "policy", Policy, PolicyError)
