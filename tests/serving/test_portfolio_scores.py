"""What is said of a whole portfolio is what single answers say, customer by customer."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from features.build import build
from features.store import Store
from serving.assess import Assessor, OrderNeeded, UnknownCustomer
from serving.audit import Record
from serving.portfolio_job import Shard, Work, plan, score_shard
from serving.portfolio_scores import DORMANT, IN_DEFAULT, NO_ORDER, TOO_THIN, UNKNOWN
from serving.speaking import Speaking
from tests.serving.test_assess import add, assessor_of
from tests.serving.test_jobs import a_job

WHY = {  # a curve abstains
    "the customer is already in default": IN_DEFAULT,
    "the customer has no invoice of the last year": DORMANT,
}


def scored(workspace: Any, now: datetime, customers: list[str] | None = None) -> dict[str, Any]:
    """Score a workspace's customers; rows by customer."""
    work, shards, _ = plan(a_job(customers=customers), Store(workspace.facts_url), workspace, now)
    parts = [score_shard(shard, work).rows for shard in shards]
    return {row["customer_id"]: row for row in pa.concat_tables(parts).to_pylist()}


@pytest.fixture(scope="module")
def rows(trained, clock) -> dict[str, Any]:
    return scored(trained, clock())


def told(assessor: Assessor, customer: str) -> dict[str, Any]:
    """Ask about one customer, and say it as a row does."""
    answer = json.loads(assessor.assess(customer, None))
    why = {curve: said["reason"] for curve, said in answer["abstentions"].items()}
    explained = answer["explanation"] or {"curve": None, "horizon_days": None, "reasons": []}
    row = {
        "customer_id": customer,
        "grade": answer["customer"]["grade"],
        "score": answer["customer"]["score"],
        "late_30_probability": (answer["late"] or {"30": None})["30"],
        "default_365_probability": (answer["default"] or {"365": None})["365"],
        "data_depth": answer["customer"]["data_depth"],
        "exposure": answer["exposure"]["total"],
        "explained_curve": explained["curve"],
        "explained_horizon_days": explained["horizon_days"],
        "late_abstention": TOO_THIN if "late" in why else None,
        "default_abstention": WHY.get(why["default"], TOO_THIN) if "default" in why else None,
    }
    for n in range(4):
        reason = dict(enumerate(explained["reasons"])).get(n, {})
        row[f"reason_{n + 1}"] = reason.get("code")
        row[f"contribution_{n + 1}"] = reason.get("contribution")
    return row


def test_a_row_says_what_a_single_answer_says(rows, trained, clock, tmp_path):
    record = Record(f"sqlite:///{tmp_path / 'record.db'}")
    assessor = Assessor(Store(trained.facts_url), record, trained, clock)
    drawn = np.random.default_rng(7).choice(sorted(rows), 120, replace=False).tolist()
    drawn += [next(id for id, row in rows.items() if row["default_abstention"] == IN_DEFAULT)]
    compared = 0
    for customer in drawn:
        row = dict(rows[customer])
        try:
            single = told(assessor, customer)
        except OrderNeeded:
            assert row["late_abstention"] in (NO_ORDER, TOO_THIN)
            continue
        row["exposure"] = str(row["exposure"])
        contributed = {name: row.pop(name) for name in list(row) if name.startswith("contribution")}
        for name, value in contributed.items():
            expected = single.pop(name)
            assert (value is None) == (expected is None)
            assert value == pytest.approx(expected, abs=1e-9)
        assert row == single  # probabilities to the last bit
        compared += 1
    assert compared > 100


def test_all_kinds_of_customers_are_there(rows):
    why = {row["default_abstention"] for row in rows.values()}
    assert {None, IN_DEFAULT, DORMANT} <= why
    explained = {row["explained_curve"] for row in rows.values()}
    assert {"default", "late"} <= explained
    assert {row["grade"] for row in rows.values() if row["default_abstention"] == IN_DEFAULT} == {
        "H"
    }


def test_the_features_are_those_of_a_single_answer(trained, clock, monkeypatch):
    seen: dict[str, list[np.ndarray[Any, Any]]] = {"many": [], "one": []}

    def spy(name: str) -> Callable[..., Any]:
        def spied(*given: Any) -> Any:
            X = build(*given)
            seen[name].append(X)
            return X

        return spied

    monkeypatch.setattr("serving.portfolio_scores.build", spy("many"))
    monkeypatch.setattr("serving.answering.build", spy("one"))
    found = scored(trained, clock())
    many = np.vstack(seen["many"])
    assessor = assessor_of(trained, clock)
    ids = sorted(found)
    for place in range(0, len(ids), 25):
        if found[ids[place]]["late_abstention"] is None:
            assessor.assess(ids[place], None)
            assert many[place].tobytes() == seen["one"][-1][0].tobytes()
    assert len(seen["one"]) > 10


def test_corrected_facts_are_read_both_ways(blank, clock):
    """
    customer | invoice | issued_on  | due_on     | amount | recorded_at
    A        | F-1     | 2025-05-02 | 2025-06-01 | 1000   | 2025-05-02
    A        | F-2     | 2025-06-02 | 2025-07-02 | 3000   | 2025-06-02
    B        | F-3     | 2025-06-02 | 2025-07-02 | 3000   | 2025-06-02
    """
    add(blank, test_corrected_facts_are_read_both_ways.__doc__)
    add(
        blank,
        """
        customer | invoice | issued_on  | due_on     | amount | recorded_at
        A        | F-1     | 2025-05-02 | 2025-06-01 | 5000   | 2025-06-20
        """,
    )
    found = scored(blank, clock())
    assessor = assessor_of(blank, clock)
    for customer in ("A", "B"):
        single, row = told(assessor, customer), dict(found[customer])
        row["exposure"] = str(row["exposure"])
        for name in [name for name in row if name.startswith("contribution")]:
            assert row.pop(name) == pytest.approx(single.pop(name), abs=1e-9)
        assert row == single
    assert str(found["A"]["exposure"]) == "8000.00"


def test_each_listed_customer_gets_a_row_once_and_an_unknown_one_says_so(trained, clock, rows):
    known = sorted(rows)[3]
    found = scored(trained, clock(), ["nobody", known, known, "~"])
    assert list(found) == sorted(["nobody", known, "~"])
    assert found[known] == rows[known]
    nobody = found["nobody"]
    assert nobody["late_abstention"] == nobody["default_abstention"] == UNKNOWN
    assert {value for name, value in nobody.items() if "abstention" not in name} == {
        "nobody",
        None,
    }
    with pytest.raises(UnknownCustomer):
        assessor_of(trained, clock).assess("nobody", None)


def test_shards_do_not_matter(trained, clock, rows, monkeypatch):
    monkeypatch.setattr("serving.portfolio_job.INVOICES_A_SHARD", 1_000)
    small = scored(trained, clock())
    assert small == rows


def test_a_job_speaks_with_the_models_of_its_start(trained, clock, monkeypatch):
    work, shards, _ = plan(a_job(), Store(trained.facts_url), trained, clock())
    loaded = []
    load = Speaking.load

    def spied(*given: Any) -> Speaking:
        loaded.append(given[-1])
        return load(*given)

    monkeypatch.setattr("serving.portfolio_job.Speaking.load", spied)
    other = Work(**{**work.__dict__, "ledger_id": "another"})
    with pytest.raises(ValueError, match="another ledger"):
        score_shard(Shard(*shards[0]), other)
    assert loaded == [work.champions]
