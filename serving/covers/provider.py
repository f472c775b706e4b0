"""The cover provider that the insurer's policy and the environment ask for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from models.insurance_file import PATH, FileSource, HttpSource, InsuranceRules, load
from serving.covers.file import FileCovers
from serving.covers.http import HttpCovers
from serving.covers.ledger import LedgerCovers, Rows
from serving.covers.said import CoverProvider

SHORTEST_KEY = 16


class CoverSettingsError(ValueError):
    """The provider cannot start as configured; the message holds no secret."""


def rules_from_environment(environment: Mapping[str, str] = os.environ) -> InsuranceRules:
    """Read the file that ``ENCOURS_INSURANCE`` names, else models/insurance.yaml.

    Raises
    ------
    InsuranceError
    """
    return load(Path(environment.get("ENCOURS_INSURANCE") or PATH))


def provider_of(
    rules: InsuranceRules,
    currency: str,
    read_ledger: Callable[[str, datetime], Rows],
    environment: Mapping[str, str] = os.environ,
) -> CoverProvider:
    """Make the provider of the policy's ``provider`` section.

    Parameters
    ----------
    rules : InsuranceRules
    currency : str
        ISO 4217, of the ledger.
    read_ledger : callable
        Gives a customer's rows of ``insurance_covers`` at an instant, for the ledger's provider.
    environment : mapping, optional
        Where the API key stands.

    Raises
    ------
    CoverSettingsError
        When the API key of an HTTP provider is missing, short, or cannot be sent.
    """
    source = rules.provider
    if isinstance(source, HttpSource):
        return HttpCovers(source, rules, currency, _api_key(source.api_key_variable, environment))
    if isinstance(source, FileSource):
        return FileCovers(source, rules, currency)
    return LedgerCovers(read_ledger)


def _api_key(variable: str, environment: Mapping[str, str]) -> str:
    key = environment.get(variable, "")
    if len(key) < SHORTEST_KEY or not key.isascii() or not key.isprintable() or " " in key:
        raise CoverSettingsError(
            f"{variable} must hold the insurer's API key: at least {SHORTEST_KEY} printable ASCII "
            "characters, no space"
        )
    return key
