"""``encours audit counterfactuals``: the smallest changes that soften an action."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.table import Table

from commands.replay import AsJson, Language, Words, an_assessment, recorded
from commands.shared import console, say, stop
from models.policy_file import Action
from models.wording import LABELS

TITLES = {
    "en": ("change", "effort", "then"),
    "fr": ("changement", "effort", "alors"),
}
REVIEW = {"en": "a person decides", "fr": "une personne décide"}


def counterfactuals(
    assessment: Annotated[str, typer.Argument(metavar="ID", help="Id of the assessment.")],
    language: Language = "en",
    as_json: AsJson = False,
) -> None:
    """Tell the smallest changes that would have softened the action of an assessment.

    A deposit, a smaller order, shorter terms, invoices paid; from what was known then, with the
    models and the policy of then. Each was answered again by them.
    """
    from serving.counterfactuals import NoCounterfactuals
    from serving.counterfactuals import counterfactuals as of
    from serving.replay import Replayer

    workspace, store = recorded()
    entry = an_assessment(workspace, assessment)
    try:
        told = of(Replayer(workspace, store), entry)
    except NoCounterfactuals as error:
        stop(str(error))
    if as_json:
        typer.echo(json.dumps(told, ensure_ascii=False, indent=1))
    else:
        _say(told, language)


def _say(told: dict[str, Any], language: Words) -> None:
    order = told["order"]
    days = {"en": "days", "fr": "jours"}[language]
    say(
        f"{order['amount']} {told['currency']}, {order['terms_days']} {days} ({told['known_at']}): "
        f"{_action(told['action'], language)}"
    )
    if told["none_found"] is not None:
        say(told["none_found"][language])
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in TITLES[language]:
        table.add_column(title)
    for one in told["found"]:
        change, _, _ = one[language].rpartition(": ")
        effort = f"{100 * one['effort']:.1f} %"
        if language == "fr":
            effort = effort.replace(".", ",")
        table.add_row(change.rstrip(), effort, _action(one["action"], language))
    console.print(table)


def _action(kind: Action, language: Words) -> str:
    return REVIEW[language] if kind == "review" else LABELS[kind]._asdict()[language]
