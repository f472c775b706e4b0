"""The use case on a real, small, trained workspace; a docstring is what is added to its ledger."""

from __future__ import annotations

import json
import math
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import structlog
from sqlalchemy.exc import OperationalError

from features.build import Spine, build, invoice_spine
from features.dictionary import dictionary
from features.history import build as build_history
from features.store import Source, Store, connect, sqlite_url
from models import bundle as bundles
from models import grades
from models.bundle import Champions
from models.policy import Order
from models.workspace import Workspace
from serving import assess as use_case
from serving.assess import (
    COMMAND_LINE,
    Assessor,
    NotReady,
    OrderNeeded,
    UnknownCustomer,
)
from serving.audit import Record
from serving.opened import desk_from_environment
from serving.schemas import Assessment
from serving.subjects import customer_of
from tests.features.ledgers import day, ledger_of, read_tables

AS_OF = day("2025-07-03")  # exclusive: the day after the clock's
ORDER = Order(2_000_00, 120_00, 30)
ORDERS = (None, ORDER, Order(50_000_00, 500_00, 0), Order(9_99, -1_00, 60), Order(1, 0, 275))
CURVES = ("late", "default")


def assessor_of(workspace: Workspace, clock: Any) -> Assessor:
    return Assessor(Store(workspace.facts_url), Record(workspace.record_url), workspace, clock)


def add(workspace: Workspace, text: str) -> None:
    """Import the tables that `text` shows; see :func:`read_tables`."""
    tables = read_tables(text)
    for table in tables.values():
        if "is_natural_person" in table:
            table["is_natural_person"] = table["is_natural_person"] == "yes"
        if "insured_rate" in table:
            table["insured_rate"] = table["insured_rate"].astype(float)
    store = Store(workspace.facts_url)
    known = tables["customers"]["customer_id"].isin(store.known().customers)
    tables["customers"] = tables["customers"][~known]
    if tables["customers"].empty:
        del tables["customers"]
    store.append(ledger_of(tables), Source(()))


def told(answer: bytes) -> dict[str, Any]:
    """Read an answer, without what makes each one unique."""
    return {k: v for k, v in json.loads(answer).items() if k not in ("id", "record")}


@pytest.fixture
def assessor(blank, clock, request) -> Assessor:
    """Assess the customers of the test's docstring."""
    add(blank, request.function.__doc__)
    return assessor_of(blank, clock)


@pytest.fixture(scope="module")
def answers(trained, clock, tmp_path_factory) -> list[tuple[bytes, dict[str, Any]]]:
    """Answers on 200 customers drawn at random, each with its evidence."""
    record = Record(sqlite_url(tmp_path_factory.mktemp("record") / "record.db"))
    store = Store(trained.facts_url)
    assessor = Assessor(store, record, trained, clock)
    invoiced = np.unique(store.read()["invoices"]["customer_id"].astype(str))
    drawn = np.random.default_rng(1).choice(invoiced, 200, replace=False)
    found = []
    for place, customer in enumerate(drawn):
        answer = assessor.assess(str(customer), ORDERS[place % len(ORDERS)])
        entry = record.find(json.loads(answer)["id"])
        found.append((answer, json.loads(entry.body)["evidence"]))
    return found


@pytest.fixture(scope="module")
def said(answers) -> list[dict[str, Any]]:
    return [json.loads(answer) for answer, _ in answers]


# Laws of every answer.


def test_answers_are_what_the_schema_describes(answers):
    for answer, _ in answers:
        Assessment.model_validate_json(answer)


def test_what_is_recorded_is_about_the_customer_that_its_body_names(trained, clock, tmp_path):
    record = Record(sqlite_url(tmp_path / "record.db"))
    assess = assessor_of(trained, clock).at_one_instant(COMMAND_LINE)
    for customer in ("C-00001", "C-00002"):
        new = assess(customer, ORDER, None).new
        assert new.about == customer == customer_of(new.kind, new.body)
        record.append_many([new])
        assert [one.id for one in record.of_customer(customer, "assessment", 9)] == [new.id]


def test_the_reasons_add_up_to_the_log_odds_and_these_to_the_probability(said):
    explained = [one["explanation"] for one in said if one["explanation"]]
    assert len(explained) > 150
    for one in explained:
        parts = [one["base"], *(reason["contribution"] for reason in one["reasons"]), one["other"]]
        assert math.fsum(parts) == pytest.approx(one["log_odds"], abs=1e-9)
        assert one["probability"] == pytest.approx(1 / (1 + math.exp(-one["log_odds"])), abs=1e-12)
    assert any(one["other"] != 0 for one in explained)


def test_the_explanation_is_of_the_curve_at_the_horizon_of_the_policy(said, answers, trained):
    curve = bundles.read(trained.bundles, Champions.load(trained.champions).default).curve
    for one, (_, evidence) in zip(said, answers, strict=True):
        if one["explanation"]["curve"] == "default":
            horizon = min(one["order"]["terms_days"] + 90, 365)
            row = np.array([float.fromhex(value) for value in evidence["features"]])
            known = row[: len(curve.features)]
            asked = curve.at(known, np.array([horizon], np.int32))[0]
            assert one["explanation"]["horizon_days"] == horizon
            assert one["explanation"]["probability"] == asked
            contributions = curve.explain(known, horizon).contributions
            for reason in one["explanation"]["reasons"]:
                place = curve.features.index(reason["feature"])
                assert reason["contribution"] == contributions[place]


def test_there_are_at_most_four_reasons_largest_first_in_both_languages(said):
    for one in said:
        reasons = (one["explanation"] or {"reasons": []})["reasons"]
        sizes = [abs(reason["contribution"]) for reason in reasons]
        assert len(sizes) <= 4
        assert sizes == sorted(sizes, reverse=True)
        measures = [dictionary()[reason["feature"]].field for reason in reasons]
        assert len(set(measures)) == len(measures)  # two windows of one measure are one reason
        for reason in reasons:
            assert reason["contribution"] != 0
            assert len(reason["fr"]) > 10
            assert len(reason["en"]) > 10
            assert reason["fr"] != reason["en"]


def test_late_falls_with_the_term_and_default_rises_with_the_horizon(said):
    for one in said:
        late = list(one["late"].values())
        assert list(one["late"]) == ["0", "5", "15", "30", "60"]
        assert all(0 <= p <= 1 for p in late)
        assert late == sorted(late, reverse=True)
        if one["default"] is not None:
            default = list(one["default"].values())
            assert list(one["default"]) == ["30", "90", "180", "365"]
            assert all(0 <= p <= 1 for p in default)
            assert default == sorted(default)


def test_late_falls_somewhere_and_default_rises_somewhere(said):
    assert all(one["late"]["0"] > one["late"]["60"] for one in said)
    assert all(one["default"]["30"] < one["default"]["365"] for one in said if one["default"])


def test_payment_dates_follow_each_other_and_are_read_off_the_late_curve(said, trained):
    champion = Champions.load(trained.champions).late
    tail = bundles.read(trained.bundles, champion).curve.tail
    for one in said:
        due_on = date(2025, 7, 3) + timedelta(days=one["order"]["terms_days"])
        dates = [d for d in one["paid_on"].values() if d is not None]
        assert dates == sorted(dates)
        for term, late in one["late"].items():
            paid_by = str(due_on + timedelta(days=int(term)))
            for quantile, expected in (("p10", tail), ("p50", 0.5), ("p90", 1 - tail)):
                reached = one["paid_on"][quantile]
                assert (reached is not None and reached <= paid_by) == (1 - late >= expected - 1e-9)


def test_the_chosen_option_is_the_best_admissible_one_and_the_action(said):
    for one in said:
        options, recommended = one["options"], one["recommendation"]
        chosen = [option for option in options if option["chosen"]]
        if "default_curve_abstains" in {rule["id"] for rule in one["rules"]}:
            assert (chosen, recommended["action"]) == ([], "review")
            continue
        admissible = [option for option in options if option["admissible"]]
        profits = [Decimal(option["expected_profit"]) for option in admissible]
        assert [options[0]] == chosen
        assert profits == sorted(profits, reverse=True)
        assert admissible == options[: len(admissible)]
        assert all((option["obstacle"] is None) == option["admissible"] for option in options)
        if recommended["requires_human"]:
            assert recommended["action"] == "review"
            assert recommended["proposed_action"] == chosen[0]["kind"]
        else:
            assert recommended["action"] == chosen[0]["kind"]
            assert recommended["proposed_action"] is None
        assert recommended["deposit_rate"] == chosen[0]["deposit_rate"]
    assert {one["recommendation"]["action"] for one in said} >= {"open", "refuse", "review"}


def test_an_order_is_described_as_an_invoice_issued_on_its_as_of_would_be(trained):
    """Training describes an invoice by what was known before its issue date; so does serving."""
    store = Store(trained.facts_url)
    history = build_history(store.read(), store.ledger.observed_from)
    issued = np.flatnonzero(history.invoices.issued_on == history.invoices.issued_on.max())[:1]
    row = build(history, invoice_spine(history, issued))
    one = invoice_spine(history, issued)
    planned = one._replace(invoice=np.array([-1]), issued_on=one.as_of)
    assert build(history, planned).tobytes() == row.tobytes()


def test_the_probability_that_is_explained_is_the_one_that_prices_credit(said):
    priced = 0
    for one in said:
        uncovered = one["insurance"]["covered"] == "0.00" and Decimal(one["exposure"]["total"]) >= 0
        if one["explanation"]["curve"] == "default" and uncovered:
            for option in one["options"]:
                if option["kind"] in ("open", "deposit", "reduced_limit"):
                    loss = Decimal(option["credit"]) * Decimal(one["explanation"]["probability"])
                    lost, lgd_rate = Decimal(option["expected_loss"]), Decimal(option["lgd_rate"])
                    assert 0 < lgd_rate <= Decimal("0.6")  # cures taken off
                    assert abs(lost - loss * lgd_rate) <= Decimal("0.0051")
                    priced += option["kind"] == "open"
    assert priced > 50


def test_money_has_two_decimals(said):
    for one in said:
        option = one["options"][0]
        for money in (*(one["order"][k] for k in ("amount", "margin")), option["expected_profit"]):
            whole, cents = money.removeprefix("-").split(".")
            assert whole.isdigit()
            assert len(cents) == 2
    assert {one["order"]["margin"] for one in said} >= {"-1.00", "0.00", "500.00"}


def test_the_answer_says_what_spoke_and_when(said, trained):
    champions = Champions.load(trained.champions)
    for one in said:
        assert one["as_of"] == "2025-07-03"
        assert one["known_at"] == "2025-07-02T09:14:07Z"
        assert one["currency"] == "EUR"
        assert one["versions"]["late"] == f"sha256:{champions.late}"
        assert one["versions"]["default"] == f"sha256:{champions.default}"
        assert one["versions"]["policy"] == f"sha256:{champions.policy}"


# One customer's facts give the same bits as the whole ledger's.


def test_online_features_are_bit_equal_to_the_batch_row(said, answers, trained):
    store = Store(trained.facts_url)
    history = build_history(store.read(), store.ledger.observed_from)
    customers = np.array([one["customer"]["id"] for one in said], object)
    orders = [one["order"] for one in said]
    terms = np.array([order["terms_days"] for order in orders], np.int32)
    cents = np.array([int(Decimal(order["amount"]) * 100) for order in orders])
    as_of = np.full(customers.size, AS_OF, np.int32)
    planned = np.full(customers.size, -1)
    spine = Spine(history.codes(customers), as_of, planned, cents, as_of, as_of + terms)
    batch = build(history, spine)
    online = np.array([[float.fromhex(v) for v in e["features"]] for _, e in answers])
    assert online.tobytes() == batch.tobytes()


def test_the_evidence_gives_the_same_features_again_after_a_later_import(seller, clock):
    answer = json.loads(assessor_of(seller, clock).assess("C-00001", ORDER))
    body = Record(seller.record_url).find(answer["id"]).body
    evidence = json.loads(body)["evidence"]
    add(seller, "customer | due_on | settled_on | amount\nC-00001 | 2025-03-01 | 2025-06-01 | 900")
    store, sequence = Store(seller.facts_url), evidence["sequence"]
    known_at = evidence["known_at_microseconds"]
    facts = store.read("C-00001", known_at, sequence, versions=True)
    history = build_history(facts, evidence["observed_from"], store.peers(sequence))
    one = np.array([AS_OF], np.int32)
    none = np.array([-1])
    cents = np.array([ORDER.amount_cents])
    row = build(history, Spine(np.array([0]), one, none, cents, one, one + 30))[0]
    assert [value.hex() for value in row.tolist()] == evidence["features"]


def test_facts_older_than_the_ledger_move_the_start_of_its_windows(seller, clock):
    """A window longer than the observed history is missing; older facts make it observed."""
    assessor, record = assessor_of(seller, clock), Record(seller.record_url)
    before = json.loads(assessor.assess("C-00001", ORDER))
    add(seller, "due_on | settled_on | amount\n2001-03-01 | 2001-03-01 | 900")
    after = json.loads(assessor.assess("C-00001", ORDER))
    first = [json.loads(record.find(a["id"]).body)["evidence"] for a in (before, after)]
    assert first[0]["observed_from"] > day("2015-01-01")
    assert first[1]["observed_from"] == day("2001-01-30")


# Reading an answer again.


def test_an_answer_is_read_again_byte_for_byte(seller, clock):
    assessor = assessor_of(seller, clock)
    answer = assessor.assess("C-00001", None)
    assert assessor.find(json.loads(answer)["id"]) == answer
    assert assessor.find("00000000-0000-7000-8000-000000000000") is None


def test_a_later_import_of_old_facts_does_not_change_an_earlier_answer(seller, clock):
    assessor = assessor_of(seller, clock)
    answer = assessor.assess("C-00001", ORDER)
    add(seller, "customer | due_on | settled_on | amount\nC-00001 | 2025-02-01 | | 5000")
    again = assessor.assess("C-00001", ORDER)
    assert told(again)["exposure"] != told(answer)["exposure"]
    assert assessor.find(json.loads(answer)["id"]) == answer


def test_threads_get_the_same_answers(seller, clock):
    assessor = assessor_of(seller, clock)
    alone = told(assessor.assess("C-00001", ORDER))
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda _: assessor.assess("C-00001", ORDER), range(24)))
    assert all(told(answer) == alone for answer in together)
    assert len({json.loads(answer)["id"] for answer in together}) == 24


# The order.


def test_without_an_order_the_usual_one_is_assumed(assessor):
    """
    due_on     | settled_on | amount
    2025-03-01 | 2025-03-01 | 100
    2025-04-01 | 2025-04-01 | 300
    2025-05-01 | 2025-05-01 | 200
    """
    answer = told(assessor.assess("A", None))
    assert answer["order"] == {
        "amount": "200.00",  # the median
        "margin": "10.00",  # 5 % of it
        "terms_days": 30,
        "paid": "0.00",
        "assumed": True,
    }
    given = assessor.assess("A", Order(200_00, 10_00, 30))
    assert told(given)["order"]["assumed"] is False
    assert told(given)["options"] == answer["options"]


def test_the_usual_order_is_that_of_the_latest_twenty_invoices(blank, clock):
    many = "\n".join(f"2024-{m:02d}-{d:02d} | | 900" for m in range(1, 8) for d in (3, 6, 9))
    few = "\n".join(f"2025-0{m}-{d:02d} | | 100" for m in (4, 5) for d in range(1, 11))
    add(blank, f"due_on | settled_on | amount\n{many}\n{few}")
    answer = told(assessor_of(blank, clock).assess("A", None))
    assert answer["order"]["amount"] == "100.00"


def test_a_post_dated_invoice_is_not_usual_yet(assessor):
    """
    invoice | issued_on  | due_on     | amount | recorded_at
    F-1     | 2025-05-01 | 2025-06-01 | 100    | 2025-05-01
    F-2     | 2025-07-03 | 2025-09-30 | 999    | 2025-07-01
    """
    answer = told(assessor.assess("A", None))
    assert (answer["order"]["amount"], answer["order"]["terms_days"]) == ("100.00", 31)
    assert answer["exposure"]["total"] == "100.00"


def test_a_customer_without_invoices_needs_an_order(assessor):
    """
    customer | name
    A        | Atelier Morel
    """
    with pytest.raises(OrderNeeded, match="give one"):
        assessor.assess("A", None)
    answer = told(assessor.assess("A", ORDER))
    assert answer["customer"]["name"] == "Atelier Morel"
    assert answer["exposure"]["total"] == "0.00"
    assert answer["recommendation"]["action"] == "review"


# How good the customer is, and how well we know.


def test_of_a_stranger_both_curves_say_nothing_and_which_record_would_help(seller, clock):
    weights = {"settled": 0.9, "accounts": 1.2, "cover": 0.4}
    put_in_charge(seller, default=another(seller, "default", family_weights=weights))
    add(seller, "customer | name\nA | Atelier Morel")
    answer = told(assessor_of(seller, clock).assess("A", ORDER))
    assert answer["customer"]["data_depth"] == "G"
    assert answer["customer"]["grade"] is answer["customer"]["score"] is None
    for said in ("late", "late_bands", "paid_on", "default", "default_interval", "explanation"):
        assert answer[said] is None
    assert set(answer["abstentions"]) == {"late", "default"}
    default = answer["abstentions"]["default"]
    assert default["reason"].startswith("nothing is known of this customer")
    assert default["record"] == "accounts"
    assert default["en"].endswith("what would help most: published accounts")
    assert default["fr"].endswith("ce qui aiderait le plus : des comptes publiés")
    assert answer["recommendation"]["action"] == "review"


def test_published_accounts_alone_are_enough_for_the_late_curve(assessor):
    """
    statement_id | closed_on  | published_on | revenue
    S-1          | 2024-12-31 | 2025-05-01   | 100000
    """
    answer = told(assessor.assess("A", ORDER))
    assert answer["customer"]["data_depth"] == "F"
    assert answer["late"] is not None
    assert answer["default"] is None  # the curve learned from customers who buy
    assert "no invoice" in answer["abstentions"]["default"]["reason"]
    assert answer["recommendation"]["action"] == "review"


def test_a_first_unpaid_invoice_past_its_due_date_is_something_known(assessor):
    """
    due_on     | settled_on | amount
    2025-07-01 |            | 5000
    """
    assert told(assessor.assess("A", ORDER))["customer"]["data_depth"] == "F"


def test_grade_and_score_are_those_of_the_probability_within_a_year(said):
    for one in said:
        customer, default = one["customer"], one["default"]
        if default is None:
            assert (customer["grade"], customer["score"]) in {(None, None), ("H", 0)}
            assert one["default_interval"] is None
            continue
        low, high = grades.bounds(customer["grade"])
        assert low < default["365"] <= high
        assert customer["score"] == grades.score(default["365"])
    assert len({one["customer"]["grade"] for one in said}) > 3
    assert len({one["customer"]["data_depth"] for one in said}) > 3


def test_a_customer_in_default_is_h_and_0_even_in_a_thin_file(assessor):
    """
    event_id | kind      | opened_on
    E-1      | safeguard | 2025-06-20
    """
    answer = told(assessor.assess("A", ORDER))
    customer = answer["customer"]
    assert (customer["grade"], customer["score"], customer["data_depth"]) == ("H", 0, "G")
    assert answer["recommendation"]["action"] == "cash"


def test_the_interval_is_that_of_the_customers_depth(seller, clock):
    table = {letter: {"low": -0.1 * i, "high": 0.2 * i} for i, letter in enumerate("ABCDEFG", 1)}
    put_in_charge(seller, default=another(seller, "default", depth=table))
    thin = "A | F-A | 2025-03-01 | 2025-03-01 | 100"
    rich = "\n".join(f"B | F-{i} | 2025-03-{i:02d} | 2025-03-{i:02d} | 100" for i in range(1, 13))
    add(seller, f"customer | invoice | due_on | settled_on | amount\n{thin}\n{rich}")
    assessor = assessor_of(seller, clock)
    for customer, depth in (("A", "E"), ("B", "C")):
        answer = told(assessor.assess(customer, ORDER))
        assert answer["customer"]["data_depth"] == depth
        odds = [p / (1 - p) for p in (answer["default"]["365"], *_ends(answer))]
        offsets = table[answer["customer"]["data_depth"]]
        assert math.log(odds[1] / odds[0]) == pytest.approx(offsets["low"])
        assert math.log(odds[2] / odds[0]) == pytest.approx(offsets["high"])
        assert answer["default_interval"]["horizon_days"] == 365


def _ends(answer: dict[str, Any]) -> tuple[float, float]:
    return answer["default_interval"]["low"], answer["default_interval"]["high"]


def test_a_champion_registered_without_intervals_still_speaks(seller, clock):
    found = bundles.read(seller.bundles, Champions.load(seller.champions).default)
    reference = {"median": found.reference["median"]}
    bare = bundles.write(seller.bundles, found.curve, reference, found.card)
    put_in_charge(seller, default=bare)
    add(seller, "due_on | settled_on | amount\n2025-03-01 | 2025-03-01 | 100")
    answer = told(assessor_of(seller, clock).assess("A", ORDER))
    assert answer["default"] is not None
    assert answer["default_interval"] is None


def test_late_bands_are_read_off_the_late_curve_and_add_up(said):
    for one in said:
        if one["late"] is None:
            assert one["late_bands"] is None
            continue
        told_in = one["late_bands"]
        assert (told_in["late_after_days"], told_in["very_late_after_days"]) == (0, 30)
        assert told_in["on_time"] == 1 - one["late"]["0"]
        assert told_in["very_late"] == one["late"]["30"]
        total = told_in["on_time"] + told_in["late"] + told_in["very_late"]
        assert total == pytest.approx(1, abs=1e-12)


# Who is asked about.


def test_an_unknown_customer_is_refused_without_repeating_who(blank, clock):
    assessor = assessor_of(blank, clock)
    with pytest.raises(UnknownCustomer) as refused:
        assessor.assess("C-nobody", ORDER)
    assert "nobody" not in refused.value.detail


def test_a_customer_in_default_is_not_asked_about_default(assessor):
    """
    due_on     | settled_on | amount
    2025-01-01 |            | 5000
    2025-02-01 | 2025-02-01 | 100
    """
    answer = told(assessor.assess("A", ORDER))
    assert answer["default"] is None
    assert answer["explanation"]["curve"] == "late"
    assert answer["abstentions"] == {"default": {"reason": "the customer is already in default"}}
    assert answer["late"] is not None
    credit = {o["kind"]: o for o in answer["options"] if o["credit"] != "0.00"}
    assert credit["open"]["expected_loss"] == "1200.00"  # 2,000 × 60 % for sure
    assert answer["recommendation"]["action"] == "cash"


def test_the_day_before_90_days_past_due_is_no_default_yet(assessor):
    """
    due_on     | settled_on | amount | customer
    2025-04-03 |            | 5000   | A
    2025-04-04 |            | 5000   | B
    """
    assert told(assessor.assess("A", ORDER))["default"] is None
    assert told(assessor.assess("B", ORDER))["default"] is not None


def test_a_customer_in_insolvency_pays_cash_or_is_refused(assessor):
    """
    due_on     | settled_on | amount
    2025-05-01 | 2025-05-01 | 5000

    event_id | kind         | opened_on
    E-1      | safeguard    | 2025-06-20
    """
    answer = told(assessor.assess("A", ORDER))
    assert answer["recommendation"]["action"] == "cash"
    assert answer["recommendation"]["limit"] == "0.00"
    open_to_us = {o["kind"] for o in answer["options"] if o["admissible"]}
    assert open_to_us == {"cash", "review", "refuse"}
    assert {o["obstacle"]["id"] for o in answer["options"] if not o["admissible"]} == {
        "insolvency_opened"
    }
    assert "insolvency_opened" in [rule["id"] for rule in answer["rules"]]


def test_a_judgment_of_tomorrow_is_not_known(assessor):
    """
    event_id | kind      | opened_on  | recorded_at
    E-1      | safeguard | 2025-07-03 | 2025-07-01
    """
    fired = {rule["id"] for rule in told(assessor.assess("A", ORDER))["rules"]}
    assert "insolvency_opened" not in fired


def test_anything_but_open_terms_for_a_natural_person_is_a_persons_decision(assessor, blank):
    """
    customer | is_natural_person
    A        | yes
    """
    add(blank, "customer | due_on | settled_on | amount\nA | 2025-06-01 | 2025-06-01 | 900")
    dear, cheap = Order(90_000_00, 100_00, 60), Order(100_00, 60_00, 30)
    held, taken = told(assessor.assess("A", dear)), told(assessor.assess("A", cheap))
    assert held["customer"]["is_natural_person"] is True
    assert held["recommendation"]["action"] == "review"
    assert held["recommendation"]["proposed_action"] not in (None, "open")
    assert [rule["id"] for rule in held["rules"]].count("natural_person") == 1
    assert taken["recommendation"]["action"] == "open"
    assert taken["rules"] == []


# What the customer owes, and what is insured.


@pytest.mark.parametrize(
    ("settlements", "exposure"),
    [
        ("", "1000.00"),
        ("F-1 | 2025-06-10 | payment | 400", "600.00"),
        ("F-1 | 2025-06-10 | credit_note | 1000", "0.00"),
        ("F-1 | 2025-06-10 | write_off | 1000", "0.00"),
        ("    | 2025-06-10 | write_off | 1400", "0.00"),  # a loss is not money
        ("F-1 | 2025-06-10 | payment | 999.99", "0.00"),  # within the tolerance
        ("    | 2025-06-10 | payment | 400", "600.00"),
        ("    | 2025-06-10 | payment | 1400", "-400.00"),
        ("F-1 | 2025-06-10 | payment | 1400", "-400.00"),
        ("F-1 | 2025-06-10 | payment | 1400\n | 2025-06-11 | reversal | 400", "0.00"),
        ("F-1 | 2025-06-10 | payment | 1000\nF-1 | 2025-06-11 | reversal | 1000", "1000.00"),
        ("F-1 | 2025-07-03 | payment | 1000", "1000.00"),  # tomorrow
        ("    | 2025-07-03 | payment | 1400", "1000.00"),
    ],
)
def test_exposure_is_what_is_open_less_money_not_used_yet(blank, clock, settlements, exposure):
    add(blank, "invoice | issued_on | due_on | amount\nF-1 | 2025-05-01 | 2025-06-01 | 1000")
    if settlements:
        add(blank, f"invoice | settled_on | kind | amount\n{settlements}")
    assert told(assessor_of(blank, clock).assess("A", ORDER))["exposure"]["total"] == exposure


@pytest.mark.parametrize(
    ("covers", "covered", "valid_to", "any_runs"),
    [
        ("1 | 2025-01-01 |            | 9000 | 2025-01-01", "9000.00", None, True),
        ("1 | 2025-01-01 | 2025-07-01 | 9000 | 2025-01-01", "0.00", None, False),  # ended yesterday
        (
            "1 | 2025-01-01 | 2025-07-02 | 9000 | 2025-01-01",
            "9000.00",
            "2025-07-02",
            True,
        ),  # ends today
        ("1 | 2025-07-02 |            | 9000 | 2025-06-01", "9000.00", None, True),  # starts today
        ("1 | 2025-07-03 |            | 9000 | 2025-06-01", "0.00", None, False),  # starts tomorrow
        (
            "1 | 2025-01-01 |            | 9000 | 2025-07-02T10:00",
            "0.00",
            None,
            False,
        ),  # heard later
        (
            "1 | 2025-01-01 |            | 9000 | 2025-01-01\n"
            "2 | 2025-05-01 |            | 3000 | 2025-05-01",
            "3000.00",
            None,
            True,
        ),
        (
            "1 | 2025-05-01 |            | 9000 | 2025-05-01\n"
            "2 | 2025-01-01 |            | 3000 | 2025-01-01",
            "9000.00",
            None,
            True,
        ),
        (
            "1 | 2025-01-01 |            | 9000 | 2025-01-01\n"
            "2 | 2025-05-01 |            | 0    | 2025-05-01",  # a refusal
            "0.00",
            None,
            True,
        ),
        (
            "1 | 2025-05-01 |            | 9000 | 2025-05-01T18:00\n"
            "2 | 2025-05-01 |            | 3000 | 2025-05-01T09:00",  # corrected on the same day
            "9000.00",
            None,
            True,
        ),
        (
            "1 | 2025-01-01 |            | 9000 | 2025-01-01\n"
            "2 | 2025-05-01 | 2025-06-01 | 3000 | 2025-05-01",
            "9000.00",
            None,
            True,
        ),
    ],
)
def test_the_cover_is_the_one_decided_last_among_those_that_run_today(
    blank, clock, covers, covered, valid_to, any_runs
):
    lines = "\n".join(f"{line} | 0.9" for line in covers.split("\n"))
    add(
        blank,
        f"cover_id | starts_on | ends_on | amount | recorded_at | insured_rate\n{lines}",
    )
    shown = told(assessor_of(blank, clock).assess("A", ORDER))["insurance"]
    assert (shown["covered"], shown["valid_to"]) == (covered, valid_to)
    assert shown["insured_rate"] == (0.9 if any_runs else 0.0)


# Only what is known now.

OVERDUE = "invoice | issued_on | due_on | amount\nF-1 | 2025-02-01 | 2025-03-01 | 1000"
NEWS = {
    "invoice": "invoice | issued_on | due_on | amount | recorded_at\n"
    "F-9 | {on} | 2025-12-31 | 700 | {at}",
    "payment": "invoice | settled_on | amount | recorded_at\nF-1 | {on} | 500 | {at}",
    "cash": "invoice | settled_on | amount | recorded_at\n | {on} | 500 | {at}",
    "dispute": "dispute_id | invoice | opened_on | recorded_at\nD-1 | F-1 | {on} | {at}",
    "cover": "cover_id | starts_on | amount | insured_rate | recorded_at\n"
    "1 | {on} | 900 | 0.9 | {at}",
    "judgment": "event_id | kind | opened_on | recorded_at\nE-1 | liquidation | {on} | {at}",
}


@pytest.mark.parametrize("news", NEWS)
@pytest.mark.parametrize(
    ("on", "at", "is_seen"),
    [
        ("2025-06-30", "2025-07-02T09:14:06", True),
        ("2025-06-30", "2025-07-02T09:14:07", False),  # the clock's very instant
        ("2025-06-30", "2025-07-09", False),
        ("2025-07-03", "2025-07-01", False),  # post-dated
    ],
)
def test_facts_count_from_the_day_they_happened_and_were_recorded(
    blank, clock, news, on, at, is_seen
):
    add(blank, OVERDUE)
    assessor = assessor_of(blank, clock)
    before = told(assessor.assess("A", None))
    add(blank, NEWS[news].format(on=on, at=at))
    assert (told(assessor.assess("A", None)) != before) == is_seen


def test_a_customer_recorded_later_is_unknown(blank, clock):
    add(blank, "customer | recorded_at\nNew | 2025-07-02T09:14:08")
    with pytest.raises(UnknownCustomer):
        assessor_of(blank, clock).assess("New", ORDER)
    later = assessor_of(blank, lambda: clock() + timedelta(seconds=2))
    assert told(later.assess("New", ORDER))["customer"]["id"] == "New"


# What may speak.


def another(
    workspace: Workspace,
    question: str,
    depth: dict[str, Any] | None = None,
    family_weights: dict[str, float] | None = None,
    **card: Any,
) -> str:
    """Write a bundle with the champion's curve under another card, or with another reference."""
    champion = getattr(Champions.load(workspace.champions), question)
    found = bundles.read(workspace.bundles, champion)
    given = {"depth": depth, "family_weights": family_weights}
    reference = found.reference | {name: one for name, one in given.items() if one is not None}
    return bundles.write(workspace.bundles, found.curve, reference, {**found.card, **card})


def put_in_charge(workspace: Workspace, **changes: Any) -> None:
    replace(Champions.load(workspace.champions), **changes).save(workspace.champions)


def damage(workspace: Workspace, what: str) -> None:
    """Put champions in charge that cannot be used."""
    sha256 = another(workspace, "default", note="damaged")
    folder = workspace.bundles / sha256
    match what:
        case "pointer":
            workspace.champions.write_bytes(b"{ \xff")
        case "no pointer":
            workspace.champions.unlink()
        case "policy":
            policy = next(workspace.policies.iterdir())
            policy.write_text(policy.read_text().replace("0.60", "0.61"))
            put_in_charge(workspace, default=sha256)
        case "no policy":
            put_in_charge(workspace, policy="0" * 64)
        case "no bundle":
            put_in_charge(workspace, default="0" * 64)
        case "lost file":
            (folder / "reference.json").unlink()
            put_in_charge(workspace, default=sha256)
        case "another ledger":
            put_in_charge(workspace, default=another(workspace, "default", ledger_id="other"))
        case "another definition":
            definition = {"name": "bureau", "days_past_due": 30, "exposure_rate": 0.1}
            changed = another(workspace, "default", default_definition=definition)
            put_in_charge(workspace, default=changed)
        case "another question":
            put_in_charge(workspace, late=Champions.load(workspace.champions).default)
        case _:
            file = folder / what
            file.write_bytes(file.read_bytes().replace(b"1", b"2", 1))
            put_in_charge(workspace, default=sha256)


DAMAGES = [
    "pointer",
    "no pointer",
    "policy",
    "no policy",
    "no bundle",
    "lost file",
    "booster.txt",
    "calibration.json",
    "features.json",
    "manifest.json",
    "another ledger",
    "another definition",
    "another question",
]


@pytest.mark.parametrize("what", DAMAGES)
def test_the_last_good_champions_keep_speaking_until_there_are_good_ones_again(seller, clock, what):
    assessor = assessor_of(seller, clock)
    good = Champions.load(seller.champions)
    policy = (seller.policies / f"{good.policy}.yaml").read_bytes()
    before = told(assessor.assess("C-00001", ORDER))
    damage(seller, what)
    with structlog.testing.capture_logs() as logs:
        assert told(assessor.assess("C-00001", ORDER)) == before
        assert told(assessor.assess("C-00001", ORDER)) == before
    assert [line["event"] for line in logs] == ["champions_refused"]  # not at each request
    assert assessor.readiness() is None

    (seller.policies / f"{good.policy}.yaml").write_bytes(policy)
    good.save(seller.champions)
    sha256 = another(seller, "late", note="better")
    put_in_charge(seller, late=sha256)
    after = told(assessor.assess("C-00001", ORDER))
    assert after["versions"]["late"] == f"sha256:{sha256}"
    assert after["versions"]["default"] == before["versions"]["default"]


@pytest.mark.parametrize("what", DAMAGES)
def test_nothing_is_answered_when_the_only_champions_are_damaged(seller, clock, what):
    damage(seller, what)
    assessor = assessor_of(seller, clock)
    with pytest.raises(NotReady, match="No model can be used"):
        assessor.assess("C-00001", ORDER)
    assert "encours promote" in assessor.readiness()


def test_champions_mended_in_place_are_taken_up(seller, clock, monkeypatch):
    assessor = assessor_of(seller, clock)
    assessor.assess("C-00001", ORDER)
    sha256 = another(seller, "default", note="copied slowly")
    file = seller.bundles / sha256 / "booster.txt"
    whole = file.read_bytes()
    file.write_bytes(whole[:1000])
    put_in_charge(seller, default=sha256)
    monkeypatch.setattr(use_case, "RETRY_SECONDS", 0.0)
    with structlog.testing.capture_logs():
        assert sha256 not in told(assessor.assess("C-00001", ORDER))["versions"]["default"]
    file.write_bytes(whole)
    assert told(assessor.assess("C-00001", ORDER))["versions"]["default"] == f"sha256:{sha256}"


def test_a_refusal_is_logged_once_however_often_they_are_tried(seller, clock, monkeypatch):
    assessor = assessor_of(seller, clock)
    assessor.assess("C-00001", ORDER)
    monkeypatch.setattr(use_case, "RETRY_SECONDS", 0.0)
    for spoilt in (b"[" * 200_000, b"{}"):
        seller.champions.write_bytes(spoilt)
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                assessor.assess("C-00001", ORDER)
        assert [line["event"] for line in logs] == ["champions_refused"]


def test_a_policy_that_was_changed_is_refused_before_it_is_parsed(seller, clock, monkeypatch):
    good = Champions.load(seller.champions)
    (seller.policies / f"{good.policy}.yaml").write_text("- &a [*a]")
    monkeypatch.setattr("serving.speaking.load", lambda _: pytest.fail("it was parsed"))
    with pytest.raises(NotReady, match="was changed"):
        assessor_of(seller, clock).assess("C-00001", ORDER)


def test_it_is_not_ready_while_the_record_cannot_be_written_and_says_why(seller, clock):
    assessor = assessor_of(seller, clock)
    assert assessor.readiness() is None
    assessor._record._note(OperationalError("COMMIT", None, OSError("database or disk is full")))
    assert assessor.readiness() == "The record cannot be written now (its disk is full)."


def test_without_champions_it_is_not_ready_and_after_a_promotion_it_is(seller, clock):
    aside = seller.champions.rename(seller.home / "aside")
    assessor = assessor_of(seller, clock)
    with pytest.raises(NotReady, match="encours train"):
        assessor.assess("C-00001", ORDER)
    assert "champions.json" in assessor.readiness()
    shutil.copy(aside, seller.champions)
    assert assessor.readiness() is None
    assert told(assessor.assess("C-00001", ORDER))["late"] is not None


def test_champions_of_another_ledger_do_not_speak(seller, clock):
    engine = connect(seller.facts_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE ledger SET id = 'another'")
    engine.dispose()
    with pytest.raises(NotReady, match="trained on another ledger"):
        assessor_of(seller, clock).assess("C-00001", ORDER)


@pytest.mark.parametrize("question", CURVES)
def test_a_curve_that_abstains_gives_null_its_reason_and_a_review(seller, clock, question):
    why = {"reason": "12 matured defaults, at least 50 are needed", "events": 12, "floor": 50}
    add(seller, "customer | due_on | settled_on | amount\nC-00001 | 2025-06-20 | 2025-06-20 | 900")
    put_in_charge(seller, **{question: None}, abstentions={question: why})
    body = assessor_of(seller, clock).assess("C-00001", ORDER)
    Assessment.model_validate_json(body)
    answer = told(body)
    assert answer[question] is None
    assert answer["abstentions"] == {question: why}
    assert answer["versions"][question] is None
    assert (answer["paid_on"] is None) == (question == "late")
    explained = answer["explanation"]
    assert explained["curve"] == ("late" if question == "default" else "default")
    assert answer["recommendation"]["action"] == "review"
    assert answer["recommendation"]["requires_human"] is True
    assert answer["recommendation"]["limit"] is None
    assert not any(option["chosen"] for option in answer["options"])
    assert {option["kind"] for option in answer["options"]} == {"cash", "review", "refuse"}


# As the service and the command line start it.


def test_without_a_ledger_it_waits_says_why_and_makes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("ENCOURS_HOME", str(tmp_path))
    waiting = desk_from_environment()
    assert "encours import" in waiting.readiness()
    with pytest.raises(NotReady, match="encours import"):
        waiting.get()
    assert list(tmp_path.iterdir()) == []


def test_it_is_ready_as_soon_as_there_is_a_ledger(seller, tmp_path, monkeypatch):
    monkeypatch.setenv("ENCOURS_HOME", str(tmp_path / "later"))
    monkeypatch.setenv("ENCOURS_TODAY", "2025-05-31")
    waiting = desk_from_environment()
    assert waiting.readiness() is not None
    shutil.copytree(seller.home, tmp_path / "later")
    assert waiting.readiness() is None
    assert told(waiting.get().assessor.assess("C-00001", ORDER))["as_of"] == "2025-06-01"


def test_a_bad_day_in_the_environment_is_said_and_not_raised(seller, monkeypatch):
    monkeypatch.setenv("ENCOURS_HOME", str(seller.home))
    monkeypatch.setenv("ENCOURS_TODAY", "yesterday")
    assert "yesterday" in desk_from_environment().readiness()


def test_the_environment_can_set_the_day(seller, monkeypatch):
    monkeypatch.setenv("ENCOURS_HOME", str(seller.home))
    monkeypatch.setenv("ENCOURS_TODAY", "2025-05-31")
    answer = told(desk_from_environment().get().assessor.assess("C-00001", ORDER))
    assert (answer["as_of"], answer["known_at"]) == ("2025-06-01", "2025-05-31T23:59:59Z")


def test_by_default_the_day_is_today(seller, monkeypatch):
    monkeypatch.setenv("ENCOURS_HOME", str(seller.home))
    monkeypatch.delenv("ENCOURS_TODAY", raising=False)
    made_on = datetime.now(UTC).date()
    answer = told(desk_from_environment().get().assessor.assess("C-00001", ORDER))
    assert answer["as_of"] in {str(made_on + timedelta(days=n)) for n in (1, 2)}
