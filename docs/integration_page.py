"""Writes the tables of ``docs/integration.md`` from the code; run with ``make docs``."""

from __future__ import annotations

from pathlib import Path

from commands.keys import WHAT_ROLES_DO
from docs.openapi_page import document
from serving import limits, problems
from serving.contract import operations
from serving.problems import Fault

PAGE = Path(__file__).with_name("integration.md")
SAYS_WHEN = {problems.TOO_MANY_CALLS: "when there is a call again"}


def errors() -> str:
    """Return the table of problems, by status."""
    faults = {fault.name: fault for fault in vars(problems).values() if isinstance(fault, Fault)}
    ordered = sorted(faults.values(), key=lambda fault: (fault.status, fault.name))
    lines = [
        f"| {one.status} | `{one.name}` | {one.title} | {one.remedy} | {_waits(one)} |"
        for one in ordered
    ]
    head = [
        "| status | `/problems/…` | what it is | what to do | `Retry-After` |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*head, *lines])


def _waits(fault: Fault) -> str:
    seconds = problems.WAITS.get(fault)
    return SAYS_WHEN.get(fault, "") if seconds is None else f"{seconds} s"


def roles() -> str:
    """Return the table of roles, with the operations of each."""
    by_role: dict[str, list[str]] = {role: [] for role in WHAT_ROLES_DO}
    for path, method, operation in operations(document()):
        for role in operation["x-roles"]:
            by_role[role].append(f"`{method.upper()} {path}`")
    lines = [
        f"| `{role}` | {WHAT_ROLES_DO[role]} | {', '.join(these) or 'none yet'} |"
        for role, these in by_role.items()
    ]
    return "\n".join(["| role | what for | operations |", "|---|---|---|", *lines])


def figures() -> str:
    """Return the table of limits."""
    said = {
        "a body": f"{limits.LONGEST_BODY_BYTES // 1024} KiB, and {limits.BODY_SECONDS:.0f} s to "
        "arrive; an operation that takes more says so in `x-most-body-bytes`",
        "an answer": f"{limits.ANSWER_SECONDS:.0f} s, then 504",
        "calls of one key": f"{limits.CALLS_A_SECOND:.0f} a second for long, "
        f"{limits.CALLS_A_SECOND * limits.BURST_SECONDS:.0f} at once after a pause, unless the key "
        "was made for more (`--calls-a-second`)",
        "requests in hand": f"{limits.MOST_IN_HAND} a process, then 503",
        "an Idempotency-Key": "1 to 128 printable ASCII characters",
    }
    lines = [f"| {what} | {most} |" for what, most in said.items()]
    return "\n".join(["| of | at most |", "|---|---|", *lines])


TABLES = {"errors": errors, "roles": roles, "limits": figures}


def written(text: str) -> str:
    """Give the page with its tables as the code has them."""
    for name, table in TABLES.items():
        before, begins, rest = text.partition(f"<!-- {name}: made by make docs -->\n")
        _, ends, after = rest.partition(f"<!-- end of {name} -->\n")
        text = f"{before}{begins}{table()}\n{ends}{after}"
    return text


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8")), encoding="utf-8")
