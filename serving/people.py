"""Who has which role: ``people.yaml`` of ENCOURS_HOME, read strictly.

::

    people:
      Claire Martin: credit_manager
      Paul Durand: head_of_credit

Over HTTP the API key authenticates: its client is the name. On the command line names are taken on
trust: whoever may run it can give any name of the file. What each role may do stands in the policy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from models.policy_file import RoleName
from models.strict_yaml import Whole, read

FILE_NAME = "people.yaml"
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^\S(.*\S)?$")]


class PeopleError(ValueError):
    """The file of people cannot be used; each line says file, line, key and fault."""


class People(Whole):
    """Role of each person, by name."""

    people: dict[Name, RoleName]


def load(path: Path) -> dict[str, str]:
    """Read who has which role.

    Raises
    ------
    PeopleError
        With one line for each fault, or where there is no file.
    """
    if not path.exists():
        raise PeopleError(f"{path} does not exist: it says who has which role (docs/overrides.md)")
    return dict(read(path, "people", People, PeopleError).people)
