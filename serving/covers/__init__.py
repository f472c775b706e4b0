"""Where the insurer's covers come from: the ledger, a file, or the insurer himself over HTTP."""

from serving.covers.file import FileCovers
from serving.covers.http import HttpCovers
from serving.covers.ledger import LedgerCovers, covers_of
from serving.covers.provider import CoverSettingsError, provider_of, rules_from_environment
from serving.covers.said import CoverProvider, Found, Outage

__all__ = [
    "CoverProvider",
    "CoverSettingsError",
    "FileCovers",
    "Found",
    "HttpCovers",
    "LedgerCovers",
    "Outage",
    "covers_of",
    "provider_of",
    "rules_from_environment",
]
