"""The policy file: its schema, its checks, and the words of the facts it may name.

``load`` reads models/policy.yaml, or another file of the same shape, once, into a frozen
:class:`Policy`. A policy that could answer more risk with a softer action is refused here.
"""

from __future__ import annotations

from decimal import Decimal
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    model_validator,
)

from models.strict_yaml import read

Kind = Literal["open", "deposit", "reduced_limit", "cash", "refuse"]  # softest first
Action = Literal[Kind, "review"]
Fact = Literal["insolvency_opened", "is_natural_person"]


class Rule(NamedTuple):
    """A blocking rule or a constraint that fired, in words."""

    id: str
    fr: str
    en: str


FACT_WORDS: dict[Fact, tuple[str, str]] = {
    "insolvency_opened": ("procédure collective ouverte", "insolvency proceedings opened"),
    "is_natural_person": ("personne physique", "natural person"),
}


class PolicyError(ValueError):
    """The policy cannot be used; each line of the message says file, line, key and fault."""


def exact(number: float) -> Decimal:
    """Return the decimal number that the float is written as: 0.1 is one tenth."""
    return Decimal(str(number))


def _as_written(number: object) -> object:
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    return Decimal(str(number)) if is_number else number


Number = Annotated[Decimal, BeforeValidator(_as_written)]
Rate = Annotated[Number, Field(ge=0, le=1)]


class Section(BaseModel):
    """A part of the policy file, read strictly; models/policy.yaml explains each key."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class LossGivenDefault(Section):
    """Share of an uninsured unpaid amount lost after recoveries, by security held."""

    unsecured: Rate


class Funding(Section):
    """Cost of the money lent to the customer."""

    annual_rate: Rate
    basis_days: Annotated[int, Field(gt=0)]
    days: Literal["terms + expected_delay"]


class Acceptance(Section):
    """Share of customers who take each option; it falls from the softest to the hardest.

    With no `deposit`, or with `reduced_limit` None, that option is not on offer.
    """

    open: Rate
    deposit: dict[Annotated[Number, Field(gt=0, lt=1)], Rate]
    reduced_limit: Rate | None = None
    cash: Rate
    refuse: Annotated[Number, Field(ge=0, le=0)]

    def at(self, deposit_rate: Decimal) -> Decimal:
        """Interpolate between the stated deposits, from open (0) to cash (1)."""
        knots = [(Decimal(0), self.open), *sorted(self.deposit.items()), (Decimal(1), self.cash)]
        (left, high), (right, low) = next(p for p in pairwise(knots) if deposit_rate <= p[1][0])
        return high + (low - high) * (deposit_rate - left) / (right - left)

    @model_validator(mode="after")
    def _falls(self) -> Self:
        deposits = [(f"deposit {rate}", share) for rate, share in sorted(self.deposit.items())]
        part = [] if self.reduced_limit is None else [("reduced_limit", self.reduced_limit)]
        for between in (deposits, part):
            chain = [("open", self.open), *between, ("cash", self.cash), ("refuse", self.refuse)]
            for (softer, high), (harder, low) in pairwise(chain):
                if low >= high:
                    raise ValueError(f"must fall: {harder} ({low}) is not below {softer} ({high})")
        return self


class Appetite(Section):
    """Expected loss accepted on one customer, as a share of its yearly purchases."""

    expected_loss_rate: Rate


class LimitRules(Section):
    """Parameters of the recommended limit and of its use; by default it has no slack."""

    headroom: Annotated[Number, Field(ge=1)] = Decimal(1)
    tolerance_rate: Rate = Decimal(0)
    coarsest_step: Literal[10, 100, 1000, 10000] = 1000


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
        return self


class Policy(Section):
    """A checked policy file, as :func:`load` reads it."""

    version: str
    default_definition: Literal["bureau", "bank", "insurer"]  # models/default_definitions.yaml
    horizon: Annotated[str, Field(alias="horizon_days", pattern=r"^terms \+ \d+$")]
    lgd_rate: LossGivenDefault
    funding: Funding
    assumed_margin_rate: Rate = Decimal(0)
    acceptance_rate: Acceptance
    deposit_step_rate: Annotated[Number, Field(gt=0, lt=1)]
    appetite: Appetite
    limit: LimitRules = LimitRules()
    blocking: Annotated[tuple[BlockingRule, ...], Field(strict=False)]
    _sha256: str = PrivateAttr(default="")

    @property
    def sha256(self) -> str:
        """Hash of the file's exact bytes, in hexadecimal: the policy's identity."""
        return self._sha256

    def assumed_margin_cents(self, amount_cents: int) -> int:
        """Return the margin of an order that was not given one, in cents."""
        return round(amount_cents * self.assumed_margin_rate)

    def horizon_days(self, terms_days: int) -> int:
        """Return the horizon, in days, at which the default curve prices an order."""
        return terms_days + int(self.horizon.removeprefix("terms + "))

    @cached_property
    def deposits(self) -> tuple[tuple[Decimal, Decimal], ...]:
        """Deposit rates on offer with their acceptance, smallest rate first."""
        steps = range(1, int(1 / self.deposit_step_rate)) if self.acceptance_rate.deposit else ()
        rates = [i * self.deposit_step_rate for i in steps]
        return tuple((rate, self.acceptance_rate.at(rate)) for rate in rates)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if 1 % self.deposit_step_rate:
            raise ValueError(f"deposit_step_rate must divide 1; got {self.deposit_step_rate}")
        ids = [rule.id for rule in self.blocking]
        if len(set(ids)) < len(ids):
            raise ValueError(f"blocking: ids must be unique; got {ids}")
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
    policy, policy_sha256 = read(source, Policy, PolicyError, "policy")
    policy._sha256 = policy_sha256
    return policy
