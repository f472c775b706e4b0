"""The reading desk on a real ledger: customers, parts, alerts, overrides, what is in charge."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import httpx
import pytest
from fastapi import FastAPI

from features.store import Store
from models.insurance import load as rules_of_insurer
from models.policy import Order
from models.workspace import Workspace
from serving import problems
from serving.alerts import Alerts
from serving.api import create_app
from serving.assess import Assessor
from serving.audit import Record
from serving.counterfactuals import NoCounterfactuals, counterfactuals
from serving.keys import Keys
from serving.opened import Opened
from serving.references import References
from serving.schemas.alert import AlertPage, AlertTold
from serving.schemas.counterfactuals import Counterfactuals
from serving.schemas.customer import (
    CustomerNow,
    ExplanationTold,
    ModelsTold,
    OptionsTold,
    PolicyTold,
    ScoreHistory,
)
from serving.schemas.override import OverridePage, OverrideTold
from serving.schemas.registers import Registers
from serving.situation import Insurer
from serving.watch import Watch
from tests.serving.test_access import bearer
from tests.serving.test_api import call, expect
from tests.serving.test_watch import WELL, WORSE

CUSTOMER, OTHER = "C-00100", "C-00101"
ORDER = Order(2_000_00, 20_00, 30)
REASON = "Retention of title signed, parent company pays."
UNKNOWN_ID = "01981f2e-7c1a-7d33-9f4e-5a0b6c7d8e9f"


class Served(NamedTuple):
    """A seller's service, and what stands behind it."""

    app: FastAPI
    opened: Opened
    workspace: Workspace
    keys: Keys
    watch: Watch

    def get(self) -> Opened:
        """Return what is opened, as a desk does."""
        return self.opened

    def readiness(self) -> None:
        """Be ready."""
        return None

    def ask(self, method: str, path: str, text: str, body: Any = None, **more: str):
        """Ask with a key."""
        content = None if body is None else json.dumps(body)
        return call(self.app, method, path, headers=bearer(text, **more), content=content)

    def key(self, role: str, client: str = "Claire", customers: list[str] | None = None) -> str:
        """Make a key; return its text."""
        return self.keys.make(client, role, "the tests", customers).text


@pytest.fixture(scope="module")
def served(trained, tmp_path_factory, clock) -> Served:
    workspace = Workspace(tmp_path_factory.mktemp("served"))
    for file in (trained.facts, trained.champions):
        shutil.copy(file, workspace.home)
    for folder in (trained.bundles, trained.policies):
        shutil.copytree(folder, workspace.home / folder.name)
    people = "people:\n  Claire: credit_manager\n  Paul: head_of_credit\n  Olga: cook\n"
    (workspace.home / "people.yaml").write_text(people, "utf-8")
    store, record = Store(workspace.facts_url), Record(workspace.record_url)
    insurer = Insurer(rules_of_insurer())
    watch = Watch(Alerts(record), References(workspace.record_url), "EUR")
    assessor = Assessor(store, record, workspace, clock, insurer, watch)
    opened = Opened(store, record, workspace, clock, insurer, assessor)
    keys = Keys(lambda: record)
    made = Served(None, opened, workspace, keys, watch)
    return made._replace(app=create_app(made, keys))


@pytest.fixture(scope="module")
def asked(served) -> list[dict[str, Any]]:
    """Assess the customer three times, and another one once."""
    assess = served.opened.assessor.assess
    answers = [json.loads(assess(CUSTOMER, ORDER)) for _ in range(3)]
    assess(OTHER, ORDER)
    return answers


@pytest.fixture(scope="module")
def risk(served) -> str:
    return served.key("risk")


@pytest.fixture(scope="module")
def own(served) -> str:
    return served.key("crm", "HubSpot", [CUSTOMER])


def ok(answer: httpx.Response, model: Any, status: int = 200) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    model.model_validate_json(answer.content)
    return answer.json()


# Assessments.


@pytest.mark.parametrize(
    ("part", "model"), [("explanation", ExplanationTold), ("options", OptionsTold)]
)
def test_a_part_of_an_assessment_has_its_values(served, asked, own, part, model):
    path = f"/v1/assessments/{asked[0]['id']}"
    whole = served.ask("GET", path, own).json()
    told = ok(served.ask("GET", f"{path}/{part}", own), model)
    assert told == {name: whole[name] for name in told}
    assert part in told
    other = served.key("crm", "x", [OTHER])
    expect(served.ask("GET", f"{path}/{part}", other), problems.UNKNOWN_ASSESSMENT)
    none = f"/v1/assessments/{UNKNOWN_ID}/{part}"
    expect(served.ask("GET", none, own), problems.UNKNOWN_ASSESSMENT)


def test_all_but_the_auditors_register_is_told_to_whoever_sells(served, asked, own, risk):
    path = f"/v1/assessments/{asked[0]['id']}/registers"
    told = ok(served.ask("GET", path, own), Registers)
    whole = ok(served.ask("GET", path, risk), Registers)
    assert told["auditor"] is None
    assert {**whole, "auditor": None} == told
    for key in (risk, served.key("auditor")):
        audited = ok(served.ask("GET", path, key), Registers)["auditor"]
        assert audited["log_odds"] == asked[0]["explanation"]["log_odds"]
        assert all(one["compare"] is not None for one in audited["measures"][:20])
    other = served.key("crm", "x", [OTHER])
    expect(served.ask("GET", path, other), problems.UNKNOWN_ASSESSMENT)


def test_the_evidence_is_a_page_for_risk_and_auditors(served, asked, own, risk):
    path = f"/v1/assessments/{asked[0]['id']}/evidence"
    for key in (risk, served.key("auditor")):
        page = served.ask("GET", f"{path}?language=en", key)
        assert page.status_code == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "script-src" not in policy
        assert "<script" not in page.text
        assert asked[0]["recommendation"]["en"].rstrip(".") in page.text
        assert "Not made again here" in page.text
    assert '<html lang="fr">' in served.ask("GET", path, risk).text
    expect(served.ask("GET", path, own), problems.FORBIDDEN)
    expect(served.ask("GET", f"{path}?language=de", risk), problems.INVALID)
    none = f"/v1/assessments/{UNKNOWN_ID}/evidence"
    expect(served.ask("GET", none, risk), problems.UNKNOWN_ASSESSMENT)


def test_the_smallest_changes_are_read_by_who_may_read_the_assessment(served, asked, own):
    path = f"/v1/assessments/{asked[0]['id']}/counterfactuals"
    told = ok(served.ask("GET", path, own), Counterfactuals)
    entry = served.opened.record.find(asked[0]["id"])
    assert told == counterfactuals(served.opened.replayer, entry)
    assert told["action"] == asked[0]["recommendation"]["action"]
    assert (told["found"] == []) == (told["none_found"] is not None)
    assert served.ask("GET", path, served.key("auditor")).json() == told
    other = served.key("crm", "x", [OTHER])
    expect(served.ask("GET", path, other), problems.UNKNOWN_ASSESSMENT)
    none = f"/v1/assessments/{UNKNOWN_ID}/counterfactuals"
    expect(served.ask("GET", none, own), problems.UNKNOWN_ASSESSMENT)


def test_changes_of_what_cannot_be_made_again_are_refused(served, asked, own, monkeypatch):
    def fail(*_: object) -> None:
        raise NoCounterfactuals("entry 1 is of another ledger")

    monkeypatch.setattr("serving.routes.counterfactuals.counterfactuals", fail)
    path = f"/v1/assessments/{asked[0]['id']}/counterfactuals"
    expect(served.ask("GET", path, own), problems.NOT_AGAIN)


# Customers.


def test_a_customer_is_shown_as_its_last_assessment_saw_it(served, asked, own):
    told = ok(served.ask("GET", f"/v1/customers/{CUSTOMER}", own), CustomerNow)
    last = asked[-1]
    assert told["exposure"] == last["exposure"]
    assert told["cover"]["covered"] == last["insurance"]["covered"]
    assert {name: told[name] for name in ("id", "name", "country")} == {
        name: last["customer"][name] for name in ("id", "name", "country")
    }
    scored = told["last_assessment"]
    assert (scored["id"], scored["score"]) == (last["id"], last["customer"]["score"])
    assert told["override"] is None


def test_a_customer_who_was_never_assessed_is_shown_all_the_same(served, risk):
    told = ok(served.ask("GET", "/v1/customers/C-00007", risk), CustomerNow)
    assert told["last_assessment"] is None
    page = ok(served.ask("GET", "/v1/customers/C-00007/assessments", risk), ScoreHistory)
    assert page == {"assessments": [], "before": None}


@pytest.mark.parametrize("rest", ["", "/assessments"])
@pytest.mark.parametrize("customer", [OTHER, "nobody", "C" * 129, "a%00b", "%E2%80%AE"])
def test_of_others_a_key_cannot_tell_whether_they_are_customers(served, asked, own, customer, rest):
    answer = served.ask("GET", f"/v1/customers/{customer}{rest}", own)
    expect(answer, problems.UNKNOWN_CUSTOMER)


def test_nobody_is_no_customer(served, risk):
    for rest in ("", "/assessments"):
        answer = served.ask("GET", f"/v1/customers/nobody{rest}", risk)
        assert answer.status_code == 404
        assert answer.json()["type"] == "/problems/unknown-customer"


def test_the_history_pages_from_the_newest(served, asked, own):
    path, found, before = f"/v1/customers/{CUSTOMER}/assessments?limit=2", [], ""
    while before is not None:
        page = ok(served.ask("GET", f"{path}{before}", own), ScoreHistory)
        found += page["assessments"]
        before = page["before"] and f"&before={page['before']}"
    assert [one["id"] for one in found] == [one["id"] for one in reversed(asked)]
    first = asked[-1]
    assert found[0]["default_365"] == (first["default"] or {}).get("365")
    assert found[0]["late_30"] == first["late"]["30"]
    assert found[0]["versions"] == first["versions"]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "/limit"),
        ("limit=201", "/limit"),
        ("limit=x", "/limit"),
        ("before=-1", "/before"),
        ("before=canary", "/before"),
        ("canary=1", ""),
        ("limit=1&limit=2", ""),
    ],
)
def test_a_wrong_parameter_is_pointed_at_and_does_not_come_back(served, own, query, pointer):
    answer = served.ask("GET", f"/v1/customers/{CUSTOMER}/assessments?{query}", own)
    errors = expect(answer, problems.INVALID)
    assert [one["pointer"] for one in errors] == [pointer]
    assert "canary" not in answer.text


# Alerts.


@pytest.fixture(scope="module")
def alerted(served, asked) -> list[str]:
    """Make both customers worse; after the assessments, whose states are of another model."""
    ids = []
    for customer in (CUSTOMER, OTHER):
        for days, state in enumerate((WELL, WORSE), start=1):
            at = state.at.replace(year=2025 + days)
            ids += [
                one.id
                for one in served.watch.see(replace(state, customer_id=customer, at=at), UNKNOWN_ID)
                if one.said["code"] == "grade_worsened"
            ]
    assert len(ids) == 2
    return ids


def grades_only(page: dict[str, Any]) -> list[str]:
    return [one["id"] for one in page["alerts"] if one["code"] == "grade_worsened"]


def test_a_key_sees_the_alerts_of_its_customers_only(served, alerted, own, risk):
    mine = ok(served.ask("GET", "/v1/alerts?status=all", own), AlertPage)
    assert {one["customer_id"] for one in mine["alerts"]} == {CUSTOMER}
    everything = ok(served.ask("GET", "/v1/alerts?status=all", risk), AlertPage)
    assert grades_only(everything) == alerted
    theirs = ok(served.ask("GET", f"/v1/alerts?status=all&customer={OTHER}", own), AlertPage)
    assert theirs["alerts"] == []


def test_who_sends_the_cursor_again_gets_what_is_new_only(served, alerted, risk):
    seen, cursor, is_last = [], "0", False
    while not is_last:
        path = f"/v1/alerts?status=all&limit=1&cursor={cursor}"
        page = ok(served.ask("GET", path, risk), AlertPage)
        seen += [one["id"] for one in page["alerts"]]
        cursor, is_last = page["cursor"], page["is_last"]
    assert len(set(seen)) == len(seen)
    assert set(alerted) <= set(seen)
    again = served.ask("GET", f"/v1/alerts?status=all&cursor={cursor}", risk).json()
    assert (again["alerts"], again["is_last"]) == ([], True)


def test_alerts_are_filtered_by_severity_and_time(served, alerted, risk):
    def many(query: str) -> int:
        return len(served.ask("GET", f"/v1/alerts?status=all&{query}", risk).json()["alerts"])

    assert many("since=2026-01-01") >= 2
    assert many("since=2030-01-01T00:00:00Z") == 0
    page = served.ask("GET", "/v1/alerts?status=all&severity=critical", risk).json()
    assert {one["severity"] for one in page["alerts"]} <= {"critical"}
    expect(served.ask("GET", "/v1/alerts?severity=loud", risk), problems.INVALID)


def test_an_alert_is_acknowledged_once_by_somebody_who_is_named(served, alerted, own, risk):
    path, seen = f"/v1/alerts/{alerted[0]}/acknowledge", {"note": "Called them: paid tomorrow."}
    told = ok(served.ask("POST", path, risk, seen, Idempotency_Key="k1"), AlertTold)
    assert (told["status"], told["acknowledged"]["by"]) == ("acknowledged", "Claire")
    again = served.ask("POST", path, risk, seen, Idempotency_Key="k1")
    assert again.json() == told
    assert again.headers["idempotency-replayed"] == "true"
    expect(served.ask("POST", path, served.key("risk", "Paul"), {}), problems.ALERT_CLOSED)
    page = ok(served.ask("GET", "/v1/alerts?status=acknowledged", own), AlertPage)
    (mine,) = page["alerts"]
    assert mine["acknowledged"]["note"] is None  # a crm key reads neither name nor note
    assert alerted[0] not in grades_only(served.ask("GET", "/v1/alerts", risk).json())


def test_an_alert_of_another_customer_cannot_be_acknowledged(served, alerted):
    some = served.key("risk", "Zoe", [CUSTOMER])
    for alert_id in (alerted[1], UNKNOWN_ID, "x"):
        answer = served.ask("POST", f"/v1/alerts/{alert_id}/acknowledge", some, {})
        expect(answer, problems.UNKNOWN_ALERT)


@pytest.mark.parametrize("note", ["n" * 501, "a\nb", 1])
def test_a_note_is_short_and_printable(served, alerted, risk, note):
    answer = served.ask("POST", f"/v1/alerts/{alerted[1]}/acknowledge", risk, {"note": note})
    assert [one["pointer"] for one in expect(answer, problems.INVALID)] == ["/note"]


# What is in charge.


def test_the_models_in_charge_are_named_with_their_cards(served):
    told = ok(served.ask("GET", "/v1/models", served.key("admin")), ModelsTold)
    assert {(one["question"], one["place"]) for one in told["models"]} == {
        ("late", "champion"),
        ("default", "champion"),
    }
    for one in told["models"]:
        assert one["refused"] is None
        assert one["metrics"]
        assert one["cutoff"] < one["measured_until"]


def test_a_shadow_that_cannot_be_scored_is_named_with_the_reason(served, tmp_path):
    pointer = served.workspace.champions
    before = pointer.read_text("utf-8")
    said = json.loads(before)
    pointer.write_text(json.dumps({**said, "challengers": {"late": "0" * 64}}), "utf-8")
    try:
        told = ok(served.ask("GET", "/v1/models", served.key("auditor")), ModelsTold)
    finally:
        pointer.write_text(before, "utf-8")
    (shadow,) = [one for one in told["models"] if one["place"] == "shadow"]
    assert "cannot be read" in shadow["refused"]


def test_the_policy_in_force_is_shown_with_its_hash(served, asked):
    told = ok(served.ask("GET", "/v1/policy", served.key("auditor")), PolicyTold)
    assert told["hash"] == asked[0]["versions"]["policy"]
    assert told["policy"]["override"]["longest_days"] == 90


# Overrides: these come last, they change what the customer is answered.


@pytest.fixture(scope="module")
def decide(served, asked) -> Callable[..., httpx.Response]:
    def post(text: str, number: int = 0, key: str | None = None, **body: Any) -> httpx.Response:
        said = {"action": "cash", "reason": REASON, "until": "2025-08-01", **body}
        path = f"/v1/assessments/{asked[number]['id']}/override"
        more = {} if key is None else {"Idempotency_Key": key}
        return served.ask("POST", path, text, said, **more)

    return post


@pytest.mark.parametrize("client", ["a CRM", "Olga"])
def test_a_key_whose_client_has_no_role_decides_nothing(served, decide, client):
    answer = decide(served.key("risk", client))
    assert answer.status_code == 403
    assert answer.json()["type"] == "/problems/not-a-person"


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"action": "gift"}, "/action"),
        ({"reason": "short"}, "/reason"),
        ({"until": "2025-02-30"}, "/until"),
        ({"deposit_rate": 1.0}, "/deposit_rate"),
        ({"limit": 3}, "/limit"),
    ],
)
def test_a_wrong_decision_is_pointed_at(decide, risk, changes, pointer):
    errors = expect(decide(risk, **changes), problems.INVALID)
    assert pointer in {one["pointer"][: len(pointer)] for one in errors}


def test_what_exceeds_the_mandate_is_for_another_person(served, decide, risk):
    answer = decide(risk, action="open", limit="90000.00")
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/override-refused"
    assert "the role may leave 50,000.00" in answer.json()["detail"]


def test_a_decision_is_recorded_once_with_the_person_of_the_key(served, asked, decide, risk):
    told = ok(decide(risk, key="o1"), OverrideTold, 201)
    made = told["override"]
    assert (made["by"], made["role"], made["authenticated"]) == ("Claire", "credit_manager", True)
    assert made["key"] is not None
    assert decide(risk, key="o1").json() == told
    expect(decide(risk, key="o1", reason=f"{REASON} Again."), problems.KEY_REUSED)
    found = ok(served.ask("GET", f"/v1/overrides?customer={CUSTOMER}", risk), OverridePage)
    assert found["overrides"] == [told]
    now = served.ask("GET", f"/v1/customers/{CUSTOMER}", risk).json()
    assert now["override"]["id"] == made["id"]
    assert "reason" not in now["override"]


def test_a_lower_role_cannot_undo_the_decision_of_a_higher_one(served, asked, decide, risk):
    paul = served.key("risk", "Paul")
    ok(decide(paul, 1, action="refuse"), OverrideTold, 201)
    answer = decide(risk, 2, action="cash")
    assert "a higher role" in answer.json()["detail"]
    answer = decide(paul, 1, action="withdraw", until=None)
    assert ok(answer, OverrideTold, 201)["override"]["decided"] is None
    every = ok(served.ask("GET", "/v1/overrides", served.key("auditor")), OverridePage)
    one = ok(served.ask("GET", "/v1/overrides?limit=1", risk), OverridePage)
    rest = ok(served.ask("GET", f"/v1/overrides?cursor={one['cursor']}", risk), OverridePage)
    assert [*one["overrides"], *rest["overrides"]] == every["overrides"]
    none = ok(served.ask("GET", f"/v1/overrides?customer={OTHER}", risk), OverridePage)
    assert none["overrides"] == []


def test_without_a_file_of_people_nobody_decides(served, decide, risk):
    file = served.workspace.home / "people.yaml"
    before = file.read_text("utf-8")
    file.unlink()
    try:
        assert decide(risk, 2).json()["type"] == "/problems/not-a-person"
    finally:
        file.write_text(before, "utf-8")
