"""The use case: tell when a customer degrades, at each assessment and for the whole portfolio.

An evaluation first puts its alerts on the record, then notes the state that comes to be compared
with: cut short in between, the next one finds the same again, and tells nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import structlog
from sqlalchemy.exc import SQLAlchemyError

from models import alerts as domain
from models.alerts import Due, Evaluated, Reference, State, evaluate
from models.alerts_file import AlertRules
from models.grades import HORIZON_DAYS
from serving.alerts import Alert, Alerts, Source
from serving.person_key import Erased
from serving.references import References
from serving.situation import Seen
from serving.speaking import Views

NOTED_A_TIME = 500
log = structlog.get_logger()


class Watch:
    """Evaluates customers of one ledger against their state of before.

    Parameters
    ----------
    alerts : Alerts
    references : References
    currency : str
        Of the ledger.
    rules : AlertRules, optional
        By default those that come with encours.
    """

    def __init__(
        self,
        alerts: Alerts,
        references: References,
        currency: str,
        rules: AlertRules | None = None,
    ) -> None:
        self._alerts, self._references = alerts, references
        self._currency, self._rules = currency, rules or domain.load()

    def see(self, state: State, assessment_id: str) -> list[Alert]:
        """Evaluate a customer who was just assessed; what fails here fails no assessment."""
        try:
            before = self._references.of(state.customer_id)
            found, reference = self._evaluated(before, state, assessment_id)
            if reference is not None and reference != before:
                self._references.put({state.customer_id: reference})
        except Erased:
            return []  # since he was assessed
        except SQLAlchemyError as error:  # told at the next evaluation: the reference stands
            log.error("watch_failed", error=type(error).__name__)
            return []
        return found

    def see_all(
        self, states: Iterable[State], progress: Callable[[int], None] = lambda _: None
    ) -> list[Alert]:
        """Evaluate many customers, without an assessment of any; return the new alerts.

        Parameters
        ----------
        states : iterable of State
        progress : callable, optional
            Called with how many were evaluated.
        """
        known, raised, noted = self._references.all(), [], {}
        for done, state in enumerate(states, start=1):
            before = known.get(state.customer_id)
            try:
                found, reference = self._evaluated(before, state, None)
            except Erased:
                continue
            raised += found
            if reference is not None and reference != before:
                noted[state.customer_id] = reference
            if len(noted) >= NOTED_A_TIME:
                self._references.put(noted)
                noted = {}
            progress(done)
        self._references.put(noted)
        return raised

    def _evaluated(
        self, before: Reference | None, state: State, assessment_id: str | None
    ) -> tuple[list[Alert], Reference | None]:
        if before is not None and state.at < before.at:
            return [], None  # a state of the past, after a newer one
        found = evaluate(before, state, self._rules, self._currency)
        return self._put(found, state, assessment_id), found.reference

    def _put(self, found: Evaluated, state: State, assessment_id: str | None) -> list[Alert]:
        source = Source(state.at, self._currency, self._rules.sha256, assessment_id)
        told = [self._alerts.tell(state.customer_id, one, source) for one in found.findings]
        self._alerts.end(state.customer_id, found.over, state.at)
        return [one for one in told if one is not None]


def state_of(
    customer_id: str,
    now: datetime,
    model: str | None,
    seen: Seen,
    views: Views,
    *,
    in_default: bool,
) -> State:
    """Give the state of a customer who is assessed."""
    found = seen.found
    cover, covered = _cover_of(seen, now)
    known = seen.exposure
    due = () if found is None or found.outage is not None else seen.deadlines
    return State(
        customer_id=customer_id,
        at=now.astimezone(UTC),
        model=model,
        grade=None if views.standing is None else views.standing.grade,
        default_probability=None if views.default is None else views.default[HORIZON_DAYS],
        data_depth=views.data_depth,
        insolvency_opened="insolvency_opened" in seen.situation.facts,
        in_default=in_default,
        exposure_cents=known.cents,
        overdue_cents=known.overdue_cents,
        longest_overdue_days=known.longest_overdue_days,
        limit_cents=seen.situation.decided_limit_cents,
        cover=cover,
        covered_cents=covered,
        deadlines=tuple(
            Due(one.invoice_id, one.due_on, one.days_left, one.open_cents)
            for one in due
            if one.kind == "threatened_loss_notification" and not one.is_disputed
        ),
    )


def _cover_of(seen: Seen, now: datetime) -> tuple[domain.CoverState, int]:
    """Say what the insurer covers now; nothing is known while he cannot be asked."""
    found = seen.found
    if found is not None and (found.outage is not None or found.is_unverified):
        return "unknown", 0
    if found is None or found.cover is None or found.cover.has_ended(now.date()):
        return "none", 0
    if found.cover.is_refusal:
        return "refused", 0
    return "in_force", found.cover.amount_cents
