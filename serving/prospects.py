"""A prospect: a company that the ledger does not know, described by facts that come with the order.

A CRM holds what a trade reference, an insurer or a group company's books say of a company before
its first invoice. The facts are checked as an import's are, describe the company for this one
assessment, and stay on its entry of the record: from there they are read again for a replay. The
ledger does not get them; once the prospect is a customer, push them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from features.history import Facts, facts_of, first_day
from features.ledger import TABLES, check
from serving.answering import MICROSECOND, AssessmentError
from serving.fact_words import OF_PROSPECTS, WORDS, Words
from serving.facts import CLOCKS_DIFFER, Fault, Faults, faults_of, frame, known_by, stamp
from serving.schemas.facts import ROWS, FactGiven, field_of

Given = Mapping[str, Sequence[FactGiven]]


class Prospect(NamedTuple):
    """A company and what is said of it.

    Attributes
    ----------
    customer_id : str
        The caller's number for it.
    given : dict of str to list of dict
        The rows by table, as sent, without what is empty: for the record.
    """

    customer_id: str
    given: dict[str, list[dict[str, Any]]]

    @classmethod
    def of(cls, given: Given) -> Prospect:
        """Take what was sent.

        Raises
        ------
        ProspectRefused
            If it is not about one company.
        """
        companies = given["customers"]
        if len(companies) != 1:
            raise ProspectRefused({("customers", max(0, len(companies) - 1)): NOT_ONE})
        customer_id: str = companies[0].customer_id  # type: ignore[attr-defined]
        others = {
            (name, place): Fault("customer_id", "another_company")
            for name, rows in given.items()
            for place, row in enumerate(rows)
            if row.customer_id != customer_id  # type: ignore[attr-defined]
        }
        if others:
            raise ProspectRefused(others)
        sent = {name: [row.model_dump(exclude_none=True) for row in given[name]] for name in given}
        return cls(customer_id, {name: rows for name, rows in sent.items() if rows})

    def facts(self, now: datetime, currency: str) -> Facts:
        """Give the facts as they are known at an instant.

        A fact that does not say when it became known was known on its own day, as in an import.

        Raises
        ------
        ProspectRefused
            If a row breaks a rule of the ledger; then none counts.
        """
        faults: Faults = {}
        tables = {}
        for name, rows in self.given.items():
            read = frame(name, [ROWS[name].model_validate(row) for row in rows], None)
            late = read.index[read["recorded_at"] > stamp(now + CLOCKS_DIFFER)]
            faults |= {(name, int(row)): IN_THE_FUTURE for row in late}
            tables[name] = known_by(now - MICROSECOND, read)
        ledger, broken = check(tables, currency)
        faults |= faults_of(broken, "row")
        if faults:
            raise ProspectRefused(faults)
        return facts_of(ledger)


_TABLES = list(TABLES)
NOT_ONE = Fault("customer_id", "not_one_company")
IN_THE_FUTURE = Fault("recorded_at", "recorded_in_the_future")


class Pointed(NamedTuple):
    """A fact at fault: a JSON pointer into the request, the name of the rule, and its words."""

    pointer: str
    reason: str
    words: Words


class ProspectRefused(AssessmentError):
    """The facts do not describe one company, or break a rule of the ledger.

    Attributes
    ----------
    faults : list of Pointed
        One a row, in the order of the tables.
    """

    def __init__(self, faults: Faults) -> None:
        in_order = sorted(faults.items(), key=lambda one: (_TABLES.index(one[0][0]), one[0][1]))
        self.faults = [
            Pointed(_pointer(*row, fault), fault.reason, {**WORDS, **OF_PROSPECTS}[fault.reason])
            for row, fault in in_order
        ]
        first, n = self.faults[0], len(self.faults)
        rows = "1 fact is" if n == 1 else f"{n:,} facts are"
        super().__init__(f"{rows} refused, first {first.pointer}: {first.words.en}")


def _pointer(table: str, row: int, fault: Fault) -> str:
    column = "" if fault.column is None else f"/{field_of(fault.column)}"
    return f"/facts/{table}/{row}{column}"


def observed_from(facts: Facts, ledger_from: int) -> int:
    """Give the first day anything is known of: the ledger's, or that of the facts before it."""
    return min(ledger_from, first_day(facts))
