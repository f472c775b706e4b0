"""Facts pushed over HTTP: checked as an import is, told row by row, counted at once."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import ValidationError

from features.ledger import TABLES, check
from features.store import Store, sqlite_url
from serving import problems
from serving.api import create_app
from serving.audit import Record, TooLate
from serving.fact_words import OF_PROSPECTS, WORDS
from serving.facts import MAY_PUSH, Push, arrived_at, push
from serving.keys import Keys
from serving.limits import LONGEST_BODY_BYTES, MOST_ROWS
from serving.opened import Opened
from serving.routes.facts import PATHS
from serving.schemas.facts import (
    FACTS_ANSWER_EXAMPLE,
    FACTS_EXAMPLE,
    ROWS,
    Facts,
    FactsAnswer,
    field_of,
    sent_columns,
)
from tests.conftest import NOW
from tests.serving.test_access import bearer
from tests.serving.test_api import CANARY, call, expect
from tests.serving.test_api import _Stub as Stub

PAGE = Path(__file__).parents[2] / "docs" / "facts.md"
NAMES = {"settlement": "settlement_id", "customer": "customer_id", "invoice": "invoice_id"}


def ticking() -> Callable[[], datetime]:
    """Give a clock that starts at NOW and goes on."""
    began = time.monotonic()
    return lambda: NOW + timedelta(seconds=time.monotonic() - began)


class _Desk:
    """A desk with an empty ledger in euros."""

    def __init__(self, folder: Path) -> None:
        store = Store(sqlite_url(folder / "facts.db"), "EUR")
        record = Record(sqlite_url(folder / "record.db"))
        self.opened = Opened(store, record, None, ticking(), None, Stub())

    def get(self) -> Opened:
        return self.opened

    def readiness(self) -> None:
        return None


@pytest.fixture
def desk(tmp_path) -> _Desk:
    return _Desk(tmp_path)


@pytest.fixture
def store(desk) -> Store:
    return desk.opened.store


@pytest.fixture
def keys(desk) -> Keys:
    return Keys(lambda: desk.opened.record, lambda: NOW)


@pytest.fixture
def app(desk, keys) -> FastAPI:
    return create_app(desk, keys, answer_seconds=120)  # machines are slow at times


@pytest.fixture
def send(app, keys) -> Callable[..., httpx.Response]:
    """Give a function that posts as a client of a role, all calls with one key."""
    texts: dict[Any, str] = {}

    def send(body: Any, path: str = "facts", role: str = "risk", customers=None, **headers: str):
        who = (role, customers)
        if who not in texts:
            texts[who] = keys.make("ERP", role, "Claire", customers, calls_a_second=1e5).text
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"content": content, "headers": bearer(texts[who], **headers)}
        return call(app, "POST", f"/v1/{path}", **given)

    return send


def table(text: str) -> dict[str, list[dict[str, Any]]]:
    """Read facts as a client sends them from small tables, one a paragraph; the customer is A."""
    found: dict[str, list[dict[str, Any]]] = {}
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        if "|" in paragraph:
            lines = [[cell.strip() for cell in line.split("|")] for line in paragraph.split("\n")]
            names = [NAMES.get(name, name) for name in lines[0]]
            rows = [
                {name: cell for name, cell in zip(names, line, strict=True) if cell}
                for line in lines[1:]
            ]
            found[_named(names)] = [_typed(_named(names), row) for row in rows]
    return found


def _named(names: list[str]) -> str:
    for told_by, name in (("due_on", "invoices"), ("settled_on", "settlements")):
        if told_by in names:
            return name
    return next(name for name in reversed(TABLES) if TABLES[name].key in names)


def _typed(name: str, row: dict[str, Any]) -> dict[str, Any]:
    if name != "customers":
        row.setdefault("customer_id", "A")
    if name == "settlements":
        row.setdefault("kind", "payment")
    if name == "customers":
        row["is_natural_person"] = row.get("is_natural_person") == "yes"
    if "insured_rate" in row:
        row["insured_rate"] = float(row["insured_rate"])
    return row


def told(answer: httpx.Response) -> list[tuple[str, int, str, str | None, str | None]]:
    assert answer.status_code == 200, answer.text
    FactsAnswer.model_validate_json(answer.content)
    results = answer.json()["results"]
    return [tuple(one[k] for k in ("table", "row", "status", "field", "reason")) for one in results]


def statuses(answer: httpx.Response) -> list[str]:
    return [status for _, _, status, _, _ in told(answer)]


def refused(answer: httpx.Response) -> list[tuple[str, int, str | None, str | None]]:
    return [
        (t, row, field, why) for t, row, status, field, why in told(answer) if status == "refused"
    ]


BOOKS = table(
    """
    customer | name
    A        | Atelier Morel
    B        | Bérénice & Cie

    invoice | customer | issued_on  | due_on     | amount
    F1      | A        | 2025-05-01 | 2025-05-31 | 100.00
    F2      | A        | 2025-06-01 | 2025-07-01 | 200.00
    F3      | B        | 2025-05-01 | 2025-05-31 | 300.00

    settlement | settled_on | invoice | amount
    P1         | 2025-05-30 | F1      | 100.00
    """
)

# What becomes of each row.


def test_a_row_says_what_became_of_it(send):
    assert set(statuses(send(BOOKS))) == {"added"}
    again = table(
        """
        invoice | issued_on  | due_on     | amount
        F1      | 2025-05-01 | 2025-05-31 | 100.00
        F2      | 2025-06-01 | 2025-07-01 | 150.00
        F9      | 2025-06-01 | 2025-07-01 | 0.00
        F4      | 2025-06-01 | 2025-07-01 | 40.00
        """
    )
    answer = send(again)
    assert told(answer) == [
        ("invoices", 0, "already_there", None, None),
        ("invoices", 1, "superseded", None, None),
        ("invoices", 2, "refused", "amount", "amount_not_positive"),
        ("invoices", 3, "added", None, None),
    ]
    counts = {"added": 1, "superseded": 1, "already_there": 1, "refused": 1}
    assert answer.json()["counts"] == {"invoices": counts}
    assert answer.json()["results"][2]["fr"] == "Le montant doit être > 0."
    assert answer.json()["results"][2]["en"] == "The amount must be > 0."


def test_rows_may_refer_to_each_other_and_to_the_ledger_in_any_order(send, store):
    send(BOOKS)
    rows = table(
        """
        settlement | customer | settled_on | invoice | amount
        P2         | C        | 2025-06-30 | F5      | 10.00
        P3         | A        | 2025-06-30 | F2      | 10.00
        P4         | A        | 2025-06-30 |         | 10.00

        dispute_id | customer | invoice | opened_on
        D1         | C        | F5      | 2025-06-30

        invoice | customer | issued_on  | due_on     | amount
        F5      | C        | 2025-06-01 | 2025-07-01 | 150.00

        customer | name
        C        | Chloé
        """
    )
    assert statuses(send(rows)) == ["added"] * 6
    assert store.read("C")["settlements"]["invoice_id"].tolist() == ["F5"]


def test_a_bad_row_does_not_stop_the_others_and_takes_with_it_only_what_refers_to_it(send, store):
    send(BOOKS)
    rows = table(
        """
        customer | recorded_at
        C        | 1980-01-01T00:00:00Z
        D        |

        invoice | customer | issued_on  | due_on     | amount
        F5      | C        | 2025-06-01 | 2025-07-01 | 1.00
        F6      | D        | 2025-06-01 | 2025-05-31 | 1.00
        F7      | D        | 2025-06-01 | 2025-07-01 | 1.00
        F1      | B        | 2025-06-01 | 2025-07-01 | 1.00
        F8      | A        | 9999-12-31 | 9999-12-31 | 1.00
        F7      | D        | 2025-06-01 | 2025-07-01 | 1.00
        F7      | D        | 2025-06-01 | 2025-07-01 | 2.00

        settlement | customer | settled_on | invoice | amount | kind
        P5         | D        | 2025-06-30 | F6      | 1.00   | payment
        P6         | D        | 2025-06-30 | F7      | 1.00   | payment
        P7         | B        | 2025-06-30 | F1      | 1.00   | payment
        P8         | A        | 2025-06-30 | F1      | -1.00  | payment
        P9         | A        | 2025-06-30 | F1      | 1.00   | gift

        cover_id | starts_on  | ends_on    | amount | insured_rate
        K1       | 2025-06-01 | 2025-05-01 | 1.00   | 0.9
        K2       | 2025-06-01 |            | -1.00  | 0.9
        K3       | 2025-06-01 |            | 1.00   | 90

        order_id | accepted_on | amount | deposit
        O1       | 2025-06-01  | 1.00   | 2.00

        change_id | changed_on | kind         | value
        M1        | 2025-06-01 | bank_details | FR7630006
        """
    )
    assert refused(send(rows)) == [
        ("customers", 0, "recorded_at", "date_out_of_range"),
        ("invoices", 0, "customer_id", "unknown_customer"),
        ("invoices", 1, None, "due_before_issue"),
        ("invoices", 3, "invoice_id", "belongs_to_another_customer"),
        ("invoices", 4, "issued_on", "date_out_of_range"),
        ("invoices", 5, "invoice_id", "duplicate"),
        ("invoices", 6, "invoice_id", "duplicate_with_other_content"),
        ("settlements", 0, "invoice_id", "unknown_invoice"),
        ("settlements", 2, "customer_id", "not_the_invoiced_customer"),
        ("settlements", 3, "amount", "amount_not_positive"),
        ("settlements", 4, "kind", "unknown_kind"),
        ("insurance_covers", 0, None, "ends_before_start"),
        ("insurance_covers", 1, "amount", "amount_negative"),
        ("insurance_covers", 2, "insured_rate", "rate_outside_0_1"),
        ("orders", 0, None, "deposit_above_amount"),
        ("customer_changes", 0, None, "bank_details_are_not_kept"),
    ]
    assert store.read("D")["settlements"]["settlement_id"].tolist() == ["P6"]


def test_an_import_puts_the_same_rows_aside_for_the_same_reasons(send):
    """One definition of a good row: every rule of the contract has its words, none has others."""
    rules = {
        check.error
        for of in TABLES.values()
        for checks in (of.schema.checks, *(column.checks for column in of.schema.columns.values()))
        for check in checks
    }
    assert rules <= WORDS.keys()
    source = inspect.getsource(inspect.getmodule(check))
    found = set(re.findall(r'"(unknown_\w+|not_the_\w+|duplicate\w*|missing_value)"', source))
    assert found <= WORDS.keys()
    ours = {"belongs_to_another_customer", "recorded_in_the_future"}
    assert WORDS.keys() == rules | found | ours


def test_nothing_good_adds_nothing(send, store):
    before = store.sequence()
    answer = send(
        {
            "settlements": table("settlement | settled_on | amount\nP1 | 2025-06-01 | 1.00")[
                "settlements"
            ]
        }
    )
    assert refused(answer) == [("settlements", 0, "customer_id", "unknown_customer")]
    assert answer.json()["sequence"] == store.sequence() == before


def test_an_empty_call_is_no_fault(send):
    answer = send({"invoices": []})
    assert (answer.json()["results"], answer.json()["counts"]) == ([], {})


def test_money_becomes_cents_exactly(send, store):
    send(BOOKS)
    send({"invoices": [{**BOOKS["invoices"][0], "invoice_id": "F7", "amount": "999999999999.29"}]})
    assert 99_999_999_999_929 in store.read("A")["invoices"]["amount_cents"].tolist()


# Whole calls that are refused.


@pytest.mark.parametrize(
    ("change", "pointer", "detail"),
    [
        ({"amount": 100.0}, "/amount", "must be a string"),
        ({"amount": "100,00"}, "/amount", "money as a string"),
        ({"amount": "1.001"}, "/amount", "money as a string"),
        ({"amount": "1e3"}, "/amount", "money as a string"),
        ({"amount": "9999999999999"}, "/amount", "money as a string"),
        ({"amount": None}, "/amount", "must be a string"),
        ({"due_on": "2025-02-30"}, "/due_on", "must be a date"),
        ({"due_on": "20250228"}, "/due_on", "must be a date"),
        ({"due_on": "2025-W09-1"}, "/due_on", "must be a date"),
        ({"due_on": "٢٠٢٥-٠١-٠١"}, "/due_on", "must be a date"),
        ({"recorded_at": "2025-01-01"}, "/recorded_at", "must be UTC"),
        ({"recorded_at": "2025-01-01T00:00:00+02:00"}, "/recorded_at", "must be UTC"),
        ({"recorded_at": "2025-01-01T00:00:60Z"}, "/recorded_at", "must be UTC"),
        ({"invoice_id": 7}, "/invoice_id", "must be a string"),
        ({"invoice_id": "F1 "}, "/invoice_id", "begin or end with a blank"),
        ({"invoice_id": "F\x00"}, "/invoice_id", "printable"),
        ({"invoice_id": "F" * 129}, "/invoice_id", "at most 128"),
        ({"recorded_assumed": True}, "", "unknown field"),
        ({"amount_cents": 100}, "", "unknown field"),
    ],
)
def test_what_is_not_readable_refuses_the_whole_call_and_is_pointed_at(
    send, store, change, pointer, detail
):
    good = BOOKS["invoices"][0]
    answer = send({"customers": BOOKS["customers"], "invoices": [good, {**good, **change}]})
    errors = expect(answer, problems.INVALID)
    assert [one["pointer"] for one in errors] == [f"/invoices/1{pointer}"]
    assert detail in errors[0]["detail"]
    assert store.sequence() == 0
    single = expect(send({**good, **change}, "invoices"), problems.INVALID)
    assert single[0]["pointer"] == pointer


def test_a_name_may_have_french_spaces(send, store):
    send(
        {
            "customers": [
                {"customer_id": "A", "name": "Morel\u202f& fils", "is_natural_person": True}
            ]
        }
    )
    assert store.read("A")["customers"]["name"].tolist() == ["Morel\u202f& fils"]


def test_ten_thousand_rows_are_taken_and_one_more_is_not(send, store):
    invoices = [{**BOOKS["invoices"][0], "invoice_id": f"F{i}"} for i in range(MOST_ROWS)]
    started = time.monotonic()
    answer = send({"customers": BOOKS["customers"], "invoices": invoices[2:]})
    assert time.monotonic() - started < 30  # 2 s alone, but machines are slow at times
    assert set(statuses(answer)) == {"added"}
    assert len(answer.json()["results"]) == MOST_ROWS
    errors = expect(
        send({"customers": BOOKS["customers"], "invoices": invoices[1:]}), problems.INVALID
    )
    assert errors == [{"pointer": "", "detail": "has more than 10,000 rows"}]


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b'{"invoices": [' + b"{}," * 2_000_000 + b"{}]}", problems.MALFORMED),
        (b'{"invoices": [' + b"[]," * 2_000_000 + b"[]]}", problems.MALFORMED),
        (b'{"invoices": [' + b"{}," * 9_999 + b"{}]}", problems.INVALID),
        (b'{"invoices": [' + b"1," * 3_000_000 + b"1]}", problems.INVALID),
        (b"{" + b",".join(b'"%06d":1' % i for i in range(700_000)) + b"}", problems.INVALID),
        (b'{"invoices": [' + b" " * (8 << 20), problems.LONG_BODY),
    ],
    ids=["objects", "lists", "empty rows", "numbers", "names", "long"],
)
def test_a_hostile_bulk_is_refused_in_few_words(send, body, fault):
    answer = send(body)
    assert answer.json()["type"] == f"/problems/{fault.name}"
    assert len(answer.content) < 20_000
    assert len(answer.json().get("errors", [])) <= 100


@pytest.mark.parametrize("place", [lambda row: row, lambda row: {"invoices": [row]}])
def test_many_unknown_names_are_one_error(place):
    with pytest.raises(ValidationError) as found:
        Facts.model_validate(place({f"name {i}": 1 for i in range(1000)}))
    assert found.value.error_count() == 1


def test_a_long_body_is_read_beside_the_event_loop(send, monkeypatch):
    threads = []
    parse = json.loads

    def noted(*given: Any, **how: Any) -> Any:
        threads.append(threading.current_thread() is threading.main_thread())
        return parse(*given, **how)

    monkeypatch.setattr("serving.body.json.loads", noted)
    send(json.dumps(BOOKS).encode())
    send(json.dumps(BOOKS).encode().ljust(LONGEST_BODY_BYTES + 1))
    assert threads[0] is True
    assert False in threads


# One fact.


def test_each_table_has_a_path_of_its_own():
    assert PATHS.keys() == TABLES.keys() == ROWS.keys()


def test_one_fact_is_pushed_by_its_table(send):
    for name in ("customers", "invoices", "settlements"):
        answer = send(BOOKS[name][0], PATHS[name])
        assert told(answer) == [(name, 0, "added", None, None)]


def test_one_fact_that_is_refused_is_a_problem_and_may_be_sent_again(send):
    send({"customers": BOOKS["customers"]})
    payment = BOOKS["settlements"][0]
    errors = expect(send(payment, "settlements", Idempotency_Key="k"), problems.FACT_REFUSED)
    assert errors == [
        {
            "pointer": "/invoice_id",
            "detail": WORDS["unknown_invoice"].en,
            "reason": "unknown_invoice",
        }
    ]
    send(BOOKS["invoices"][0], "invoices")
    assert statuses(send(payment, "settlements", Idempotency_Key="k")) == ["added"]


# Again.


def test_the_same_call_again_is_already_there_and_changes_nothing(send, store):
    send(BOOKS)
    before = store.data_sha256()
    assert set(statuses(send(BOOKS))) == {"already_there"}
    assert store.data_sha256() == before


def test_with_its_key_the_same_call_gets_the_same_bytes(send, store):
    first = send(BOOKS, Idempotency_Key="k")
    sequence = store.sequence()
    again = send(BOOKS, Idempotency_Key="k")
    assert again.content == first.content
    assert again.headers["idempotency-replayed"] == "true"
    assert store.sequence() == sequence
    expect(send(FACTS_EXAMPLE, Idempotency_Key="k"), problems.KEY_REUSED)


def test_a_retry_that_comes_late_changes_nothing_where_it_says_when_it_knew(send, store):
    send(BOOKS)
    first = {**BOOKS["invoices"][1], "amount": "250.00", "recorded_at": "2025-06-10T08:00:00Z"}
    then = {**first, "amount": "240.00", "recorded_at": "2025-06-20T08:00:00Z"}
    for invoice in ({**first, "invoice_id": "F7"}, {**then, "invoice_id": "F7"}):
        send(invoice, "invoices")
    assert statuses(send({**first, "invoice_id": "F7"}, "invoices")) == ["already_there"]
    back = {**first, "invoice_id": "F7", "recorded_at": "2025-06-25T08:00:00Z"}
    assert statuses(send(back, "invoices")) == ["superseded"]


# Who may push what.


def test_a_crm_pushes_what_the_books_say_and_no_word_of_others(send, store):
    assert set(statuses(send(BOOKS, role="crm"))) == {"added"}
    others = TABLES.keys() - MAY_PUSH["crm"]
    assert others == {
        *("insurance_covers", "credit_limits", "insolvency_events"),
        *("financial_statements", "customer_changes"),
    }
    event = {"event_id": "E1", "customer_id": "A", "kind": "liquidation", "opened_on": "2025-06-01"}
    before = store.data_sha256()
    rows = {
        "insolvency_events": [event],
        "invoices": [{**BOOKS["invoices"][0], "invoice_id": "F9"}],
    }
    said = "A key of role crm may not push insolvency_events."
    expect(send(rows, role="crm"), problems.FORBIDDEN, said)
    expect(send(event, "insolvency-events", role="crm"), problems.FORBIDDEN)
    assert store.data_sha256() == before
    assert statuses(send(rows)) == ["added", "added"]
    assert set(statuses(send({"insurance_covers": [], **BOOKS}, role="crm"))) == {"already_there"}


def test_a_key_of_some_customers_cannot_tell_whether_there_are_others(send):
    send(BOOKS)
    of_a, of_all = {"role": "crm", "customers": ("A",)}, {"role": "crm"}
    rows = """
        customer | name
        {other}  | Other

        invoice | customer | issued_on  | due_on     | amount
        F8      | {other}  | 2025-06-01 | 2025-07-01 | 1.00

        settlement | customer | settled_on | invoice   | amount
        P7         | {other}  | 2025-06-30 | {invoice} | 1.00
        P8         | A        | 2025-06-30 | {invoice} | 1.00
        P9         | A        | 2025-06-30 | F8        | 1.00
        """
    there = send(table(rows.format(other="B", invoice="F3")), **of_a)
    nowhere = send(table(rows.format(other="Z", invoice="F0")), **of_a)
    assert there.json()["results"] == nowhere.json()["results"]
    assert refused(there) == [
        ("customers", 0, "customer_id", "unknown_customer"),
        ("invoices", 0, "customer_id", "unknown_customer"),
        ("settlements", 0, "customer_id", "unknown_customer"),
        ("settlements", 1, "invoice_id", "unknown_invoice"),
        ("settlements", 2, "invoice_id", "unknown_invoice"),
    ]
    stranger = {**BOOKS["invoices"][0], "customer_id": "Z", "invoice_id": "F6"}
    known = {**stranger, "customer_id": "B"}
    words = [send(one, "invoices", **of_a).json()["errors"] for one in (stranger, known)]
    assert words[0] == words[1] == send(stranger, "invoices", **of_all).json()["errors"]


# The trail.


def test_where_facts_came_from_is_on_the_trail(send, desk, tmp_path):
    body = json.dumps(BOOKS).encode()
    answer = send(body, role="crm")
    with sqlite3.connect(tmp_path / "facts.db") as connection:
        ((files, added),) = connection.execute("SELECT files, added FROM sources").fetchall()
    ((name, sha256),) = json.loads(files)
    key = next(key for key in Keys(lambda: desk.opened.record).all() if key.role == "crm")
    assert name == f"API request {answer.headers['x-request-id']} of ERP with key {key.id}"
    assert len(sha256) == 64
    assert key.sha256 not in files
    assert json.loads(added)["invoices"] == 3


def test_nothing_of_a_fact_comes_back_or_is_logged(send, caplog, capsys):
    send(BOOKS)
    rows = [
        {**BOOKS["invoices"][0], "invoice_id": CANARY, "customer_id": "B"},
        {**BOOKS["invoices"][0], "invoice_id": "F1", "customer_id": CANARY},
        {**BOOKS["invoices"][0], "invoice_id": CANARY, "amount": "0.00", "original_amount": CANARY},
    ]
    for body in ({"invoices": rows}, {"invoices": [{**rows[0], "due_on": CANARY}]}, {CANARY: []}):
        assert CANARY not in send(body).text
    assert CANARY not in send(rows[2], "invoices").text
    assert CANARY not in caplog.text + "".join(capsys.readouterr())


# When it was known.


def test_a_fact_is_known_from_its_arrival_unless_it_says_since_when(send, store):
    answer = send(
        {
            "customers": [
                {"customer_id": "A", "is_natural_person": False},
                {
                    "customer_id": "B",
                    "is_natural_person": False,
                    "recorded_at": "2025-01-02T03:04:05.6Z",
                },
            ]
        }
    )
    customers = store.read()["customers"]
    recorded = [
        datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(at))
        for at in customers["recorded_at"]
    ]
    assert recorded[0].strftime("%Y-%m-%dT%H:%M:%S.%fZ") == answer.json()["recorded_at"]
    assert recorded[1] == datetime(2025, 1, 2, 3, 4, 5, 600_000, UTC)
    assert customers["recorded_assumed"].tolist() == [False, False]


def test_a_clock_that_is_a_little_fast_counts_now_and_one_that_is_not_ours_is_refused(send, store):
    soon, later = (NOW + timedelta(minutes=m) for m in (4, 6))
    rows = [
        {"customer_id": name, "is_natural_person": False, "recorded_at": f"{at:%Y-%m-%dT%H:%M:%SZ}"}
        for name, at in (("A", soon), ("B", later))
    ]
    answer = send({"customers": rows})
    assert refused(answer) == [("customers", 1, "recorded_at", "recorded_in_the_future")]
    assert store.read("A", int(NOW.timestamp() * 1e6) + 60_000_000)["customers"]["name"].size == 1


def test_as_of_a_past_day_facts_are_recorded_on_that_day_in_the_order_they_came(desk):
    end = datetime(2020, 3, 31, 23, 59, 59, 999_999, UTC)
    first = arrived_at(lambda: end).at
    second = arrived_at(lambda: end).at
    assert first.date() == end.date()
    assert first <= second < end
    midnight = end.replace(hour=0, minute=0, second=0, microsecond=0)
    assert arrived_at(lambda: midnight).at < midnight  # where assessments look from
    now = arrived_at(lambda: datetime.now(UTC)).at
    assert timedelta(0) < datetime.now(UTC) - now < timedelta(seconds=5)


def test_after_the_deadline_nothing_is_added(store, keys):
    key = keys.make("ERP", "risk", "Claire").key
    rows = Facts.model_validate(BOOKS)
    sent = Push({n: getattr(rows, n) for n in TABLES}, key, "r", b"", time.monotonic() - 1)
    with pytest.raises(TooLate):
        push(store, ticking(), sent)
    assert store.sequence() == 0
    assert push(store, ticking(), replace(sent, deadline=time.monotonic() + 60))["sequence"] == 1


# The description.


def test_the_examples_hold(send):
    Facts.model_validate(FACTS_EXAMPLE)
    answer = send(FACTS_EXAMPLE).json()
    for name in ("counts", "results"):
        assert answer[name] == FACTS_ANSWER_EXAMPLE[name]


def test_a_fact_has_the_fields_of_the_contract_and_no_other():
    for name, of in TABLES.items():
        schema = ROWS[name].model_json_schema()
        columns = of.schema.columns
        fields = {field_of(column): column for column in columns if column != "recorded_assumed"}
        assert schema["properties"].keys() == fields.keys()
        empty = {field for field, column in fields.items() if columns[column].nullable}
        assert fields.keys() - set(schema["required"]) == empty | {"recorded_at"}
        for field, column in fields.items():
            said = schema["properties"][field]["description"]
            assert ("currency" in said) == (column.endswith("_cents") or field == "original_amount")


def test_the_page_names_every_field_and_every_reason():
    page = PAGE.read_text(encoding="utf-8")
    for name, path in PATHS.items():
        line = next(line for line in page.splitlines() if line.startswith(f"| `{name}`"))
        assert f"`/v1/{path}`" in line
        assert ("crm, risk" in line) == (name in MAY_PUSH["crm"])
        for column in set(sent_columns(name)) - {"recorded_at"}:
            assert f"`{field_of(column)}`" in line, (name, column)
    for reason, words in {**WORDS, **OF_PROSPECTS}.items():
        assert f"| `{reason}` | {words.en} | {words.fr} |" in page


def test_the_commands_of_the_page_answer_what_it_shows(app, keys):
    text = keys.make("ERP", "risk", "Claire").text
    page = PAGE.read_text(encoding="utf-8")
    shown = re.findall(r"```sh\n(curl .*?)```\n+(.*?)\n+```json\n(.*?)```", page, re.DOTALL)
    assert len(shown) >= 5
    for command, _, expected in shown:
        given = shlex.split(command.replace("\\\n", " ").replace("$ENCOURS_KEY", text))
        headers = dict(given[i + 1].split(": ", 1) for i, one in enumerate(given) if one == "-H")
        path = next(one for one in given if one.startswith("http://127.0.0.1:3000")).split("3000")[
            1
        ]
        answer = call(app, "POST", path, content=given[given.index("-d") + 1], headers=headers)
        got, wanted = answer.json(), json.loads(expected)
        for unlike in ("recorded_at", "request_id"):
            assert (unlike in got) == (unlike in wanted)
            got[unlike] = wanted.get(unlike)
        wanted |= {unlike: got[unlike] for unlike in ("recorded_at", "request_id")}
        assert got == wanted, command
