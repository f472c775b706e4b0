"""Payment terms stated beside a FEC, which holds no due date.

.. code-block:: yaml

    terms:
      default: 30 days
      customers:
        C-17: 45 days end of month    # add 45 days, then to the end of that month
        C-18: end of month 45 days    # to the end of the month of issue, then add 45 days

With nothing stated the law's 30 days hold (C. com. art. L441-10).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, NamedTuple

import pandas as pd
import yaml
from pydantic import AfterValidator, BaseModel, Field, ValidationError

from features.ledger import LedgerError

GRAMMAR = '"N days", "N days end of month" or "end of month N days"'
TERM = re.compile(
    r"(?P<first>end of month )?(?P<days>\d{1,3}) days?(?P<last> end of month)?", re.IGNORECASE
)


class TermsError(LedgerError):
    """A terms file is wrong; the message says the file, the key and what is allowed."""


class Term(NamedTuple):
    """When an invoice falls due: some days, before or after going to the end of the month."""

    days: int
    month_end: str = ""  # "first", "last" or never

    @classmethod
    def of(cls, text: str) -> Term:
        """Read a term.

        Examples
        --------
        >>> Term.of("45 days end of month")
        Term(days=45, month_end='last')
        """
        found = TERM.fullmatch(" ".join(text.split()))
        if found is None or (found["first"] and found["last"]):
            raise ValueError(f"{text!r} is no term; allowed: {GRAMMAR}")
        return cls(int(found["days"]), "first" if found["first"] else "last" * bool(found["last"]))

    def due_on(self, issued_on: pd.Series) -> pd.Series:
        """Give the last day to pay invoices in time."""
        from_day = _month_end(issued_on) if self.month_end == "first" else issued_on
        due = from_day + pd.Timedelta(days=self.days)
        return _month_end(due) if self.month_end == "last" else due

    def __str__(self) -> str:
        days = f"{self.days} days"
        return {"first": f"end of month {days}", "last": f"{days} end of month"}.get(
            self.month_end, days
        )


def _month_end(days: pd.Series) -> pd.Series:
    return days + pd.offsets.MonthEnd(0)


LEGAL = Term(30)  # C. com. art. L441-10, I


@dataclass(frozen=True)
class Terms:
    """Terms by customer, and that of all others; `is_stated` says the default was given."""

    default: Term = LEGAL
    customers: dict[str, Term] = field(default_factory=dict)
    is_stated: bool = False

    def due_on(self, invoices: pd.DataFrame) -> pd.Series:
        """Give the due date of each invoice by its ``customer_id`` and ``issued_on``."""
        due = self.default.due_on(invoices["issued_on"])
        for term in set(self.customers.values()):
            theirs = [customer for customer, own in self.customers.items() if own == term]
            at = invoices["customer_id"].isin(theirs)
            due[at] = term.due_on(invoices.loc[at, "issued_on"])
        return due


def _term(text: str) -> str:
    Term.of(text)
    return text


Text = Annotated[str, AfterValidator(_term)]


class _Stated(BaseModel, extra="forbid", strict=True):
    default: Text | None = None
    customers: dict[str, Text] = Field(default_factory=dict)


class _File(BaseModel, extra="forbid", strict=True):
    terms: _Stated


def load_terms(path: Path) -> Terms:
    """Read and validate a terms file.

    Raises
    ------
    TermsError
        With the file, the key and what is allowed there.
    """
    try:
        stated = _File.model_validate(yaml.safe_load(path.read_text("utf-8"))).terms
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        raise TermsError(
            f"{path}: {key + ': ' if key else ''}{message}; allowed: terms.default and "
            "terms.customers, whose numbers stand in quotes"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TermsError(f"{path} cannot be read as YAML: {error}") from error
    default = LEGAL if stated.default is None else Term.of(stated.default)
    customers = {customer: Term.of(text) for customer, text in stated.customers.items()}
    return Terms(default, customers, is_stated=stated.default is not None)
