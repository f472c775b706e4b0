"""One recorded answer, three registers: each law over every answer that the seller gives."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.dictionary import dictionary
from features.store import Store, sqlite_url
from models.letter import words
from models.policy import Order
from models.policy_file import FACT_WORDS
from models.wording import LABELS
from serving.assess import Assessor, OrderNeeded
from serving.audit import Record
from serving.evidence import medians
from serving.registers import LANGUAGES, auditor, customer_letter, reasons_told, registers
from serving.registers import salesperson as to_salesperson
from serving.schemas.registers import REGISTERS_EXAMPLE, Registers
from tests.models.test_letter import INTERNAL

ORDERS = (Order(2_000_00, 120_00, 30), Order(90_000_00, 2_000_00, 60), None)


@pytest.fixture(scope="module")
def bodies(trained, tmp_path_factory, clock) -> list[dict[str, Any]]:
    """Assess a hundred customers for orders small, large and usual; give what is recorded."""
    record = Record(sqlite_url(tmp_path_factory.mktemp("registers") / "record.db"))
    assessor = Assessor(Store(trained.facts_url), record, trained, clock)
    ids = []
    for n in range(1, 121):
        try:
            told = assessor.assess(f"C-{n:05d}", ORDERS[n % len(ORDERS)])
        except OrderNeeded:  # no invoice yet to assume an order from
            continue
        ids.append(json.loads(told)["id"])
    return [json.loads(entry.body) for entry in record.find_many(ids)]


def test_many_kinds_of_answer_are_told(bodies):
    actions = Counter(body["answer"]["recommendation"]["action"] for body in bodies)
    assert {"open", "review", "cash"} <= set(actions)
    assert len(actions) >= 4, actions


# The salesperson.


def test_the_salesperson_gets_one_sentence_with_the_action(bodies):
    for body in bodies:
        for language in LANGUAGES:
            said = to_salesperson(body, language)
            assert said.endswith(".")
            assert len(re.findall(r"[.!?](\s|$)", said)) == 1, said
            assert said.startswith(body["answer"]["recommendation"][language].rstrip("."))
            assert "(" not in said
            for part in said.rstrip(".").split(" – "):
                assert said.count(part) == 1, said


def test_a_reason_is_given_where_the_customer_does_not_get_what_he_asked_for(bodies):
    for body in bodies:
        answer = body["answer"]
        says_why = " – " in to_salesperson(body, "en")
        if answer["recommendation"]["action"] == "open":
            assert not says_why
        elif rules := answer["rules"]:
            assert says_why or rules[0]["en"] in answer["recommendation"]["en"]


# The customer.


def figures(answer: dict[str, Any]) -> set[str]:
    """Everything in an answer that is written in digits, as we would write it anywhere."""
    numbers: set[str] = set()

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            for one in value.values():
                collect(one)
        elif isinstance(value, list):
            for one in value:
                collect(one)
        elif isinstance(value, float) and value not in (0.0, 1.0):
            numbers.update({f"{value:.3g}", f"{100 * value:.1f}", str(value)})
        elif isinstance(value, str):
            numbers.update(re.findall(r"[0-9]{3,}\.[0-9]{2}", value))

    collect({k: v for k, v in answer.items() if k not in ("id", "order")})
    return numbers


def test_the_letter_has_no_figure_but_what_is_asked_of_the_customer(bodies):
    for body in bodies:
        answer = body["answer"]
        for language in LANGUAGES:
            told = customer_letter(body, language)
            rest = told["text"].replace(told["reference"], "", 1)
            assert told["decision"] in rest
            rest = rest.replace(told["decision"], "", 1)
            assert not re.search("[0-9]", rest)
            assert not INTERNAL.search(rest)
            chosen = next((one for one in answer["options"] if one["chosen"]), None)
            allowed = {str(answer["order"]["terms_days"])}
            if chosen is not None:
                rate = 100 * (chosen["deposit_rate"] or 0)
                allowed |= {f"{rate:g}", str(chosen["terms_days"]), chosen["credit"]}
            said = re.sub(r"(?<=[0-9])[\s,](?=[0-9]{3})", "", told["decision"])
            found = set(re.findall(r"[0-9]+(?:[.,][0-9]+)?", said))
            assert {one.replace(",", ".") for one in found} <= allowed, told["decision"]


@given(
    moved=st.lists(
        st.tuples(st.sampled_from(sorted(dictionary())), st.floats(-9, 9), st.floats(-1e6, 1e6)),
        max_size=4,
    ),
    missing=st.booleans(),
    rules=st.lists(
        st.sampled_from([*FACT_WORDS, "limit_exceeded", "margin_below_credit_cost", "my_rule_17"]),
        max_size=4,
    ),
    action=st.sampled_from([*LABELS, "review"]),
    is_natural_person=st.booleans(),
    assumed=st.booleans(),
    by_a_person=st.booleans(),
)
def test_whatever_the_answer_the_letter_around_the_decision_has_no_figure(
    bodies, moved, missing, rules, action, is_natural_person, assumed, by_a_person
):
    body = bodies[0]
    answer = json.loads(json.dumps(body["answer"]))
    reasons = [
        {
            "code": dictionary()[feature].code,
            "feature": feature,
            "contribution": contribution,
            "value": None if missing else value,
            "unit": "days",
            "compare": 7.25,
            "fr": f"Score {value} (médiane des clients : 7)",
            "en": f"Score {value} (median customer: 7)",
        }
        for feature, contribution, value in moved
    ]
    answer["explanation"] = {"reasons": reasons, "probability": 0.1234}
    answer["rules"] = [
        {"id": name, "fr": f"limite 12 de {name}", "en": "limit 12"} for name in rules
    ]
    answer["recommendation"] |= {"action": action, "customer_fr": "Décidé.", "customer_en": "Done."}
    answer["customer"]["is_natural_person"] = is_natural_person
    answer["order"]["assumed"] = assumed
    answer["override"] = {"role": "head_9"} if by_a_person else None
    for language in LANGUAGES:
        told = customer_letter({**body, "answer": answer}, language)
        rest = told["text"].replace(told["reference"], "", 1)
        assert not re.search("[0-9]", rest)
        assert not INTERNAL.search(rest)
        assert told["decision"] in rest
        assert told["whom"] in rest
        assert len(told["reasons"]) <= 4
        if (rules or any(one[1] > 0 for one in moved)) and action not in ("open", "review"):
            assert bool(told["reasons"]) or by_a_person or set(rules) == {"is_natural_person"}


def test_the_letter_holds_none_of_the_hashes_or_figures_of_the_answer(bodies):
    for body in bodies:
        answer = body["answer"]
        known = figures(answer)
        identities = [one[-64:] for one in answer["versions"].values() if one and ":" in one]
        for language in LANGUAGES:
            text = customer_letter(body, language)["text"].replace(answer["id"], "")
            assert not any(one in text for one in identities)
            decision = customer_letter(body, language)["decision"]
            rest = text.replace(decision, "")
            assert not [one for one in known if one in rest]


def test_the_letter_says_what_was_decided_why_what_to_do_and_whom_to_ask(bodies):
    seen = 0
    for body in bodies:
        answer = body["answer"]
        for language in LANGUAGES:
            told = customer_letter(body, language)
            assert told["decision"] == answer["recommendation"][f"customer_{language}"]
            assert told["whom"] in told["text"]
            assert answer["id"] in told["text"]
            assert len(told["reasons"]) <= 4
            assert len(set(told["reasons"])) == len(told["reasons"])
            assert bool(told["reasons"]) == bool(told["can_do"])
            seen += bool(told["reasons"])
            assert all(one in told["text"] for one in told["reasons"] + told["can_do"])
        french, english = (customer_letter(body, one)["reasons"] for one in LANGUAGES)
        assert len(french) == len(english)
    assert seen > 10


def test_where_nothing_went_against_the_customer_he_gets_no_reasons(bodies):
    for body in bodies:
        if body["answer"]["recommendation"]["action"] in ("open", "review"):
            assert reasons_told(body) == []


def test_where_a_rule_left_no_choice_it_is_the_reason_and_the_models_are_none(bodies):
    rules = words().rules
    barred = [
        body
        for body in bodies
        if body["answer"]["recommendation"]["action"] == "cash"
        and {"insolvency_opened", "cover_withdrawn"}
        & {rule["id"] for rule in body["answer"]["rules"]}
    ]
    assert barred
    for body in barred:
        names = {one.name for one in reasons_told(body)}
        assert names <= set(rules)


def test_a_rule_of_the_sellers_own_is_told_by_the_fact_behind_it_or_in_general(bodies):
    body = next(b for b in bodies if [r["id"] for r in b["answer"]["rules"]] == ["limit_breached"])
    rule = body["answer"]["rules"][0]
    renamed = {**rule, "id": "top_secret_7"}
    own = {"id": "house_rule_9", "fr": "liste noire 12", "en": "blacklist 12"}
    changed = {**body, "answer": {**body["answer"], "rules": [renamed, own]}}
    assert [one.name for one in reasons_told(changed)] == ["limit_breached", "any_other"]
    assert "12" not in customer_letter(changed, "fr")["reasons"][1]


def test_what_a_person_decided_is_not_explained_by_the_models(bodies):
    body = next(b for b in bodies if reasons_told(b))
    override = {"role": "credit_manager", "action": "cash"}
    decided = {**body, "answer": {**body["answer"], "override": override}}
    told = customer_letter(decided, "en")
    assert told["reasons"] == []
    assert "taken by a person" in told["text"]


def test_a_natural_person_is_told_his_rights(bodies):
    body = bodies[0]
    customer = {**body["answer"]["customer"], "is_natural_person": True}
    person = {**body, "answer": {**body["answer"], "customer": customer}}
    assert "protection des données" in customer_letter(person, "fr")["text"]
    customer = {**customer, "is_natural_person": False}
    company = {**body, "answer": {**body["answer"], "customer": customer}}
    assert "protection des données" not in customer_letter(company, "fr")["text"]


# The auditor.


def test_the_auditors_register_adds_up(bodies, trained):
    explained = 0
    for body in bodies:
        answer = body["answer"]
        compared = medians(trained.bundles, answer)
        told = auditor(body, compared)
        assert len(told["measures"]) == len(body["evidence"]["features"])
        if answer["explanation"] is None:
            assert told["sum"] is told["log_odds"] is told["probability"] is None
            assert told["abstentions"] == answer["abstentions"]
            continue
        explained += 1
        moved = [one["contribution"] for one in told["measures"]]
        total = told["base"] + math.fsum(one for one in moved if one is not None)
        assert abs(total - answer["explanation"]["log_odds"]) < 1e-9
        assert abs(told["sum"] - told["log_odds"]) < 1e-9
        assert abs(1 / (1 + math.exp(-told["sum"])) - told["probability"]) < 1e-9
        by_feature = {one["feature"]: one for one in told["measures"]}
        for reason in answer["explanation"]["reasons"]:
            measure = by_feature[reason["feature"]]
            for name in ("code", "value", "unit", "compare", "contribution"):
                assert measure[name] == reason[name]
    assert explained > 30


def test_without_the_bundle_the_record_alone_is_told(bodies, tmp_path):
    body = next(b for b in bodies if b["answer"]["explanation"])
    assert medians(tmp_path, body["answer"]) is None
    compared = {one["feature"] for one in auditor(body)["measures"] if one["compare"] is not None}
    reasons = body["answer"]["explanation"]["reasons"]
    assert compared == {one["feature"] for one in reasons if one["compare"] is not None}


def test_registers_are_as_described(bodies):
    for body in bodies:
        for whole in (False, True):
            told = registers(body, whole=whole)
            Registers.model_validate(told)
            assert (told["auditor"] is not None) == whole
    assert (
        abs(REGISTERS_EXAMPLE["auditor"]["sum"] - REGISTERS_EXAMPLE["auditor"]["log_odds"]) < 1e-9
    )
