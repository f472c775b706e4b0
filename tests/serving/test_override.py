"""A person decides otherwise: who may, what is recorded, and which later orders it reaches."""

from __future__ import annotations

import hashlib
import json
import timeit
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pysqlite3
import pytest

from features.store import Source, Store
from models.policy import Order, load
from serving.assess import Assessor
from serving.audit import Record
from serving.override import Overrider, OverrideRefused, Wanted
from serving.overrides import Overrides
from serving.people import PeopleError
from serving.people import load as load_people
from serving.schemas import Assessment
from tests.features.ledgers import ledger_of, read_tables

POLICY = load(Path(__file__).parents[2] / "models" / "policy.yaml")
PEOPLE = {
    "Claire": "credit_manager",
    "Carl": "credit_manager",
    "Paul": "head_of_credit",
    "Sami": "sales_manager",
    "Olga": "cook",
}
ORDER = Order(2_000_00, 20_00, 30)
CUSTOMER = "C-00100"
REASON = "Retention of title signed, parent company pays."


class Desk:
    """One seller's assessments and overrides, at a time that can be moved."""

    def __init__(self, workspace, now: datetime) -> None:
        self.workspace, self.now = workspace, now
        self.store, self.record = Store(workspace.facts_url), Record(workspace.record_url)
        self.assessor = Assessor(self.store, self.record, workspace, lambda: self.now)

    def assess(self, order: Order = ORDER) -> dict:
        """Assess an order of the one customer; every answer keeps to the schema."""
        answer = self.assessor.assess(CUSTOMER, order)
        Assessment.model_validate_json(answer)
        return json.loads(answer)

    def decide(self, **wanted) -> dict:
        """Decide as Claire until 1 August, unless said."""
        asked = {"by": "Claire", "reason": REASON, "until": date(2025, 8, 1), **wanted}
        overrider = Overrider(self.store, self.record, POLICY, PEOPLE, lambda: self.now)
        return json.loads(overrider.decide(Wanted(**asked)))

    def add(self, text: str) -> None:
        """Import the tables that `text` shows."""
        tables = read_tables(text)
        del tables["customers"]
        self.store.append(ledger_of(tables), Source(()))


@pytest.fixture
def desk(seller, clock) -> Desk:
    return Desk(seller, clock())


@pytest.fixture
def asked(desk) -> dict:
    """Assess an order that the policy does not want on open terms."""
    answer = desk.assess()
    assert answer["recommendation"]["action"] not in ("open", "review")
    assert answer["override"] is None
    return answer


def opened(desk, asked, **wanted) -> dict:
    return desk.decide(assessment_id=asked["id"], kind="open", **wanted)


# What is recorded.


def test_the_decision_is_on_the_record_to_the_byte_and_names_the_assessment_it_overrides(
    desk, asked
):
    told = opened(desk, asked)
    entry = desk.record.find(told["override"]["id"])
    assert entry.kind == "override"
    assert json.loads(entry.body)["override"] == told["override"]
    assert entry.leaf_hash == hashlib.sha256(b"\0" + entry.body).hexdigest()
    assert told["record"] == {"entry": 2, "leaf_hash": entry.leaf_hash, "sealed": False}
    said, place = told["override"], asked["record"]
    assert said["assessment"] == {
        "id": asked["id"],
        "entry": place["entry"],
        "leaf_hash": place["leaf_hash"],
    }
    assert (said["by"], said["role"], said["reason"]) == ("Claire", "credit_manager", REASON)
    assert said["authenticated"] is False
    assert said["direction"] == "softer"
    assert said["proposed"]["action"] == asked["recommendation"]["action"]
    assert (said["expires_on"], said["decided_at"]) == ("2025-08-01", "2025-07-02T09:14:07Z")


def test_nothing_is_answered_that_is_not_durable(desk, asked):
    with pysqlite3.connect(desk.workspace.home / "record.db") as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON entries BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
    with pytest.raises(Exception, match="full"):
        opened(desk, asked)
    assert Overrides(desk.record).all() == []


def test_an_override_is_no_assessment_to_be_found(desk, asked):
    told = opened(desk, asked)
    assert desk.assessor.find(told["override"]["id"]) is None
    assert desk.assessor.find(asked["id"]) is not None


# Who may decide what.


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ({"assessment_id": "no-such-id"}, "no assessment of that id"),
        ({"by": "Nobody"}, "does not name 'Nobody'"),
        ({"by": "Olga"}, "Olga is cook"),
        ({"by": "Sami"}, "may not decide open, only deposit, cash, refuse"),
        ({"reason": "too short"}, "10 to 500 printable"),
        ({"reason": "x" * 501}, "10 to 500 printable"),
        ({"reason": "a reason\nwith a new line"}, "printable"),
        ({"reason": " " * 40}, "10 to 500 printable"),
        ({"until": None}, "must be given"),
        ({"until": date(2025, 7, 1)}, "must not be past"),
        ({"until": date(2025, 10, 1)}, "runs 90 days at most: to 2025-09-30"),
        ({"kind": "deposit"}, "needs a rate"),
        ({"kind": "deposit", "deposit_rate": Decimal(1)}, "between 0 and 1"),
        ({"deposit_rate": Decimal("0.2")}, "needs a rate"),
        ({"kind": "shorter_terms"}, "days below 30"),
        ({"kind": "shorter_terms", "terms_days": 30}, "days below 30"),
        ({"terms_days": 10}, "days below 30"),
        ({"kind": "reduced_limit"}, "needs the limit"),
        ({"kind": "cash", "limit_cents": 1}, "No limit goes with cash"),
        ({"limit_cents": 100_00}, "below what is owed"),
        ({"limit_cents": 90_000_00}, "role may leave 50,000.00"),
        ({"kind": None}, "no decision in force to withdraw"),
    ],
)
def test_what_may_not_be_is_refused_in_one_sentence(desk, asked, wanted, why):
    with pytest.raises(OverrideRefused, match=why) as refused:
        desk.decide(**{"assessment_id": asked["id"], "kind": "open", **wanted})
    assert "\n" not in str(refused.value)
    assert Overrides(desk.record).all() == []


def test_an_amount_beyond_the_role_goes_to_the_next_one(desk):
    large = desk.assess(Order(120_000_00, 1_000_00, 30))
    with pytest.raises(OverrideRefused, match=r"leaves 120,000\.00 on credit"):
        opened(desk, large)
    assert opened(desk, large, by="Paul")["override"]["role"] == "head_of_credit"


def test_a_deposit_counts_for_what_it_leaves_on_credit(desk):
    """55,000 less a deposit of 10 % leaves 49,500, within 50,000; all of it does not."""
    answer = desk.assess(Order(55_000_00, 500_00, 30))
    with pytest.raises(OverrideRefused, match=r"55,000\.00"):
        opened(desk, answer)
    decided = desk.decide(assessment_id=answer["id"], kind="deposit", deposit_rate=Decimal("0.1"))[
        "override"
    ]["decided"]
    owed = Decimal(answer["exposure"]["total"])
    assert Decimal(decided["limit"]) == owed + Decimal("49500")


def test_whoever_agrees_with_the_policy_has_nothing_to_decide(desk, asked):
    own = asked["recommendation"]
    rate = own["deposit_rate"]
    with pytest.raises(OverrideRefused, match="recommends the same"):
        desk.decide(
            assessment_id=asked["id"],
            kind=own["action"],
            deposit_rate=None if rate is None else Decimal(str(rate)),
            terms_days=next(one for one in asked["options"] if one["chosen"])["terms_days"],
        )


def test_the_same_person_does_not_decide_twice_on_one_assessment(desk, asked):
    opened(desk, asked)
    with pytest.raises(OverrideRefused, match="Claire has already decided"):
        desk.decide(assessment_id=asked["id"], kind="cash")
    desk.decide(assessment_id=asked["id"], kind="refuse", by="Carl")  # another person may


def test_a_lower_role_does_not_undo_a_higher_one(desk, asked):
    desk.decide(assessment_id=asked["id"], kind="refuse", by="Paul")
    for kind in ("open", None):
        with pytest.raises(OverrideRefused, match="of head_of_credit is in force, a higher role"):
            desk.decide(assessment_id=asked["id"], kind=kind)


@pytest.mark.parametrize("mandate", ["policy without override", "policy"])
def test_the_policy_says_who_may_and_by_default_nobody(desk, asked, mandate):
    nobody = POLICY.model_copy(update={"override": type(POLICY.override)()})
    policy = POLICY if mandate == "policy" else nobody
    overrider = Overrider(desk.store, desk.record, policy, PEOPLE, lambda: desk.now)
    wanted = Wanted(asked["id"], "Claire", REASON, "open", until=date(2025, 8, 1))
    if mandate == "policy":
        assert overrider.decide(wanted)
    else:
        with pytest.raises(OverrideRefused, match="gives that role no decision"):
            overrider.decide(wanted)


def test_an_old_assessment_is_no_ground_to_decide_on(desk, asked):
    desk.now += timedelta(days=91)
    with pytest.raises(OverrideRefused, match="is of 2025-07-02, too old"):
        opened(desk, asked, until=date(2025, 11, 1))


FRAUD = """
    change_id | customer | changed_on | kind         | value      | recorded_at
    B1        | C-00100  | 2025-07-02 | bank_details | unverified | 2025-07-02
"""
INSOLVENT = """
    event_id | customer | kind           | opened_on  | recorded_at
    E1       | C-00100  | reorganisation | 2025-07-02 | 2025-07-02
"""


@pytest.mark.parametrize(
    ("fact", "words"),
    [(FRAUD, "bank details changed and not verified"), (INSOLVENT, "insolvency proceedings")],
)
def test_nobody_overrides_what_became_known_even_after_the_assessment(desk, asked, fact, words):
    desk.add(fact)
    with pytest.raises(OverrideRefused, match=f"Nobody may override this: {words}"):
        opened(desk, asked, by="Paul")


def test_a_cover_withdrawn_that_only_the_assessment_knew_is_recorded_as_known(desk, asked):
    entry = desk.record.find(asked["id"])
    body = json.loads(entry.body)
    body["evidence"]["facts"] = ["cover_withdrawn"]
    desk.record.append("by-http", "assessment", json.dumps(body).encode())
    told = opened(desk, {**asked, "id": "by-http"})
    assert told["override"]["facts"] == ["cover_withdrawn"]


def test_an_assessment_of_before_cannot_be_overridden(desk, asked):
    body = json.loads(desk.record.find(asked["id"]).body)
    del body["evidence"]["owed_cents"]
    desk.record.append("old", "assessment", json.dumps(body).encode())
    with pytest.raises(OverrideRefused, match="earlier version: assess again"):
        opened(desk, {**asked, "id": "old"})


# Later orders.


def test_a_later_order_is_answered_with_the_decision_and_shows_the_policys_own(desk, asked):
    told = opened(desk, asked)
    later = desk.assess()
    recommended, own = later["recommendation"], asked["recommendation"]
    assert recommended["action"] == "open"
    assert recommended["proposed_action"] == own["action"]
    assert recommended["requires_human"] is False
    assert recommended["en"] == "Decided by a person (credit_manager): accept on 30-day terms."
    assert recommended["fr"].startswith("Décidé par une personne (credit_manager) : accepter")
    assert recommended["customer_en"] == "Your order is accepted, payable in 30 days."
    assert [one["kind"] for one in later["options"] if one["chosen"]] == [own["action"]]
    assert later["override"] == {
        "id": told["override"]["id"],
        "assessment_id": asked["id"],
        "role": "credit_manager",
        **told["override"]["decided"],
        "decided_on": "2025-07-02",
        "expires_on": "2025-08-01",
    }
    (rule,) = [one for one in later["rules"] if one["id"] == "override"]
    assert "until 2025-08-01" in rule["en"]
    assert "jusqu’au 01/08/2025" in rule["fr"]
    assert "Claire" not in json.dumps(later)
    assert REASON not in json.dumps(later)


def test_a_deposit_that_a_person_asks_is_said_with_its_rate(desk, asked):
    desk.decide(assessment_id=asked["id"], kind="deposit", deposit_rate=Decimal("0.15"))
    recommended = desk.assess()["recommendation"]
    assert (recommended["action"], recommended["deposit_rate"]) == ("deposit", 0.15)
    assert "accept with a 15 % deposit on order" in recommended["en"]


@pytest.mark.parametrize(
    ("order", "counts"),
    [
        (ORDER, True),
        (ORDER._replace(amount_cents=1_999_99), True),
        (ORDER._replace(amount_cents=2_000_01), False),
        (ORDER._replace(terms_days=31), False),
        (ORDER._replace(paid_cents=2_000_00), False),  # needs nobody's leave
    ],
)
def test_it_reaches_orders_no_larger_and_on_no_longer_terms(desk, asked, order, counts):
    opened(desk, asked)
    assert (desk.assess(order)["override"] is not None) == counts


def test_delivered_and_unpaid_it_is_used_up(desk, asked):
    opened(desk, asked)
    desk.add("""
        invoice | customer | issued_on  | due_on     | amount  | recorded_at
        X-1     | C-00100  | 2025-07-02 | 2025-08-01 | 2000.00 | 2025-07-02
    """)
    assert desk.assess()["override"] is None


def test_a_limit_of_one_s_own_leaves_room_for_more_orders(desk, asked):
    owed = round(100 * Decimal(asked["exposure"]["total"]))
    opened(desk, asked, limit_cents=owed + 5_000_00)
    desk.add("""
        invoice | customer | issued_on  | due_on     | amount  | recorded_at
        X-1     | C-00100  | 2025-07-02 | 2025-08-01 | 2000.00 | 2025-07-02
    """)
    later = desk.assess()
    assert later["override"] is not None
    assert Decimal(later["recommendation"]["limit"]) == Decimal(owed + 5_000_00) / 100


def test_a_decision_harder_than_the_policy_s_holds_for_any_order(desk, asked):
    desk.decide(assessment_id=asked["id"], kind="refuse")
    larger = desk.assess(Order(4_000_00, 400_00, 60))
    assert larger["recommendation"]["action"] == "refuse"
    assert larger["override"]["action"] == "refuse"


def test_it_ends_on_its_last_day(desk, asked):
    opened(desk, asked)
    desk.now = desk.now.replace(month=8, day=1)
    assert desk.assess()["override"] is not None
    desk.now = desk.now.replace(month=8, day=2)
    assert desk.assess()["override"] is None


def test_it_ends_when_it_is_withdrawn_or_another_takes_its_place(desk, asked):
    opened(desk, asked)
    desk.decide(assessment_id=asked["id"], kind="cash", by="Carl")
    assert desk.assess()["override"]["action"] == "cash"
    desk.decide(assessment_id=asked["id"], kind=None, by="Carl")
    later = desk.assess()
    assert later["override"] is None
    assert later["recommendation"] == asked["recommendation"]


def test_another_customer_s_orders_are_not_touched(desk, asked):
    opened(desk, asked)
    other = json.loads(desk.assessor.assess("C-00002", Order(10_00, 1_00, 30)))
    assert other["override"] is None


WITHDRAWN = """
    cover_id | customer | starts_on  | amount | insured_rate | recorded_at
    K1       | C-00100  | 2025-01-01 | 100    | 0.9          | 2025-01-01
    K2       | C-00100  | 2025-07-02 | 0      | 0            | 2025-07-02
"""


@pytest.mark.parametrize("fact", [FRAUD, INSOLVENT, WITHDRAWN])
def test_a_barring_fact_that_appears_later_voids_it_and_the_answer_says_so(desk, asked, fact):
    opened(desk, asked)
    desk.add(fact)
    later = desk.assess()
    assert later["override"] is None
    assert later["recommendation"]["action"] != "open"
    assert [one["id"] for one in later["rules"]][-1] == "override_void"


def test_a_barring_fact_that_was_known_when_it_was_decided_does_not_void_it(desk, asked):
    desk.add(WITHDRAWN)
    again = desk.assess()
    assert opened(desk, again)["override"]["facts"] == ["cover_withdrawn"]
    assert desk.assess()["override"] is not None


def test_it_counts_in_another_process_from_the_moment_it_is_durable(desk, asked, clock):
    other = Desk(desk.workspace, clock())
    assert other.assess()["override"] is None
    opened(desk, asked)
    assert other.assess()["override"] is not None


def test_where_there_is_none_it_costs_next_to_nothing(desk, asked):
    overrides = Overrides(desk.record)
    each = min(timeit.repeat(lambda: overrides.in_force("C", date(2025, 7, 2)), number=50)) / 50
    assert each < 0.005
    with pysqlite3.connect(desk.workspace.home / "record.db") as connection:
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT body FROM entries "
            "WHERE kind <> 'assessment' AND kind = 'override' AND sequence > 5"
        ).fetchall()
    assert "entries_rare" in str(plan)


def test_a_record_of_before_gets_the_index(seller, clock):
    url = seller.record_url
    Record(url)
    with pysqlite3.connect(seller.home / "record.db") as connection:
        connection.execute("DROP INDEX entries_rare")
    assert Record(url).after(0, "override") == []
    with pysqlite3.connect(seller.home / "record.db") as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'").fetchall()
    assert ("entries_rare",) in names


# People.


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("people: {Claire: credit_manager, Claire: head_of_credit}", "key Claire is repeated"),
        ("people: {Claire: 3}", "people.yaml:1: people.Claire"),
        ("people: {Claire: Credit Manager}", "people.Claire"),
        ("persons: {Claire: credit_manager}", "persons: Extra inputs"),
        ("", "people: Field required"),
    ],
)
def test_the_file_of_people_is_read_strictly(tmp_path, text, fault):
    file = tmp_path / "people.yaml"
    file.write_text(text)
    with pytest.raises(PeopleError, match=fault):
        load_people(file)


def test_without_a_file_of_people_nobody_has_a_role(tmp_path):
    with pytest.raises(PeopleError, match="does not exist: it says who has which role"):
        load_people(tmp_path / "people.yaml")
