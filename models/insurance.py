"""What the credit insurer covers of an order, which deadlines run, and where he disagrees with us.

Worked example: an order of 50,000 €, cover (agrément) of 40,000 € at 90 %, nothing owed yet.
36,000 € are insured; 10,000 € are above the cover and 4,000 € are the seller's own share. Owing
15,000 € already, 25,000 € of the cover are left: 22,500 € are insured. The figures of the policy
are in models/insurance.yaml; nothing here reads a file or a clock.

Dates: ``as_of`` is exclusive, as everywhere: *today* is the day before it. Delays count calendar
days, and the last day still counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from itertools import pairwise
from typing import Literal, NamedTuple, get_args

from models import grades
from models.insurance_file import InsuranceError, InsuranceRules, load
from models.strict_yaml import exact

__all__ = [
    "Cover",
    "Deadline",
    "Disagreement",
    "InsuranceError",
    "InsuranceRules",
    "OpenInvoice",
    "OrderCover",
    "Protection",
    "Reason",
    "assess_cover",
    "deadlines",
    "disagreement",
    "in_force",
    "indemnified_on",
    "last_decision",
    "load",
]

Source = Literal["ledger", "file", "http"]
DeadlineKind = Literal["stop_of_deliveries", "threatened_loss_notification"]
A_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Cover:
    """A decision of the insurer on one customer (agrément).

    Parameters
    ----------
    amount_cents : int
        Largest exposure covered, >= 0; 0 is a refusal or a withdrawal.
    insured_rate : float
        Share of the covered exposure that the insurer pays (quotité), in 0–1.
    starts_on, ends_on : date
        First and last day of delivery that it covers; without ``ends_on`` it is permanent.
    source : str
        ``ledger``, ``file`` or ``http``.
    known_at : datetime
        When the decision was known, with its zone: recorded (ledger) or decided (file, http).
    is_stale : bool
        Whether its source could not confirm it now.
    """

    amount_cents: int
    insured_rate: float
    starts_on: date
    ends_on: date | None
    source: Source
    known_at: datetime
    is_stale: bool = False

    def __post_init__(self) -> None:
        if self.amount_cents < 0:
            raise ValueError(f"amount_cents must be >= 0; got {self.amount_cents}")
        if not 0 <= self.insured_rate <= 1:
            raise ValueError(f"insured_rate must be in 0–1; got {self.insured_rate}")
        if self.ends_on is not None and self.ends_on < self.starts_on:
            raise ValueError(f"ends_on {self.ends_on} is before starts_on {self.starts_on}")
        if self.known_at.tzinfo is None:
            raise ValueError("known_at must have a zone")
        if self.source not in get_args(Source):
            raise ValueError(f"source must be one of {get_args(Source)}; got {self.source!r}")

    @property
    def kind(self) -> Literal["permanent", "temporary"]:
        """Whether it has a last day."""
        return "permanent" if self.ends_on is None else "temporary"

    @property
    def is_refusal(self) -> bool:
        """Whether the insurer decided to cover nothing."""
        return self.amount_cents == 0

    @property
    def known_on(self) -> date:
        """First day on which it both runs and is known, UTC."""
        return max(self.starts_on, self.known_at.astimezone(UTC).date())

    def has_ended(self, day: date) -> bool:
        """Whether its last day is before that day."""
        return self.ends_on is not None and self.ends_on < day


def in_force(covers: Iterable[Cover], as_of: date) -> Cover | None:
    """Return the cover decided last among those that run today; a refusal is a decision too.

    Of two decisions known at the same instant, the lower holds.
    """
    today = as_of - A_DAY
    running = [one for one in covers if one.known_on < as_of and not one.has_ended(today)]
    return max(running, key=_recency, default=None)


def last_decision(covers: Iterable[Cover], as_of: date) -> Cover | None:
    """Return the cover in force, else the one that ended last: it tells *ended* from *never*."""
    known = [one for one in covers if one.known_on < as_of]
    running = in_force(known, as_of)
    ended = max(known, key=lambda one: (one.ends_on or date.max, _recency(one)), default=None)
    return running or ended


def _recency(cover: Cover) -> tuple[date, datetime, int, float, int, date]:
    """Order decisions by when they were known, then from the most to the least generous."""
    amount, rate = cover.amount_cents, cover.insured_rate
    end = (cover.ends_on or date.max).toordinal()
    return (cover.known_on, cover.known_at, -amount, -rate, -end, cover.starts_on)


class Reason(NamedTuple):
    """Why a part of the order is not insured.

    ``cents`` is the part left uninsured by it and not by the reasons before it: 0 for what only
    needs saying. The parts of all reasons add up to the uninsured part.
    """

    id: str
    cents: int
    fr: str
    en: str


@dataclass(frozen=True)
class Protection:
    """What the insurer pays of any amount owed: the cover applied, without customer or order.

    Parameters
    ----------
    covered_cents : int
        Largest exposure covered.
    insured_rate : Decimal
        Share of it that the insurer pays, in 0–1.
    deductible_cents : int
        Franchise, taken off the indemnity.
    maximum_liability_cents : int or None
        Most that the insurer still pays this year.
    """

    covered_cents: int
    insured_rate: Decimal
    deductible_cents: int = 0
    maximum_liability_cents: int | None = None

    def indemnity_cents(self, owed_cents: Decimal | int) -> Decimal:
        """Return what the insurer pays if that much, undisputed, is never paid: exact cents.

        min(maximum liability, max(0, rate × min(owed, cover) − deductible)).
        """
        owed = max(Decimal(0), Decimal(owed_cents))
        share = self.insured_rate * min(owed, Decimal(self.covered_cents))
        paid = max(Decimal(0), share - self.deductible_cents)
        most = self.maximum_liability_cents
        return paid if most is None else min(paid, Decimal(most))


@dataclass(frozen=True)
class OrderCover:
    """The insured part of one order: received + insured + uninsured = the order, to the cent.

    Attributes
    ----------
    order_amount_cents : int
        The order's amount on credit.
    received_cents : int
        Part of it that the customer, in credit, has already paid: nothing to insure.
    insured_cents, uninsured_cents : int
        What the insurer would pay of the rest, and what he would not.
    covered_cents : int
        Cover that this order can use, shared with `used_cents`; 0 when it is excluded. Fits
        ``Situation.covered_cents``.
    insured_rate : float
        Share of it that the insurer pays; 0 when the order is excluded.
    used_cents : int
        What the customer owes, without what is disputed, and which uses the cover first.
    is_stale : bool
        Whether the cover could not be confirmed now.
    reasons : tuple of Reason
        Why the uninsured part is not insured; empty only when everything is.
    protection : Protection
        The same for any amount: see :meth:`insured_part`.
    """

    order_amount_cents: int
    received_cents: int
    insured_cents: int
    uninsured_cents: int
    covered_cents: int
    insured_rate: float
    used_cents: int
    is_stale: bool
    reasons: tuple[Reason, ...]
    protection: Protection

    @property
    def is_excluded(self) -> bool:
        """Whether the insurer covers no part of this order, whatever is owed."""
        return self.covered_cents == 0

    def insured_part(self, on_credit_cents: Decimal | int) -> Decimal:
        """Return the insured part of another amount on credit, such as what a deposit leaves.

        Exact cents, of what is owed once the money already received is used.
        """
        added = max(Decimal(0), Decimal(on_credit_cents) - self.received_cents)
        pays = self.protection.indemnity_cents
        return pays(self.used_cents + added) - pays(self.used_cents)


def assess_cover(
    cover: Cover | None,
    exposure_cents: int,
    disputed_cents: int,
    longest_overdue_days: int,
    order_amount_cents: int,
    terms_days: int,
    as_of: date,
    rules: InsuranceRules,
    *,
    delivers_on: date | None = None,
    indemnified_cents: int = 0,
    is_unverified: bool = False,
) -> OrderCover:
    """Split an order into what the insurer covers and what he does not, with the reasons.

    Parameters
    ----------
    cover : Cover or None
        From :func:`last_decision`: one that ended is told apart from none at all.
    exposure_cents : int
        What the customer owes without this order, disputed invoices included; negative when the
        customer is in credit. It uses the cover first.
    disputed_cents : int
        Disputed part of it, >= 0; it uses no cover while the policy excludes disputes.
    longest_overdue_days : int
        Days since the due date of the oldest unpaid *undisputed* invoice; 0 or less for none.
    order_amount_cents : int
        Amount on credit, >= 0.
    terms_days : int
        From the order's invoice to its due date, >= 0.
    as_of : date
        Exclusive: today is the day before.
    rules : InsuranceRules
    delivers_on : date, optional
        Today by default.
    indemnified_cents : int, optional
        What the insurer has already paid in this insurance year, all customers together, >= 0.
    is_unverified : bool, optional
        There is no cover because its source is down, and not because the insurer gave none.

    Notes
    -----
    Consecutive orders take consecutive parts of the cover, so that no part counts twice: the sum
    of their insured parts is at most rate × cover.
    """
    numbers = (disputed_cents, order_amount_cents, terms_days, indemnified_cents)
    if min(numbers) < 0:
        raise ValueError(
            "disputed_cents, order_amount_cents, terms_days and indemnified_cents must be >= 0; "
            f"got {numbers}"
        )
    delivery = delivers_on or as_of - A_DAY
    received = min(order_amount_cents, max(0, -exposure_cents))
    on_credit = order_amount_cents - received
    excluded = [
        *_exclusions_of_cover(cover, as_of, delivery, is_unverified=is_unverified),
        *_exclusions_of_policy(longest_overdue_days, terms_days, rules),
    ]
    protection = _protection(None if excluded else cover, rules, indemnified_cents)
    used = max(0, exposure_cents - (disputed_cents if rules.excludes_disputed else 0))
    parts = [
        *(Reason(id, 0 if i else on_credit, fr, en) for i, (id, fr, en) in enumerate(excluded)),
        *([] if excluded else _partial_reasons(protection, used, on_credit)),
        *_notes(cover, disputed_cents if rules.excludes_disputed else 0),
    ]
    uninsured = sum(reason.cents for reason in parts)
    return OrderCover(
        order_amount_cents=order_amount_cents,
        received_cents=received,
        insured_cents=on_credit - uninsured,
        uninsured_cents=uninsured,
        covered_cents=protection.covered_cents,
        insured_rate=float(protection.insured_rate),
        used_cents=used,
        is_stale=is_unverified or (cover is not None and cover.is_stale),
        reasons=tuple(parts),
        protection=protection,
    )


_Words = tuple[str, str, str]  # id, French, English


def _exclusions_of_cover(
    cover: Cover | None, as_of: date, delivery: date, *, is_unverified: bool
) -> Iterator[_Words]:
    if cover is None:
        yield (
            ("cover_unverified", "agrément non vérifiable", "the cover cannot be verified")
            if is_unverified
            else ("no_cover", "aucun agrément de l’assureur", "the insurer gave no cover")
        )
    elif cover.is_refusal and not cover.has_ended(as_of - A_DAY):
        since = cover.starts_on
        yield (
            "refused",
            f"agrément refusé ou retiré depuis le {_fr(since)}",
            f"cover refused or withdrawn since {since}",
        )
    elif cover.ends_on is not None and cover.has_ended(as_of - A_DAY):
        yield (
            "ended",
            f"agrément échu le {_fr(cover.ends_on)}",
            f"the cover ended on {cover.ends_on}",
        )
    elif cover.ends_on is not None and cover.has_ended(delivery):
        yield (
            "ends_before_delivery",
            f"agrément échu le {_fr(cover.ends_on)}, avant la livraison du {_fr(delivery)}",
            f"the cover ends on {cover.ends_on}, before the delivery of {delivery}",
        )
    elif cover.starts_on > delivery:
        yield (
            "starts_after_delivery",
            f"agrément valable à partir du {_fr(cover.starts_on)} seulement",
            f"the cover starts on {cover.starts_on} only",
        )


def _exclusions_of_policy(
    longest_overdue_days: int, terms_days: int, rules: InsuranceRules
) -> Iterator[_Words]:
    if longest_overdue_days > rules.maximum_extension_days:
        most = rules.maximum_extension_days
        yield (
            "overdue_beyond_extension",
            f"une facture non litigieuse est échue depuis {longest_overdue_days} jours ; au-delà "
            f"de {most} jours, les nouvelles livraisons ne sont plus garanties",
            f"an undisputed invoice is {longest_overdue_days} days overdue; beyond {most} days no "
            "further delivery is covered",
        )
    if terms_days > rules.maximum_terms_days:
        most = rules.maximum_terms_days
        yield (
            "terms_too_long",
            f"délai de paiement de {terms_days} jours, au-delà des {most} jours garantis",
            f"terms of {terms_days} days, beyond the {most} days covered",
        )


def _protection(cover: Cover | None, rules: InsuranceRules, indemnified_cents: int) -> Protection:
    most = rules.maximum_liability_cents
    left = None if most is None else max(0, most - indemnified_cents)
    if cover is None:
        return Protection(0, Decimal(0), rules.deductible_cents, left)
    rate = exact(cover.insured_rate)
    return Protection(cover.amount_cents, rate, rules.deductible_cents, left)


def _partial_reasons(protection: Protection, used: int, on_credit: int) -> Iterator[Reason]:
    """Take from the order, one after the other, what each term of the cover leaves uninsured."""
    covered = protection.covered_cents
    free = Protection(covered, protection.insured_rate)
    deducted = Protection(covered, protection.insured_rate, protection.deductible_cents)
    alone = min(on_credit, covered)
    within = _added(lambda owed: Decimal(min(owed, covered)), used, on_credit)
    insured = [_added(one.indemnity_cents, used, on_credit) for one in (free, deducted, protection)]
    left = [on_credit, alone, within, *insured]
    lost = [before - after for before, after in pairwise(left)]
    for cents, (id, fr, en) in zip(lost, _PARTIAL_WORDS, strict=True):
        if cents:
            yield Reason(id, cents, *_filled(fr, en, cents, protection, used))


def _added(amount_of: Callable[[int], Decimal], used: int, on_credit: int) -> int:
    """Return what the order adds, each total rounded down: consecutive orders lose no cent."""
    before, after = (
        int(amount_of(owed).to_integral_value(ROUND_FLOOR)) for owed in (used, used + on_credit)
    )
    return after - before


_PARTIAL_WORDS: tuple[_Words, ...] = (
    (
        "above_cover",
        "{fr_part} dépassent l’agrément de {fr_cover}",
        "{part} are above the cover of {cover}",
    ),
    (
        "used_up",
        "{fr_part} n’ont plus de place dans l’agrément de {fr_cover} : {fr_used} sont déjà dus",
        "{part} find no room in the cover of {cover}: {used} are already owed",
    ),
    (
        "own_share",
        "{fr_part} restent à la charge du vendeur : quotité garantie de {fr_rate} %",
        "{part} stay with the seller: the insured share is {rate} %",
    ),
    (
        "deductible",
        "{fr_part} de franchise par sinistre",
        "{part} of deductible per claim",
    ),
    (
        "maximum_liability",
        "{fr_part} dépassent le plafond d’indemnisation",
        "{part} are above the maximum liability",
    ),
)


def _filled(fr: str, en: str, cents: int, protection: Protection, used: int) -> tuple[str, str]:
    rate = f"{100 * protection.insured_rate.normalize():f}".rstrip("0").rstrip(".")
    words = {"part": cents, "cover": protection.covered_cents, "used": used}
    shown = {
        **{name: _money(value) for name, value in words.items()},
        **{f"fr_{name}": _fr_money(value) for name, value in words.items()},
        "rate": rate,
        "fr_rate": rate.replace(".", ","),
    }
    return fr.format(**shown), en.format(**shown)


def _notes(cover: Cover | None, disputed_cents: int) -> Iterator[Reason]:
    """Say what takes nothing from this order and still matters."""
    if disputed_cents:
        yield Reason(
            "disputed",
            0,
            f"{_fr_money(disputed_cents)} d’encours litigieux ne sont pas garantis tant que le "
            "litige dure",
            f"{_money(disputed_cents)} already owed are disputed, and not covered meanwhile",
        )
    if cover is not None and cover.is_stale:
        yield Reason(
            "cover_stale",
            0,
            "agrément non confirmé à cette date : dernière décision connue",
            "the cover is not confirmed as of now: last known decision",
        )


class OpenInvoice(NamedTuple):
    """An unpaid invoice: what is open of it, in cents, and whether it is disputed."""

    invoice_id: str
    due_on: date
    open_cents: int
    is_disputed: bool = False


class Deadline(NamedTuple):
    """What the policy asks about one overdue invoice, and until when.

    ``due_on`` is the last day to do it; ``days_left`` is 0 on that day and negative when missed.
    """

    invoice_id: str
    kind: DeadlineKind
    due_on: date
    days_left: int
    open_cents: int
    is_disputed: bool
    fr: str
    en: str


def deadlines(
    invoices: Iterable[OpenInvoice], as_of: date, rules: InsuranceRules
) -> tuple[Deadline, ...]:
    """List the deadlines of overdue invoices: undisputed first, the most urgent first.

    Parameters
    ----------
    invoices : iterable of OpenInvoice
        Of one customer or of all; those not overdue today have no deadline.
    as_of : date
        Exclusive: today is the day before.
    rules : InsuranceRules

    Notes
    -----
    While the policy excludes disputes, a disputed invoice stops no delivery: only the insurer is
    told, and the words say that it is disputed. Calendar days: a deadline on a Sunday stays there.
    """
    today = as_of - A_DAY
    overdue = [one for one in invoices if one.due_on < today and one.open_cents > 0]
    found = [
        _deadline(invoice, kind, days, today, rules)
        for invoice in overdue
        for kind, days in _delays(invoice, rules)
    ]
    return tuple(sorted(found, key=lambda d: (d.is_disputed, d.days_left, d.kind, d.invoice_id)))


def _delays(invoice: OpenInvoice, rules: InsuranceRules) -> Iterator[tuple[DeadlineKind, int]]:
    if not (invoice.is_disputed and rules.excludes_disputed):
        yield "stop_of_deliveries", rules.stop_of_deliveries_days
    yield "threatened_loss_notification", rules.threatened_loss_notification_days


_DEADLINE_WORDS: dict[DeadlineKind, tuple[str, str]] = {
    "stop_of_deliveries": ("dernier jour pour livrer ce client", "last day to deliver"),
    "threatened_loss_notification": (
        "déclaration de menace de sinistre à l’assureur",
        "threatened-loss notification to the insurer",
    ),
}


def _deadline(
    invoice: OpenInvoice, kind: DeadlineKind, days: int, today: date, rules: InsuranceRules
) -> Deadline:
    due_on = invoice.due_on + timedelta(days=days)
    left = (due_on - today).days
    fr, en = _DEADLINE_WORDS[kind]
    if invoice.is_disputed:
        fr, en = f"{fr} (facture litigieuse)", f"{en} (disputed invoice)"
    fr_left, en_left = _left(left)
    return Deadline(
        invoice.invoice_id,
        kind,
        due_on,
        left,
        invoice.open_cents,
        invoice.is_disputed,
        f"{invoice.invoice_id} : {fr}, au plus tard le {_fr(due_on)} ({fr_left})",
        f"{invoice.invoice_id}: {en}, by {due_on} at the latest ({en_left})",
    )


def _left(days: int) -> tuple[str, str]:
    """Say how long is left, or how long ago the last day was.

    >>> _left(0), _left(-1)
    (('aujourd’hui', 'today'), ('dépassé depuis 1 jour', 'missed by 1 day'))
    """
    if days == 0:
        return "aujourd’hui", "today"
    n, s = abs(days), "s" if abs(days) > 1 else ""
    if days < 0:
        return f"dépassé depuis {n} jour{s}", f"missed by {n} day{s}"
    return f"reste {n} jour{s}", f"{n} day{s} left"


def indemnified_on(notified_on: date, rules: InsuranceRules) -> date:
    """Return the day the indemnity falls due: the waiting period (carence) after notification."""
    return notified_on + timedelta(days=rules.waiting_period_days)


class Disagreement(NamedTuple):
    """Where our probability and the insurer's decision contradict each other: worth a look."""

    kind: Literal["insurer_refuses_low_risk", "insurer_covers_high_risk"]
    default_probability: float
    grade: str
    fr: str
    en: str


def disagreement(
    default_probability: float | None,
    cover: Cover | None,
    wanted_cents: int,
    as_of: date,
    rules: InsuranceRules,
) -> Disagreement | None:
    """Compare our view with the insurer's; ``None`` when they agree or one of them says nothing.

    Parameters
    ----------
    default_probability : float or None
        Within 365 days, in 0–1, as the grade reads it; ``None`` when the curve abstains.
    cover : Cover or None
        From :func:`last_decision`; one that ended counts as withdrawn.
    wanted_cents : int
        What it would have to cover: what is owed, and this order.
    as_of : date
        Exclusive: today is the day before.
    rules : InsuranceRules
    """
    if default_probability is None or cover is None:
        return None
    grade = str(grades.grade(default_probability))
    risk = exact(default_probability)
    shown = f"{100 * default_probability:.1f}"
    fr_risk, en_risk = f"{shown.replace('.', ',')} % à un an, classe {grade}", f"{shown} %"
    refuses = cover.is_refusal or cover.has_ended(as_of - A_DAY)
    if refuses and risk <= rules.disagreement.low_risk_at_most_rate:
        return Disagreement(
            "insurer_refuses_low_risk",
            default_probability,
            grade,
            f"L’assureur ne garantit pas ou plus ce client, que nous jugeons sûr ({fr_risk}) : "
            "demandez-lui ses raisons avant d’accorder du crédit.",
            f"The insurer does not cover this customer, whom we find safe ({en_risk} within a "
            f"year, grade {grade}): ask him why before giving credit.",
        )
    covers_all = not refuses and cover.amount_cents >= wanted_cents
    if covers_all and risk > rules.disagreement.high_risk_above_rate:
        return Disagreement(
            "insurer_covers_high_risk",
            default_probability,
            grade,
            f"L’assureur garantit tout l’encours d’un client que nous jugeons risqué ({fr_risk}) : "
            "il peut réduire son agrément ; respectez les délais de la police.",
            f"The insurer covers all of a customer whom we find risky ({en_risk} within a year, "
            f"grade {grade}): he may reduce his cover; keep the policy's deadlines.",
        )
    return None


def _fr(day: date) -> str:
    return f"{day:%d/%m/%Y}"


def _money(cents: int) -> str:
    """Write cents as units, for a sentence.

    >>> _money(1234500)
    '12,345.00'
    """
    return f"{Decimal(cents) / 100:,.2f}"


def _fr_money(cents: int) -> str:
    """Write cents as units, the French way.

    >>> _fr_money(1234500)
    '12 345,00'
    """
    return _money(cents).replace(",", " ").replace(".", ",")
