"""Writes the contract as it stands, ``docs/openapi.json`` and in 3.0; run with ``make docs``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from fastapi import FastAPI

from serving.api import create_app
from serving.assess import NotReady
from serving.keys import Keys
from serving.openapi_3_0 import down
from serving.opened import WhenReady

HERE = Path(__file__).parent


@cache
def app() -> FastAPI:
    """Build the application without anything to act on: the contract needs nothing."""
    return create_app(WhenReady(_nothing), Keys(_nothing))


def _nothing() -> NoReturn:
    raise NotReady("the contract is described, nothing is served")


def document() -> dict[str, Any]:
    """Return the contract as OpenAPI 3.1."""
    described: dict[str, Any] = app().openapi()
    return described


def document_3_0() -> dict[str, Any]:
    """Return the contract as OpenAPI 3.0.3."""
    return down(document())


FILES: Mapping[Path, Callable[[], dict[str, Any]]] = {
    HERE / "openapi.json": document,
    HERE / "openapi-3.0.json": document_3_0,
}

if __name__ == "__main__":
    for file, said in FILES.items():
        text = json.dumps(said(), ensure_ascii=False, indent=1)
        file.write_text(f"{text}\n", encoding="utf-8")
