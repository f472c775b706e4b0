"""What the seller of a simulated trade writes down of it, as the tables of a ledger.

A fact is dated when it happened and recorded when the clerk got to it, mostly at once, sometimes
weeks later; what is not recorded by the ledger's end is not in the tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import NDArray
from pandas.api.extensions import ExtensionArray

from features.ledger import INSOLVENCY_KINDS, SETTLEMENT_KINDS, TABLES
from features.simulated_trade import (
    COUNTRIES,
    LIQUIDATION,
    NEVER,
    SECTORS,
    Bills,
    Bools,
    Customers,
    Disputes,
    Floats,
    Flows,
    Ints,
    Life,
)

if TYPE_CHECKING:
    from features.simulator import World

HEADS = ("Mar", "Bel", "Cour", "Val", "Ros", "Ger", "Lan", "Mont", "Del", "Fer", "Cham", "Vau")
TAILS = ("vanne", "tier", "celle", "brun", "lière", "quet", "sard", "teuil", "gny", "rieux", "lon")
FORMS = ("SARL", "SAS", "SA", "et Fils")
FIRST_NAMES = ("Alice", "Bruno", "Claire", "Denis", "Élise", "Gaëlle", "Hugo", "Inès", "Karine")


@dataclass(frozen=True)
class Clerk:
    """Who writes the facts down: most on the day or the next, some weeks later."""

    rng: Generator
    world: World
    customer_ids: ExtensionArray

    @classmethod
    def of(cls, rng: Generator, world: World, customers: Customers) -> Clerk:
        """Hire a clerk who numbers `customers` in their order."""
        return cls(rng, world, _numbered("C", customers.n))

    def delays(self, n: int) -> Ints:
        """Draw days of back-dating, mostly 0."""
        late = self.rng.random(n) < self.world.simulation.backdated_rate
        return late * self.rng.integers(5, 31, n)

    def times(self, day: Ints, delays: Ints) -> NDArray[np.datetime64]:
        """Record facts of `day`, in office hours of that or the next working day, UTC."""
        on = self.world.working(day + delays + (self.rng.random(len(day)) < 0.4))
        seconds = on * 86_400 + self.rng.integers(6 * 3_600, 18 * 3_600, len(day))
        return seconds.astype("datetime64[s]").astype("datetime64[ns]")

    def known(self, day: Ints, recorded_at: NDArray[np.datetime64]) -> Bools:
        """Say which facts happened and were recorded before the ledger ends."""
        too_late = np.datetime64(self.world.ends_on + 2, "D")
        return (day <= self.world.ends_on) & (recorded_at < too_late)

    def table(self, name: str, prefix: str, facts: dict[str, Any]) -> pd.DataFrame:
        """Lay out the known facts in order of date, numbered, with dates for day numbers.

        A day after the ledger's end is not a date yet.
        """
        day = facts[str(TABLES[name].happened_on)]
        recorded_at = self.times(day, self.delays(len(day)))
        kept = np.argsort(day, kind="stable")
        kept = kept[self.known(day, recorded_at)[kept]]
        dates = {c: _dates(v, self.world.ends_on) for c, v in facts.items() if c.endswith("_on")}
        rows = pd.DataFrame({**facts, **dates, "recorded_at": recorded_at})
        rows = rows.iloc[kept].reset_index(drop=True)
        return rows.assign(**{TABLES[name].key: _numbered(prefix, len(kept))})

    def repeated(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Plant duplicates: some rows come twice in a row."""
        again = self.rng.random(len(rows)) < self.world.simulation.duplicate_rate
        return rows.iloc[np.repeat(np.arange(len(rows)), 1 + again)].reset_index(drop=True)


def sales_tables(
    clerk: Clerk, bills: Bills, disputes: Disputes, flows: Flows
) -> dict[str, pd.DataFrame]:
    """Write invoices, settlements and disputes; what settles an unknown invoice is unknown.

    The settlements of one invoice are back-dated together, so that none is known before an
    earlier one that it undoes.
    """
    recorded_at = clerk.times(bills.issued, clerk.delays(bills.n))
    known = clerk.known(bills.issued, recorded_at)
    year = bills.issued.astype("datetime64[D]").astype("datetime64[Y]").astype("int64") + 1970
    prefix = "F-" + pd.Series(year).astype("str")
    numbers = _numbered(prefix, bills.n, 6, before=np.searchsorted(year, year))
    debtors = clerk.customer_ids.take(bills.customer)
    invoices = {
        "invoice_id": numbers,
        "customer_id": debtors,
        "issued_on": _dates(bills.issued),
        "due_on": _dates(bills.due),
        "amount_cents": bills.cents,
        "recorded_at": recorded_at,
    }
    flow_times = clerk.times(flows.day, clerk.delays(bills.n)[flows.invoice])
    kept = np.lexsort((flows.invoice, flows.day))
    kept = kept[(clerk.known(flows.day, flow_times) & known[flows.invoice])[kept]]
    flows = flows.where(kept)
    settlements = {
        "settlement_id": _numbered("R", len(kept), 7),
        "customer_id": debtors.take(flows.invoice),
        "invoice_id": numbers.take(np.where(flows.named, flows.invoice, -1), allow_fill=True),
        "kind": _words(SETTLEMENT_KINDS, flows.kind),
        "settled_on": _dates(flows.day),
        "amount_cents": flows.cents,
        "recorded_at": flow_times[kept],
    }
    invoice, opened, closed = (column[known[disputes.invoice]] for column in disputes)
    disputed = {
        "customer_id": debtors.take(invoice),
        "invoice_id": numbers.take(invoice),
        "opened_on": opened,
        "closed_on": closed,
    }
    return {
        "invoices": clerk.repeated(pd.DataFrame(invoices)[known]),
        "settlements": clerk.repeated(pd.DataFrame(settlements)),
        "disputes": clerk.table("disputes", "D", disputed),
    }


def customers_table(clerk: Clerk, customers: Customers) -> pd.DataFrame:
    """Name the customers; each was known some weeks before its first order, or years before."""
    n, natural, joined = len(clerk.customer_ids), customers.natural, customers.joined

    def drawn(words: Sequence[str]) -> pd.Series:
        return pd.Series(_words(words, clerk.rng.integers(0, len(words), n)))

    family, first, form = drawn(HEADS) + drawn(TAILS), drawn(FIRST_NAMES), drawn(FORMS)
    trade = pd.Series(_words([word for _, _, _, word in SECTORS], customers.sector))
    company = trade + " " + family + " " + form
    known_for = clerk.rng.integers(40, np.where(joined > 0, 80, 3_000))
    return pd.DataFrame(
        {
            "customer_id": clerk.customer_ids,
            "name": company.where(~natural, first + " " + family),
            "country": _words([code for code, _, _ in COUNTRIES], customers.country),
            "sector": _words([code for code, _, _, _ in SECTORS], customers.sector),
            "is_natural_person": natural,
            "recorded_at": _dates(clerk.world.month_starts[joined] - known_for),
        }
    )


def covers_table(rng: Generator, clerk: Clerk, customers: Customers, life: Life) -> pd.DataFrame:
    """Insure the larger customers; the insurer halves, then withdraws, as stress grows.

    He sees stress two months late, sometimes misses it, and withdraws after a judgment.
    """
    world = clerk.world
    monthly = customers.cents * life.orders.sum(axis=0) / (1 + life.trades.sum(axis=0))
    monthly[customers.natural] = 0
    insured = np.flatnonzero(monthly > np.quantile(monthly, 0.7))
    n = len(insured)
    full = np.ceil(5 * monthly[insured] / 500_000).astype("int64") * 500_000
    starts = world.month_starts[customers.joined[insured]]

    def stressed(threshold: Floats) -> Ints:
        above = life.trades[:, insured] & (life.stress[:, insured] > threshold)
        day = world.month_starts[np.minimum(above.argmax(axis=0) + 2, world.months)]
        seen = above.any(axis=0) & (rng.random(n) < 0.8)
        return np.where(seen, day + rng.integers(1, 28, n), NEVER)

    judged = life.failed_on[insured] + rng.integers(3, 15, n)
    withdrawn = np.maximum(np.minimum(stressed(rng.normal(2.6, 0.3, n)), judged), starts + 10)
    halved = stressed(rng.normal(1.7, 0.3, n))
    halved[(halved >= withdrawn) | (halved < starts + 10)] = NEVER
    begins = np.concatenate([starts, halved, withdrawn])
    ends = np.concatenate([np.minimum(halved, withdrawn), withdrawn, np.full(n, NEVER)])
    facts = {
        "customer_id": clerk.customer_ids.take(np.tile(insured, 3)),
        "starts_on": begins,
        "ends_on": ends - 1,
        "amount_cents": np.concatenate([full, full // 2, 0 * full]),
        "insured_rate": np.full(3 * n, 0.9),
    }
    return clerk.table("insurance_covers", "A", facts)


def limits_table(rng: Generator, clerk: Clerk, customers: Customers, life: Life) -> pd.DataFrame:
    """Allow most customers about three months of purchases, reviewed each year they still buy.

    The seller knows his own sales and nothing of stress.
    """
    world = clerk.world
    monthly = customers.cents * life.orders.sum(axis=0) / (1 + life.trades.sum(axis=0))
    years = np.arange(world.simulation.years)
    allowed = np.flatnonzero(rng.random(customers.n) < 0.8)
    who, year = np.tile(allowed, len(years)), np.repeat(years, len(allowed))
    month = customers.joined[who] + 12 * year
    kept = month < world.months
    who, month = who[kept], month[kept]
    kept = life.trades[month, who]
    who, month = who[kept], month[kept]
    cents = 3 * monthly[who] * np.exp(rng.normal(0, 0.25, len(who)))
    facts = {
        "customer_id": clerk.customer_ids.take(who),
        "decided_on": world.month_starts[month],
        "amount_cents": np.ceil(cents / 100_000).astype("int64") * 100_000,
    }
    return clerk.table("credit_limits", "L", facts)


def insolvencies_table(rng: Generator, clerk: Clerk, life: Life) -> pd.DataFrame:
    """Publish the judgments; a third of the rescues ends in a liquidation within a year or so."""
    failed = np.flatnonzero(life.failed_on < NEVER)
    converted = failed[(life.failure[failed] != LIQUIDATION) & (rng.random(len(failed)) < 0.35)]
    later = life.failed_on[converted] + rng.integers(90, 420, len(converted))
    kinds = np.concatenate([life.failure[failed], np.full(len(converted), LIQUIDATION)])
    facts = {
        "customer_id": clerk.customer_ids.take(np.concatenate([failed, converted])),
        "kind": _words(INSOLVENCY_KINDS, kinds),
        "opened_on": np.concatenate([life.failed_on[failed], clerk.world.working(later)]),
    }
    return clerk.table("insolvency_events", "P", facts)


def statements_table(
    rng: Generator, clerk: Clerk, customers: Customers, life: Life
) -> pd.DataFrame:
    """Publish yearly accounts of the larger companies, 4 to 9 months after the year's end.

    Margins and equity shrink with the stress of the year; the most stressed often do not file.
    """
    starts = clerk.world.month_starts
    files = np.flatnonzero(~customers.natural & (customers.size > 0))
    first_month = starts[0].astype("datetime64[D]").astype("datetime64[M]")
    january = -int(first_month.astype("int64")) % 12
    quarters_before = rng.choice(4, len(files), p=(0.72, 0.10, 0.08, 0.10))
    years = np.arange(-1, clerk.world.simulation.years + 1)
    after = (january + 12 * years[:, None] - 3 * quarters_before).ravel()  # month after closing
    who = np.tile(files, len(years))
    closed = (first_month + after).astype("datetime64[D]").astype("int64") - 1
    published = closed + rng.integers(122, 275, len(closed))
    seen = life.stress[np.clip(after - 1, 0, clerk.world.months - 1), who]
    stress = seen + rng.normal(0, 0.5, len(who))

    yearly = 12 * customers.cents * customers.revenue * life.orders.mean(axis=0)
    revenue = 5_000_000 + yearly[who] * np.exp(rng.normal(0, 0.08, len(who)) - 0.04 * stress)
    operating = revenue * (0.055 - 0.025 * stress + rng.normal(0, 0.02, len(who)))
    assets = revenue * rng.uniform(0.5, 0.9, len(who))
    equity = assets * np.minimum(0.36 - 0.09 * stress + rng.normal(0, 0.06, len(who)), 0.9)
    debt = (assets - equity) * rng.uniform(0.25, 0.45, len(who))
    before_tax = operating - 0.04 * debt
    filed = rng.random(len(who)) < 0.95 - 0.1 * np.clip(stress, 0, 4)
    filed &= published < life.failed_on[who]
    facts = {
        "customer_id": clerk.customer_ids.take(who),
        "closed_on": closed,
        "published_on": published,
        "revenue_cents": revenue.astype("int64"),
        "operating_income_cents": operating.astype("int64"),
        "net_income_cents": (before_tax - 0.25 * np.maximum(before_tax, 0)).astype("int64"),
        "total_assets_cents": assets.astype("int64"),
        "equity_cents": equity.astype("int64"),
        "financial_debt_cents": debt.astype("int64"),
        "current_assets_cents": (assets * rng.uniform(0.5, 0.75, len(who))).astype("int64"),
        "current_liabilities_cents": (assets - equity - 0.6 * debt).astype("int64"),
    }
    facts = {name: column[filed] for name, column in facts.items()}
    return clerk.table("financial_statements", "B", facts)


def orders_table(
    rng: Generator, clerk: Clerk, customers: Customers, life: Life, bills: Bills
) -> pd.DataFrame:
    """Write the orders that precede some invoices, those still open at the end, a few cancelled.

    A deposit stands on orders without an invoice only: the simulated payments pay invoices in full.
    """
    world, rate = clerk.world, clerk.world.simulation.order_rate
    drawn = rng.random(bills.n)
    billed, cancelled = np.flatnonzero(drawn < rate), np.flatnonzero(drawn > 1 - rate / 20)
    waits = rng.integers(2, 31, bills.n)
    still = np.repeat(np.arange(customers.n), rng.poisson(rate * life.orders[-1] * 16 / 30))
    ordered_on = world.ends_on - rng.integers(0, 30, len(still))
    who = np.concatenate([bills.customer[billed], bills.customer[cancelled], still])
    closed = np.concatenate([bills.issued[billed], bills.issued[cancelled], 0 * still + NEVER])
    accepted = np.concatenate(
        [*(bills.issued[i] - waits[i] for i in (billed, cancelled)), ordered_on]
    )
    cents = customers.cents[who] * np.exp(rng.normal(0, 0.7, len(who)))
    cents = np.maximum(cents, 1_000).astype("int64")
    cents[: len(billed)] = bills.cents[billed]
    has_deposit = (np.arange(len(who)) >= len(billed)) & (rng.random(len(who)) < 0.2)
    facts = {
        "customer_id": clerk.customer_ids.take(who),
        "accepted_on": world.preceding[0, world.place(accepted)],
        "amount_cents": cents,
        "deposit_cents": has_deposit * (cents * 3 // 10),
        "closed_on": closed,
    }
    return replace(clerk, rng=rng).table("orders", "O", facts)


def changes_table(rng: Generator, clerk: Clerk, customers: Customers, life: Life) -> pd.DataFrame:
    """Write groups of companies, the customers that matter, and bank details that changed."""
    changes = [
        *_groups(rng, clerk.world, customers),
        *_importance(rng, clerk.world, customers, life),
        *_bank_details(rng, clerk.world, customers),
    ]
    who, day, kind, value = map(np.concatenate, zip(*changes, strict=True))
    facts = {
        "customer_id": clerk.customer_ids.take(who),
        "changed_on": day,
        "kind": pd.array(kind, dtype="str"),
        "value": pd.array(value, dtype="str"),
    }
    return replace(clerk, rng=rng).table("customer_changes", "M", facts)


Change = tuple[Ints, Ints, NDArray[Any], NDArray[Any]]  # who, on which day, kind, value


def _change(who: Ints, day: Ints, kind: str, value: Any) -> Change:
    """Change one thing of some customers; a value for all of them, or for each."""
    return (
        who,
        day,
        np.full(len(who), kind, object),
        np.broadcast_to(np.asarray(value, object), len(who)),
    )


def _groups(rng: Generator, world: World, customers: Customers) -> list[Change]:
    """Group some customers, in threes on average; one in ten leaves his group some day."""
    who = np.flatnonzero(rng.random(customers.n) < world.simulation.grouped_rate)
    rng.shuffle(who)
    number = rng.integers(0, max(1, len(who) // 3), len(who))
    since = world.month_starts[customers.joined[who]]
    names = ("G-" + pd.Series(number + 1).astype("str").str.zfill(4)).to_numpy(object)
    leaves = rng.random(len(who)) < 0.1
    until = since + rng.integers(100, 1_500, len(who))
    return [
        _change(who, since, "group", names),
        _change(who[leaves], until[leaves], "group", None),
    ]


def _importance(rng: Generator, world: World, customers: Customers, life: Life) -> list[Change]:
    """Mark the customers that buy most; some were so from the start, others became it."""
    n = round(world.simulation.important_rate * customers.n)
    bought = customers.cents * life.orders.sum(axis=0)
    who = np.argsort(-bought, kind="stable")[:n]
    since = world.month_starts[customers.joined[who]]
    day = since + np.where(rng.random(n) < 0.5, 0, rng.integers(30, 700, n))
    value = np.where(np.arange(n) < n // 5, "key", "important").astype(object)
    return [_change(who, day, "strategic_importance", value)]


def _bank_details(rng: Generator, world: World, customers: Customers) -> list[Change]:
    """Change bank details now and then: unverified at first, mostly for some days."""
    days = world.ends_on - world.month_starts[customers.joined]
    changes = rng.poisson(world.simulation.bank_change_rate * days / 365)
    who = np.repeat(np.arange(customers.n), changes)
    day = world.ends_on - (rng.random(len(who)) * days[who]).astype("int64")
    verified = day + rng.integers(1, 22, len(who))
    is_found = rng.random(len(who)) < 0.95
    return [
        _change(who, day, "bank_details", "unverified"),
        _change(who[is_found], verified[is_found], "bank_details", "verified"),
    ]


def truth(clerk: Clerk, life: Life) -> pd.DataFrame:
    """List stress and hazard, one row a customer and month in which it trades."""
    customer, month = np.nonzero(life.trades.T)
    return pd.DataFrame(
        {
            "customer_id": clerk.customer_ids.take(customer),
            "month": _dates(clerk.world.month_starts[month]),
            "stress": life.stress[month, customer],
            "insolvency_hazard": life.hazard[month, customer],
        }
    )


def _words(words: Sequence[str], index: Ints) -> ExtensionArray:
    return pd.array(words, dtype="str").take(index)


def _dates(days: Ints, until: int = NEVER) -> NDArray[np.datetime64]:
    """Turn day numbers into dates; those after `until` are not a date."""
    dates = np.where(days <= until, days, 0).astype("datetime64[D]").astype("datetime64[ns]")
    dates[days > until] = np.datetime64("NaT")
    return dates


def _numbered(
    prefix: str | pd.Series, n: int, width: int = 5, before: Ints | int = 0
) -> ExtensionArray:
    """Make `n` identifiers such as ``C-00017``, counting from 1 after `before`."""
    numbers = pd.Series(np.arange(1, n + 1) - before).astype("str").str.zfill(width)
    return (prefix + "-" + numbers).array
