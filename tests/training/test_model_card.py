"""The model card: stands alone, hides nothing, and no feature in it is a personal attribute."""

import math
import re
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from features.build import feature_names
from features.dictionary import dictionary
from models.targets import DEFAULT_DEFINITIONS
from tests.training.conftest import CUTOFF, END, QUICK
from training.card import card as card_of
from training.evaluate import evaluate
from training.fit import fit
from training.gate import Grade
from training.model_card import render

ROOT = Path(__file__).parents[2]
VOID = {"meta", "br", "hr", "img", "input", "link"}
PARTS = (
    "How good it is out of time", "Payment dates", "What the riskiest rows hold",
    "Calibration by grade", "By band of probability", "By segment", "What moves it",
    "How the strongest move it", "Which act together", "How steady its reasons are",
    "Beside simpler ways",
    "Fitted again through time",
)  # fmt: skip


class Page(HTMLParser):
    """The tables of a page by the heading above, its text, and its tags, which must balance."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.heading = ""
        self.tables: dict[str, list[list[str]]] = {}
        self.text: list[str] = []
        self.feed(page)
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open a tag."""
        self.tags.add(tag)
        self.links += [str(value) for name, value in attrs if name in {"src", "href"}]
        if tag not in VOID:
            self.stack.append(tag)
        if tag in {"h2", "h3"}:
            self.heading = ""
        if tag == "tr":
            self.tables.setdefault(self.heading, []).append([])
        if tag in {"td", "th"}:
            self.tables[self.heading][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        """Close a tag."""
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        """Keep what is read."""
        if not self.stack or self.stack[-1] == "style":
            return
        self.text.append(data)
        if self.stack[-1] in {"h2", "h3"}:
            self.heading += data
        if self.stack[-1] in {"td", "th"}:
            self.tables[self.heading][-1][-1] += data

    def said(self) -> str:
        """Give the text with single spaces."""
        return " ".join(" ".join(self.text).split())

    def table(self, heading: str) -> list[dict[str, str]]:
        """Read a table's lines, each by its headings."""
        (named,) = [name for name in self.tables if name.startswith(heading)]
        head, *lines = self.tables[named]
        return [dict(zip(head, line, strict=True)) for line in lines]


def measured(events: int = 80, error: float = 0.01, gap_low: float = 0.02) -> dict[str, Any]:
    """Give one term as :meth:`Evaluation.as_dict` does."""
    gap = {"value": 0.05, "low": gap_low, "high": 0.09}
    auc = {"value": 0.8451, "low": 0.81, "high": 0.876}
    challenger = {"auc": {"value": 0.795, "low": 0.76, "high": 0.83}, "gap": gap, "brier": 0.031}
    band = {"low": 0.01, "high": 0.02, "rows": 500, "events": 9, "said": 0.015, "seen": 0.018}
    return {
        "customers": 1_234,
        "quality": {
            "term_days": 365, "rows": 12_345, "events": events, "auc": auc, "brier": 0.0312,
            "log_loss": 0.1234, "predicted_rate": 0.0456, "observed_rate": 0.0444,
        },
        "calibration_error": error,
        "calibration_null": {"median": 0.008, "high": 0.012},
        "bands": [band],
        "gains": {"0.1": 0.5},
        "challengers": {"scorecard": challenger, "rule": challenger},
    }  # fmt: skip


CARD: dict[str, Any] = {
    "question": "default",
    "owner": "Risk team",
    "bundle_sha256": "1f" * 32,
    "terms_days": [30, 365],
    "ledger_id": "0198-ledger",
    "data_sha256": "ab" * 32,
    "trained_from": "2020-02-01",
    "cutoff": "2024-05-31",
    "measured_until": "2025-07-01",
    "rounds": 212,
    "libraries": {"lightgbm": "4.7.0", "numpy": "2.4.6"},
    "python": "3.11.7",
    "default_definition": asdict(DEFAULT_DEFINITIONS["bank"]),
    "metrics": [{"term_days": 365, "auc": {"value": 0.8451, "low": 0.81, "high": 0.876}}],
}
STEP = {
    "cutoff": "2023-06-01", "until": "2024-06-01", "term_days": 365, "rows": 900, "events": 44,
    "auc": 0.81, "auc_low": 0.77, "auc_high": 0.85, "brier": 0.03, "said": 0.05, "seen": 0.049,
    "scorecard_gap": math.nan, "scorecard_gap_low": math.nan, "scorecard_gap_high": math.nan,
    "rule_gap": 0.1, "rule_gap_low": 0.06, "rule_gap_high": 0.14,
}  # fmt: skip
EVALUATION: dict[str, Any] = {
    "headline_days": 365,
    "terms": {"365": measured()},
    "segments": {"person": {"sole_trader": measured(events=7), "company": measured()}},
    "payment_dates": None,
    "explained": {
        "term_days": 365,
        "rows": 1_000,
        "importance": [
            {"feature": "open_longest_overdue_days", "contribution": 0.4213, "share": 0.25},
        ],
        "dependence": [
            {
                "feature": "open_longest_overdue_days",
                "parts": [
                    {"from": 0.0, "to": 0.0, "rows": 600, "contribution": -0.31},
                    {"from": 1.0, "to": 45.0, "rows": 390, "contribution": 0.9},
                    {"from": None, "to": None, "rows": 10, "contribution": 0.05},
                ],
            }
        ],
        "interactions": [{"first": "open_longest_overdue_days", "second": "term", "effect": 0.052}],
        "noise": {"rate": 0.01, "first_stays": 0.97, "told_stay": 0.985, "moved": 0.011},
        "a_day_earlier": {"first_stays": 0.88, "told_stay": 0.93, "moved": 0.04},
    },
    "walk_forward": [STEP, {**STEP, "term_days": 30}, {**STEP, "cutoff": "all", "term_days": 30}],
    "grades": [
        Grade("C", 413, 10, 0.0151, 0.072)._asdict(),
        Grade("H", 4, 4, 0.4558, 0.01)._asdict(),
    ],
}


@pytest.fixture
def page() -> Page:
    return Page(render(CARD, EVALUATION))


def test_it_stands_alone_and_has_no_script(page):
    text = render(CARD, EVALUATION)
    assert "script" not in page.tags
    assert page.links == []
    for outside in ("http:", "https:", "url(", "@import", "javascript"):
        assert outside not in text
    assert text.startswith("<!doctype html>")


def test_the_same_card_gives_the_same_bytes():
    assert render(CARD, EVALUATION, CARD) == render(dict(CARD), dict(EVALUATION), dict(CARD))


def test_what_is_given_is_text_and_never_markup():
    wicked = "<script>alert(1)</script>"
    segments = {"sector": {wicked: measured()}}
    text = render({**CARD, "owner": wicked}, {**EVALUATION, "segments": segments})
    assert "<script>" not in text
    assert text.count("&lt;script&gt;") == 2


def test_it_says_what_it_is_whose_and_where_from(page):
    said = page.said()
    for fact in (
        "Risk team", "1f" * 32, "0198-ledger", "ab" * 32, "2020-02-01", "before 2024-05-31",
        "from 2024-05-31, outcomes known before 2025-07-01", "30 to 365 days", "lightgbm 4.7.0",
    ):  # fmt: skip
        assert fact in said


def test_the_default_definition_is_told_in_words_and_units(page):
    said = page.said()
    for words in (
        "Preset bank", "An invoice is late from, days past due 1",
        "And stays so for, further days 90", "What is late is more than 500.00",
        "The same of a natural person 100.00", "What is late, share of the exposure 1.00%",
        "The share must be exceeded, not only reached yes", "A write-off is a default yes",
    ):  # fmt: skip
        assert words in said


def test_a_definition_without_words_yet_is_shown_all_the_same():
    definition = {"name": "new", "grace_period_days": 12}
    assert "Grace period days 12" in Page(
        render({**CARD, "default_definition": definition}, EVALUATION)
    ).said()  # fmt: skip


def test_each_term_has_its_figures_with_intervals_counts_and_units(page):
    (line,) = page.table("How good it is out of time")
    assert line == {
        "Term (days)": "365",
        "Customers": "1,234",
        "Asked": "12,345",
        "Happened": "80",
        "AUC [95 %]": "0.845 [0.810–0.876]",
        "Brier": "0.031",
        "Log-loss": "0.123",
        "Said": "4.56%",
        "Seen": "4.44%",
        "Calibration error": "1.00%",
        "A perfect one’s, 95 % below": "1.20%",
    }


def test_every_grade_is_there_with_its_counts_even_without_customers(page):
    lines = {line["Grade"]: line for line in page.table("Calibration by grade")}
    assert list(lines) == list("ABCDEFGH")
    assert list(lines["C"].values()) == [
        "C", "1.0% – 2.5%", "413", "10", "1.51%", "2.42%", "0.072",
    ]  # fmt: skip
    assert list(lines["A"].values()) == ["A", "0.0% – 0.5%", "0", "0", "–", "–", "–"]


def test_bands_of_a_late_curve_take_the_place_of_grades():
    bands = [Grade("0% to 1%", 50, 1, 0.004, 0.2)._asdict()]
    late = Page(render({**CARD, "question": "late"}, {**EVALUATION, "grades": bands}))
    (line,) = late.table("Calibration by grade")
    assert (line["Grade"], line["Customers"], line["Seen"]) == ("0% to 1%", "50", "2.00%")


def test_segments_challengers_and_bands_are_shown(page):
    assert [line["Segment"] for line in page.table("By segment")] == [
        "person: sole trader",
        "person: company",
    ]
    beside = page.table("Beside simpler ways")
    assert [line["Compared with"] for line in beside] == ["Scorecard", "Rule of thumb"]
    assert beside[0]["Curve above by [95 %]"] == "+0.050 [+0.020…+0.090]"
    (band,) = page.table("By band of probability")
    assert list(band.values()) == ["1.00% – 2.00%", "500", "9", "1.50%", "1.80%"]
    (gain,) = page.table("What the riskiest rows hold")
    assert list(gain.values()) == ["10%", "50.00%"]


def test_the_walk_through_time_shows_the_headline_term_and_all_terms_together(page):
    lines = page.table("Fitted again through time")
    assert [(line["Cut-off"], line["Term (days)"]) for line in lines] == [
        ("2023-06-01", "365"),
        ("all", "30"),
    ]
    assert lines[0]["Above scorecard by"] == "–"  # it has no figure, which is no zero
    assert lines[0]["Above rule of thumb by"] == "+0.100 [+0.060…+0.140]"


def test_payment_dates_are_of_the_late_curve_only(page):
    assert "Payment dates" not in page.said()
    dates = {"rows": 900, "near_rate": 0.79, "covered_rate": 0.805, "covered_rate_said": 0.83}
    late = Page(render({**CARD, "question": "late"}, {**EVALUATION, "payment_dates": dates}))
    (line,) = late.table("Payment dates")
    assert list(line.values()) == ["900", "79.00%", "80.50%", "83.00%"]


def test_what_was_not_measured_or_stated_is_said_and_not_hidden():
    bare = Page(render({"question": "late"}, {}))
    said = bare.said()
    for part in PARTS:
        after = said.split(part, 1)[1]
        assert "Not measured." in after.split("Limits", 1)[0]
    assert said.count("Not measured.") == len(PARTS)
    assert "Owner not stated" in said
    assert "No owner is stated." in said
    assert "Not stated." in Page(render({"question": "default"}, {})).said()  # the definition


def test_what_moves_the_curve_is_told_with_how_and_how_steadily(page):
    (strongest,) = page.table("What moves it")
    assert strongest == {
        "Feature": "Longest overdue",
        "Name": "open_longest_overdue_days",
        "Mean effect (log-odds)": "0.421",
        "Share of all": "25.00%",
    }
    shape = page.table("How the strongest move it")
    assert [line["Value"] for line in shape] == ["0", "1 … 45", "missing"]
    assert [line["Mean effect (log-odds)"] for line in shape] == ["−0.310", "+0.900", "+0.050"]
    (pair,) = page.table("Which act together")
    assert (pair["Feature"], pair["Together with"]) == ("Longest overdue", "Term asked")
    noise, day = page.table("How steady its reasons are")
    assert noise["First reason stays"] == "97.00%"
    assert (day["Change"], day["Reasons told stay"]) == ("Asked a day earlier", "93.00%")
    assert "Moved a little: by 1.00%, at random." in page.said()


# Limits, from the figures.


def limits(page: Page) -> str:
    return page.said().split("Limits", 1)[1].split("What changed", 1)[0]


def test_good_figures_add_no_limit():
    good = {**EVALUATION, "grades": EVALUATION["grades"][:1]}
    warned = limits(Page(render(CARD, good)))
    assert "365 days" not in warned
    assert "Grade" not in warned


@pytest.mark.parametrize(
    ("term", "warning"),
    [
        (measured(events=49), "At 365 days only 49 events were seen"),
        (measured(error=0.0121), "the calibration error, 1.21%, is above 1.20%"),
        (measured(gap_low=-0.01), "does not rank better than the rule of thumb beyond noise"),
    ],
)
def test_weak_figures_are_limits(term, warning):
    assert warning in limits(Page(render(CARD, {**EVALUATION, "terms": {"365": term}})))


def test_first_reasons_that_do_not_stay_are_a_limit(page):
    assert "Asked a day earlier: another first reason in 12.00% of the rows." in limits(page)
    assert "moved a little: another" not in limits(page)


def test_a_grade_riskier_than_it_says_is_a_limit(page):
    assert "Grade H, tested alone, is riskier than it says: 4 of 4 happened" in limits(page)
    assert "Grade C" not in limits(page)


# What changed.


def changes(before: dict[str, Any] | None) -> Page:
    return Page(render(CARD, EVALUATION, before))


def test_the_first_version_says_so():
    assert "This is the first version." in changes(None).said()


def test_the_same_card_changed_nothing():
    assert "Nothing that the cards state." in changes(CARD).said()


def test_only_what_differs_is_a_change():
    auc = {"value": 0.81, "low": 0.77, "high": 0.84}
    before = {
        **CARD,
        "cutoff": "2023-05-31",
        "libraries": {"lightgbm": "4.6.0"},
        "metrics": [{"term_days": 365, "auc": auc}, {"term_days": 180, "auc": auc}],
    }
    rows = [list(line) for line in changes(before).tables["What changed since the last version"]]
    assert rows == [
        ["", "Before", "Now"],
        ["Cut-off", "2023-05-31", "2024-05-31"],
        ["Libraries", "lightgbm 4.6.0", "lightgbm 4.7.0, numpy 2.4.6"],
        ["AUC at 180 days", "0.810 [0.770–0.840]", "not measured"],
        ["AUC at 365 days", "0.810 [0.770–0.840]", "0.845 [0.810–0.876]"],
    ]


def test_another_default_definition_is_a_change_told_in_words():
    before = {**CARD, "default_definition": asdict(DEFAULT_DEFINITIONS["bureau"])}
    (_, row) = changes(before).tables["What changed since the last version"]
    assert row[0] == "Default definition"
    assert "Preset: bureau" in row[1]
    assert "What is late is more than: 500.00" in row[2]


# Features.


def test_every_feature_is_listed_with_the_direction_that_binds_it(page):
    listed = {line["Name"]: line for line in page.table("Features and monotone directions")}
    said = {1: "higher is riskier", -1: "lower is riskier", 0: "free"}
    assert tuple(listed) == feature_names(with_order=False)
    for name, line in listed.items():
        assert line["Monotone direction"] == said[dictionary()[name].direction]
    late = Page(render({**CARD, "question": "late"}, EVALUATION))
    assert len(late.table("Features and monotone directions")) == len(
        feature_names(with_order=True)
    )


def test_the_card_names_this_very_test(page):
    (named,) = re.findall(r"tests/\S+\.py", page.said())
    assert (ROOT / named) == Path(__file__)


# Of persons: GDPR art. 9, and what article L1132-1 of the French labour code calls discrimination.
PERSONAL = re.compile(
    r"\b(sexe?s?|sexual\w*|gender|genre|male|female|femmes?|hommes?|woman|women|man|men|age|ages|âge"
    r"|aged|birth\w*|born|naissance|nées?|nés?|marital|matrimoni\w*|married|mariées?|mariés?|divorce\w*"
    r"|spouse|conjoint\w*|child\w*|enfants?|famil\w*|pregnan\w*|grossesse|relig\w*|ethni\w*|race|racial\w*"
    r"|national\w*|citizen\w*|origine?s?|health|santé|disab\w*|handicap\w*|politi\w*|union|syndic\w*"
    r"|education|diploma|diplôme|surname|patronym\w*|prénoms?|nom)\b"
)
NOT_OF_A_PERSON = {  # how old accounts and invoices are
    "accounts_age_days": {"age", "âge"},
    "open_days_past_due": {"age", "âge"},
    "open_oldest_days": {"age", "âge"},
}


def personal_words(feature: str, labels: list[str]) -> set[str]:
    """Find words of personal attributes in a feature's name and labels."""
    text = " ".join([feature.replace("_", " "), *labels]).lower()
    return set(PERSONAL.findall(text)) - NOT_OF_A_PERSON.get(feature, set())


def test_no_feature_is_a_personal_attribute():
    entries = dictionary()
    found = {
        name: personal_words(name, [words.label for words in entry.words.values()])
        for name, entry in entries.items()
    }
    assert {name: words for name, words in found.items() if words} == {}
    assert len(found) > 90


@pytest.mark.parametrize(
    ("feature", "label"),
    [
        ("customer_age_days", "How long known"),
        ("director_sex", "Director"),
        ("x2", "Gender of the owner"),
        ("x4", "Situation matrimoniale"),
        ("x4", "Marital status"),
        ("x5", "Âge du dirigeant"),
        ("x6", "Nationality"),
        ("accounts_age_days", "Date of birth"),
    ],
)
def test_the_words_that_are_looked_for_are_found(feature, label):
    assert personal_words(feature, [label])


# On what training gives.


def test_what_training_measures_fills_every_part(datasets):
    known = datasets["default"]
    fitted = fit(known, CUTOFF - 365, QUICK)
    evaluation = evaluate(fitted.curve, known, CUTOFF - 365, END, resamples=3)
    card = card_of(known, "ledger", "00" * 32, fitted, evaluation)
    page = Page(render({**card, "owner": "Risk team"}, evaluation.as_dict()))
    lines = page.table("How good it is out of time")
    assert [line["Term (days)"] for line in lines] == ["30", "90", "180", "365"]
    first = evaluation.terms[30].quality
    assert lines[0]["Happened"] == f"{first.events:,}"
    assert lines[0]["Brier"] == f"{first.brier:.3f}"
    assert page.table("By band of probability")
    assert page.table("Beside simpler ways")
