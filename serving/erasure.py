"""The use case: a natural person's data is erased, and the record says that it was.

What is recorded about the person stays where it is, for the tree needs it, and cannot be read: the
key is destroyed. Everything else is removed. The steps stand in an order in which each can be cut
short, and the same call again goes on from there:

1. the erasure begins: from now on no process reads or writes about the person;
2. the record gets an entry that says who erased, why, and how much; not whom;
3. facts, results of jobs, rejected rows and what alerts compare with are removed from the files;
4. the key is destroyed, and with it whose it was. Nothing is left to go on from, or to do.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import NamedTuple
from uuid import NAMESPACE_URL, uuid5

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.history import build
from features.store import Store
from features.store_persons import PersonFacts
from features.versions import current
from models import key_file
from models.exposure import exposure
from models.workspace import Workspace
from serving.answer import to_bytes
from serving.audit import Record
from serving.jobs import Jobs
from serving.keys import KIND as KEY
from serving.person_key import PersonKey
from serving.portfolio_job import KIND as PORTFOLIO
from serving.references import References

KIND = "erasure"
SCHEMA_VERSION = 1
SHORTEST_REASON, LONGEST_REASON = 10, 500
EPOCH = date(1970, 1, 1)


class ErasureRefused(Exception):
    """Nothing is erased, or not all yet; the message says why."""


class Wanted(NamedTuple):
    """Whom to erase, who does it, and why; the reason is on the record and must name nobody."""

    customer_id: str
    by: str
    why: str


@dataclass(frozen=True)
class Found:
    """What there is of a person.

    Attributes
    ----------
    facts : int
        Versions of facts in the ledger.
    entries : int
        Of the record, that will be unreadable.
    in_clear : int
        Of the record, from before natural persons were encrypted: they stay as they are.
    """

    facts: int
    entries: int
    in_clear: int


class Eraser:
    """Erases natural persons of one ledger.

    Parameters
    ----------
    workspace : Workspace
    record : Record
        With the persons of the workspace.
    clock : callable, optional
        Gives the present instant, UTC.
    """

    def __init__(
        self,
        workspace: Workspace,
        record: Record,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._workspace, self._record, self._clock = workspace, record, clock
        self._persons, self._facts = record.persons, PersonFacts(workspace.facts_url)

    def look(self, customer_id: str) -> Found:
        """Tell what there is of a person.

        Raises
        ------
        ErasureRefused
            If nobody knows the customer, or it is no natural person.
        """
        key, is_person = self._persons.find(customer_id), self._facts.is_person(customer_id)
        if key is None and is_person is None:
            raise ErasureRefused("the ledger does not know this customer, or no longer does")
        if is_person is False:
            raise ErasureRefused(
                "this customer is a legal person: its data are no personal data, and the record "
                "of what was decided about it stays (import a correction if the ledger is wrong)"
            )
        return Found(
            self._facts.count(customer_id),
            0 if key is None else self._record.count_about(key.id),
            self._record.count_about(customer_id) + self._listed_in_clear(customer_id),
        )

    def erase(self, wanted: Wanted) -> Found:
        """Erase a person; see :meth:`erase_all`."""
        return self.erase_all([wanted])[0]

    def erase_all(self, wanted: Sequence[Wanted]) -> list[Found]:
        """Erase persons, all or none of them if one is refused; files are rewritten once.

        What was cut short before is finished, of others too once it is on the record.

        Raises
        ------
        ErasureRefused
        """
        for one in wanted:
            _require_words(one)
        self._persons.tidy()  # of an erasure that was cut short at its very end
        found = [self.look(one.customer_id) for one in wanted]
        keys: dict[str, PersonKey] = {}
        for one, there_is in zip(wanted, found, strict=True):
            key = self._persons.begin_erasure(one.customer_id, self._clock())
            self._put(one, key, there_is)
            keys[one.customer_id] = key
        for customer_id, key in self._persons.unfinished().items():
            if self._record.find(_id(key)) is not None:
                keys.setdefault(customer_id, key)
        self._remove(keys)
        return found

    def _remove(self, keys: Mapping[str, PersonKey]) -> None:
        """Remove what is kept of customers beside the record, then destroy their keys."""
        names = {name for one in keys for name in self._facts.names(one)}
        _forget_rejects(self._workspace.rejects, names | keys.keys())
        known_as = [name for customer_id, key in keys.items() for name in (customer_id, key.id)]
        answers = [
            id for name in known_as for _, id in self._record.places_about(name, "assessment")
        ]
        self._facts.rename_contests(answers)
        for customer_id in keys:
            self._facts.forget(customer_id)
        self._facts.tidy()
        self._forget_jobs(keys.keys())
        References(self._workspace.record_url, self._persons).forget(known_as)
        self._record.empty_log()
        for key in keys.values():
            self._persons.destroy(key.id)
        self._persons.tidy()

    def _put(self, wanted: Wanted, key: PersonKey, found: Found) -> None:
        """Record the erasure, once."""
        id = _id(key)
        if self._record.find(id) is not None:
            return
        said = {
            "id": id,
            "person": key.id,
            "by": wanted.by,
            "authenticated": False,  # the command line takes names on trust
            "why": wanted.why.strip(),
            "erased_at": f"{self._clock():%Y-%m-%dT%H:%M:%SZ}",
            "facts": found.facts,
            "entries": found.entries,
            "entries_in_clear": found.in_clear,
            "group_entries": self._group_entries(wanted.customer_id),
        }
        self._record.append(id, KIND, to_bytes({"schema": SCHEMA_VERSION, KIND: said}))

    def _group_entries(self, customer_id: str) -> list[int]:
        """Give the places of assessments of the rest of the group, which saw what he owed."""
        places = []
        for other in self._facts.ever_grouped_with(customer_id):
            for name in self._persons.names_of(other):
                places += [place for place, _ in self._record.places_about(name, "assessment")]
        return sorted(places)

    def _listed_in_clear(self, customer_id: str) -> int:
        """Count the entries that list the customer in clear: keys and portfolios of before."""
        return sum(customer_id in one for one in self._lists)

    @cached_property
    def _lists(self) -> list[frozenset[str]]:
        """The lists of customers on the record."""
        keys = (json.loads(entry.body)["key"] for entry in self._record.after(0, KEY))
        portfolios = (json.loads(entry.body) for entry in self._record.after(0, PORTFOLIO))
        return [frozenset(said["customers"] or ()) for said in chain(keys, portfolios)]

    def _forget_jobs(self, customer_ids: Collection[str]) -> None:
        """Remove the results that persons are in, once no job is left that read the facts."""
        folder = self._workspace.home / "jobs"
        if not (folder / "jobs.db").exists():
            return
        jobs = Jobs(folder)
        try:
            jobs.recover(lambda: self._record)
            if jobs.some_run():
                raise ErasureRefused(
                    "a job is at work that may have read the facts of before: erase again once it "
                    "is over; until then nobody can read about the person already"
                )
            jobs.forget(customer_ids, lambda file: _holds(file, customer_ids))
        finally:
            jobs.close()


def inactive_since(workspace: Workspace, day: date) -> list[str]:
    """Find the natural persons of whom nothing was invoiced, ordered, due or settled since a day.

    Who still owes, or has an order that is not invoiced yet, is not among them.
    """
    store, persons = Store(workspace.facts_url), PersonFacts(workspace.facts_url)
    as_of = store.last_day() + 1
    found = []
    for customer_id in persons.without_anything_since((day - EPOCH).days):
        books = build(current(store.read(customer_id, versions=True)), store.ledger.observed_from)
        stands = exposure(books, 0, as_of)
        if stands.invoices_cents <= 0 and stands.orders_cents <= 0:
            found.append(customer_id)
    return found


def _require_words(wanted: Wanted) -> None:
    why = wanted.why.strip()
    if not (SHORTEST_REASON <= len(why) <= LONGEST_REASON and why.isprintable()):
        raise ErasureRefused(
            f"the reason must have {SHORTEST_REASON} to {LONGEST_REASON} printable characters"
        )
    if not (0 < len(wanted.by) <= 100 and wanted.by.isprintable()):
        raise ErasureRefused("the name must have 1 to 100 printable characters")
    if wanted.customer_id in why:
        raise ErasureRefused("the reason names the customer, and it stays on the record: leave out")


def _id(key: PersonKey) -> str:
    """Name the entry that says that a person was erased: there is one."""
    return str(uuid5(NAMESPACE_URL, f"encours erasure {key.id}"))


def _holds(result: Path, customer_ids: Collection[str]) -> bool:
    """Tell whether a job's result holds one of these customers."""
    column = pq.read_table(result, columns=["customer_id"])["customer_id"]
    there = pc.is_in(column, value_set=pa.array(sorted(customer_ids), pa.string()))
    return bool(pc.any(there).as_py())


def _forget_rejects(folder: Path, said: set[str]) -> None:
    """Remove from the rows that imports put aside those that say one of these values."""
    for file in sorted(folder.glob("*.csv")):
        header, *rows = csv.reader(io.StringIO(file.read_text("utf-8")))
        place = header.index("row")
        kept = [row for row in rows if not said & _values(row[place])]
        if len(kept) < len(rows):
            out = io.StringIO()
            csv.writer(out, lineterminator="\n").writerows([header, *kept])
            key_file.replace(file, out.getvalue().encode(), 0o644)


def _values(row: str) -> set[str]:
    """Give the values of a row put aside; of a line that could not be read, what stands between."""
    values = json.loads(row).values()
    return {part.strip(' "') for one in values for part in re.split(r"[\t;|,]", str(one))} | {
        str(one).strip() for one in values
    }
