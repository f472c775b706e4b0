"""The policy file: read strictly, every fault told with its file, line and key."""

import hashlib
import json
from pathlib import Path

import pytest
import yaml

from models import policy_schema
from models.policy import PolicyError, load

FILE = Path(__file__).parents[2] / "models" / "policy.yaml"
TEXT = FILE.read_text(encoding="utf-8")
POLICY = load(FILE)


def test_the_identity_of_a_policy_is_the_hash_of_its_bytes():
    assert POLICY.sha256 == hashlib.sha256(FILE.read_bytes()).hexdigest()
    assert load(TEXT).sha256 == POLICY.sha256
    assert load(TEXT + "\n").sha256 != POLICY.sha256


def test_a_policy_cannot_be_changed_once_loaded():
    with pytest.raises(ValueError, match="frozen"):
        POLICY.version = "2025-04"  # type: ignore[misc]


def test_the_horizon_follows_the_terms():
    assert [POLICY.horizon_days(terms) for terms in (0, 30, 60)] == [90, 120, 150]


def line_of(start: str, text: str) -> int:
    """Return the last line that starts so, from 1."""
    return max(i for i, line in enumerate(text.splitlines(), 1) if line.strip().startswith(start))


FAULTS = [
    ("cash: 0.40", "cash: 1.40", "cash:", "acceptance_rate.cash: .*less than or equal to 1"),
    (
        "cash: 0.40",
        "cash: 0.70",
        "acceptance_rate:",
        "must fall: cash .0.7. is not below deposit 0.5",
    ),
    ("reduced_limit: 0.90", "reduced_limit: 0.30", "acceptance_rate:", "not below reduced_limit"),
    (
        "cash: 0.40",
        "cash: 0.40\n  shorter: 0.8",
        "shorter:",
        "acceptance_rate.shorter: Extra inputs",
    ),
    ("cash: 0.40", "", "acceptance_rate:", "acceptance_rate.cash: Field required"),
    ("cash: 0.40", "cash: 0.40\n  cash: 0.30", "cash:", "key cash is repeated"),
    ("0.50: 0.60", "0.50: .nan", "deposit:", "acceptance_rate.deposit"),
    ("0.50: 0.60", "1.50: 0.60", "deposit:", "acceptance_rate.deposit"),
    ("refuse: 0", "refuse: 0.1", "refuse:", "acceptance_rate.refuse"),
    ("unsecured: 0.60", "unsecured: '0.60'", "unsecured:", "lgd_rate.unsecured"),
    ("terms + 90", "terms × 3", "horizon_days:", "horizon_days"),
    ("longest_days: 90", "longest_days: 0", "longest_days:", "override.longest_days"),
    (", insolvency_opened]  #", ", rumours]  #", "never_when:", "override.never_when.1"),
    ("most_amount: 10000\n", "most_amount: -1\n", "most_amount: -1", "roles.sales_manager"),
    ("kinds: [deposit, cash", "kinds: [gift, cash", "kinds: [gift", "roles.sales_manager.kinds.0"),
    ("bureau\n", "agency\n", "default_definition:", "default_definition"),
    (
        "step_rate: 0.05",
        "step_rate: 0.15",
        "deposit_step_rate:",
        "step_rate: must divide 1",
    ),
    ("when: insolvency_opened", "when: moon_is_full", "- {id: insolvency", "blocking.1.when"),
    ("allow: [cash, refuse]", "allow: [cash]", "- {id: insolvency", "allow must keep refuse"),
    ("[cash, refuse]", "[reduced_limit, refuse]", "- {id: insolvency", "allow it with open only"),
    (", require: human_decision", "", "- {id: natural", "either allow, or require"),
    ("id: natural_person", "id: insolvency_opened", "blocking:", "ids must be unique"),
    (
        "guarantee: 0.05",
        "guarantee: 0.40",
        "bank_guarantee: 0.40",
        "loss must fall: bank_guarantee",
    ),
    ("guarantee: 0.50", "guarantee: 0.95", "acceptance_rate:", "must fall: bank_guarantee"),
    (
        "credit: 0.02 ",
        "credit: 0.07 ",
        "letter_of_credit: 0.07",
        "loss must fall: letter_of_credit",
    ),
    ("  factoring: 0.06", "  #", "lgd_rate:", "factoring: is on offer .* its loss is not said"),
    ("C-D: 180", "B-D: 180", "review_days:", "bands overlap: grade B is in two"),
    ("C-D: 180, ", "", "review_days:", "bands are missing for C, D"),
    ("E: 90", "K: 90", "review_days:", "K is no band of grades"),
    ("E: 90", "E: 200", "review_days:", "a worse grade must not be reviewed later"),
    ("key: 0.50", "key: 0.20", "future_orders:", "key .0.2. is below important"),
    ("[cash, refuse]}", "[refuse, review]}", "- {id: insolvency", "allow must keep cash"),
    ("headroom: 1.5", "headroom: [1.5", "", "expected"),
]


@pytest.mark.parametrize(("right", "wrong", "where", "message"), FAULTS)
def test_a_fault_is_told_with_its_file_line_and_key(tmp_path, right, wrong, where, message):
    assert right in TEXT
    file = tmp_path / "policy.yaml"
    file.write_text(TEXT.replace(right, wrong), encoding="utf-8")
    with pytest.raises(PolicyError, match=message) as caught:
        load(file)
    assert str(caught.value).startswith(
        f"{file}:{line_of(where, file.read_text()) if where else ''}"
    )


@pytest.mark.parametrize("text", ["", "[]", "policy", "\x00"])
def test_what_is_not_a_policy_is_refused(text):
    with pytest.raises(PolicyError):
        load(text)


def test_every_fault_is_told_at_once():
    faulty = TEXT.replace("cash: 0.40", "cash: 1.40").replace("headroom: 1.5", "headroom: 0.5")
    with pytest.raises(PolicyError) as caught:
        load(faulty)
    assert len(str(caught.value).splitlines()) == 2


def test_the_schema_that_editors_read_is_the_one_of_now():
    written = json.loads(policy_schema.FILE.read_text("utf-8"))
    assert written == policy_schema.json_schema()  # else: python -m models.policy_schema


def test_the_schema_knows_every_key_of_the_file_and_no_other():
    schema = policy_schema.json_schema()
    assert set(yaml.safe_load(TEXT)) == set(schema["properties"])
    assert schema["additionalProperties"] is False
    assert all(part.get("additionalProperties") is False for part in schema["$defs"].values())
    rate = schema["properties"]["assumed_margin_rate"]
    assert {key: rate[key] for key in ("type", "minimum", "maximum")} == {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
    }
