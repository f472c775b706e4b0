"""``encours portfolio``: the receivables of a ledger on one day, measured, provisioned, judged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from commands.shared import (
    LedgerDb,
    Today,
    console,
    day_number,
    ledger_here,
    past_today,
    say,
    stages,
    stop,
    this_day,
    workspace_here,
)

if TYPE_CHECKING:
    from datetime import date

    import numpy as np
    from numpy.typing import NDArray

    from features.history import Facts, History
    from features.store import Store
    from models.factoring import Eligibility
    from models.late_interest import Due
    from models.portfolio import Portfolio
    from models.provisions import Lost, Provisioned, RollRates
    from models.receivables import Measured
    from models.receivables_file import Parameters
    from models.workspace import Workspace
    from serving.speaking import Speaking

GroupBy = Literal["grade", "sector", "country", "none"]
MOST_GROUPS = 8
OTHER, UNKNOWN, UNRATED, ALL = "other", "unknown", "unrated", "all"


def portfolio(
    today: Today = None,
    ledger: LedgerDb = None,
    group: Annotated[
        GroupBy | None,
        typer.Option(
            "--group",
            help="Groups of the provision matrix; by default the grades of the model in charge, "
            "or one group when there is none.",
        ),
    ] = None,
    parameters: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="YAML file of parameters; by default models/receivables.yaml."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv|FOLDER",
            help="Write each invoice with its eligibility, provision and late interest: a CSV "
            "file, or a folder, which gets the provision matrix and the measures too.",
        ),
    ] = None,
) -> None:
    """Measure what customers owe: DSO, ageing, provisions, factoring, late-payment interest.

    Everything is as known at the end of the day. Each table defines its measures; more is in
    docs/receivables.md. No model is needed: what a model would add is left out and said so.
    """
    from commands import portfolio_csv, portfolio_tables
    from models.receivables_file import PATH, load

    how = load(parameters or PATH)
    workspace = workspace_here(ledger)
    store = ledger_here(workspace)
    if store is None:
        stop("there is no ledger here yet: run `encours import` first")
    day = today or past_today(workspace) or this_day()
    with stages() as progress:
        progress("reading facts")
        report = _report(workspace, store, day, how, group)
    for table, notes in portfolio_tables.sections(report):
        console.print(table)
        console.print("\n".join(notes), end="\n\n" if notes else "\n")
    if out is not None:
        for file in portfolio_csv.write(report, out):
            say(f"Written: {file}")


class Groups(NamedTuple):
    """How customers are told apart in the provision matrix.

    Attributes
    ----------
    by : str
    names : list of str
    now : ndarray of int64, shape (n_customers,)
        Place of each customer's group at the date.
    then : ndarray of int64, shape (n_cohort,)
        Place of each past invoice's group, as its customer stood when it fell due.
    """

    by: GroupBy
    names: list[str]
    now: NDArray[np.int64]
    then: NDArray[np.int64]


@dataclass(frozen=True)
class Report:
    """All that is shown of a portfolio on one day.

    Attributes
    ----------
    day : date
        The last day that counts.
    currency : str
    names : list of str
        Of the customers, by their place; their identifier where they have none.
    model : str or None
        The default curve in charge, in short; ``None`` without one, and then `why` says why.
    """

    day: date
    currency: str
    how: Parameters
    portfolio: Portfolio
    names: list[str]
    measured: Measured
    groups: Groups
    rolls: RollRates
    lost: Lost
    provisioned: Provisioned
    judged: Eligibility
    due: Due
    model: str | None
    why: str


def _report(
    workspace: Workspace, store: Store, day: date, how: Parameters, by: GroupBy | None
) -> Report:
    from features.history import MICROSECONDS_A_DAY, build
    from models.factoring import eligibility
    from models.late_interest import late_interest
    from models.portfolio import portfolio_at
    from models.provisions import cohort, lost_after, provision, roll_rates
    from models.receivables import measure

    as_of, described = day_number(day) + 1, store.ledger
    facts = store.read(versions=True, known_at=as_of * MICROSECONDS_A_DAY)
    history = build(facts, described.observed_from)
    seen = portfolio_at(history, as_of)
    speaking, why = _speaking(workspace, described.id)
    if speaking is None and by == "grade":
        stop(f"grades are the model's, and {why}")
    followed = cohort(seen, how.provision)
    asked = None if speaking is None else Asked(speaking, history)
    groups = _groups(by or ("none" if asked is None else "grade"), asked, seen, followed.invoice)
    rolls = roll_rates(
        followed.reached_cents, groups.then, len(groups.names), how.provision.fewest_invoices
    )
    said = None if asked is None else asked.default_probability(seen, how)
    return Report(
        day=day,
        currency=described.currency,
        how=how,
        portfolio=seen,
        names=_names(facts, history),
        measured=measure(seen, how.measures),
        groups=groups,
        rolls=rolls,
        lost=lost_after(seen, followed, days=365),
        provisioned=provision(seen, rolls, groups.now, how.provision, said),
        judged=eligibility(seen, how.factoring),
        due=late_interest(seen, how.late_interest),
        model=None if asked is None else asked.name,
        why=why,
    )


def _names(facts: Facts, history: History) -> list[str]:
    rows = facts["customers"]
    named = dict(zip(rows["customer_id"], rows["name"], strict=True))
    return [named.get(customer) or customer for customer in history.customers.tolist()]


def _speaking(workspace: Workspace, ledger_id: str) -> tuple[Speaking | None, str]:
    """Load the default curve in charge, or say why there is none."""
    from models.bundle import BundleError
    from models.policy import PolicyError
    from serving.speaking import Speaking

    if not workspace.champions.exists():
        return None, "no model is in charge: run `encours train`, then `encours promote`"
    try:
        speaking = Speaking.load(workspace, ledger_id)
    except (BundleError, PolicyError) as error:
        return None, f"the model in charge cannot be used: {error}"
    if speaking.default is None:
        reason = speaking.champions.abstentions.get("default", {}).get("reason", "no reason given")
        return None, f"the default curve abstains: {reason}"
    return speaking, ""


class Asked:
    """The default curve in charge, asked about customers at dates.

    Parameters
    ----------
    speaking : Speaking
        With a default curve.
    history : History
    """

    def __init__(self, speaking: Speaking, history: History) -> None:
        from models.targets import DEFAULT_DEFINITIONS, find_defaults

        if speaking.default is None:
            raise ValueError("there is no default curve to ask")
        self.name = f"default curve {speaking.default.sha256[:12]}"
        self._curve = speaking.default.curve
        self._history = history
        definition = DEFAULT_DEFINITIONS[speaking.policy.default_definition]
        self._defaults = find_defaults(history, definition)

    def within(
        self,
        customer: NDArray[np.int64],
        as_of: NDArray[np.int32],
        horizon_days: NDArray[np.int32],
    ) -> NDArray[np.float64]:
        """Probabilities of default within horizons: 1 in default, NaN where the curve abstains.

        It abstains, as for an assessment, of a customer of whom nothing is known or who bought
        nothing for a year.
        """
        import numpy as np

        from features.build import CUSTOMER_FEATURES, build, customer_spine
        from models import depth
        from models.targets import ACTIVE_DAYS, is_in_default

        if customer.size == 0:
            return np.empty(0)
        X = build(self._history, customer_spine(customer, as_of))
        said = np.full(customer.size, np.nan)
        since_last = X[:, CUSTOMER_FEATURES.index("purchases_days_since_last")]
        letters = depth.letters(X, CUSTOMER_FEATURES)
        speaks = (since_last <= ACTIVE_DAYS) & (letters != depth.FLOOR)
        if speaks.any():
            known = np.ascontiguousarray(X[speaks][:, : len(self._curve.features)])
            horizon = np.clip(horizon_days, self._curve.shortest, self._curve.longest)
            said[speaks] = self._curve.probability(known, horizon[speaks].astype(np.int32))
        said[is_in_default(self._defaults, customer, as_of)] = 1.0
        return said

    def default_probability(self, seen: Portfolio, how: Parameters) -> NDArray[np.float64]:
        """Ask about every invoice on which anything is owed; NaN for the others."""
        import numpy as np

        from models.provisions import horizon_days

        owed = np.flatnonzero(seen.owed_cents > 0)
        horizon = horizon_days(seen, how.provision)[owed]
        said = np.full(seen.owed_cents.size, np.nan)
        as_of = np.full(owed.size, seen.as_of, np.int32)
        said[owed] = self.within(seen.customer[owed], as_of, horizon)
        return said

    def grade_places(
        self, customer: NDArray[np.int64], as_of: NDArray[np.int32]
    ) -> NDArray[np.int64]:
        """Place customers on the master scale at dates; after the last grade where unrated."""
        import numpy as np

        from models.grades import GRADES, HORIZON_DAYS, grade

        within = self.within(customer, as_of, np.full(customer.size, HORIZON_DAYS, np.int32))
        places = np.full(customer.size, len(GRADES), np.int64)
        rated = ~np.isnan(within)
        places[rated] = np.searchsorted(GRADES, grade(within[rated]))
        return places


def _groups(
    by: GroupBy, asked: Asked | None, seen: Portfolio, followed: NDArray[np.int64]
) -> Groups:
    """Tell customers apart, now and when the invoices of the past fell due."""
    import numpy as np

    from models.grades import GRADES

    n = seen.customers.id.size
    if by == "grade" and asked is not None:
        today = np.full(n, seen.as_of, np.int32)
        now = asked.grade_places(np.arange(n), today)
        then = asked.grade_places(seen.customer[followed], seen.due_on[followed])
        return Groups(by, [*GRADES, UNRATED], now, then)
    if by == "none":
        return Groups(by, [ALL], np.zeros(n, np.int64), np.zeros(followed.size, np.int64))
    place = 0 if by == "sector" else 1
    named = [UNKNOWN if group is None else group[place] for group in seen.customers.group]
    names = _largest(named, seen)
    now = np.array([names.index(one if one in names else OTHER) for one in named], np.int64)
    return Groups(by, names, now, now[seen.customer[followed]])


def _largest(named: list[str], seen: Portfolio) -> list[str]:
    """Name the groups that owe most, then the others together."""
    from models.portfolio import by_customer

    owed: dict[str, int] = {}
    for name, cents in zip(named, by_customer(seen, seen.owed_cents).tolist(), strict=True):
        owed[name] = owed.get(name, 0) + cents
    ranked = sorted(owed, key=lambda name: (-owed[name], name))
    return sorted(ranked[:MOST_GROUPS]) + ([OTHER] if len(ranked) > MOST_GROUPS else [])
