"""The routes, one module a subject."""

from __future__ import annotations

from serving.routes import (
    alerts,
    assessments,
    customers,
    description,
    documentation,
    facts,
    in_charge,
    overrides,
    parts,
)

ROUTERS = (
    assessments.router,
    parts.router,
    overrides.router,
    customers.router,
    alerts.router,
    facts.router,
    in_charge.router,
    description.router,
    documentation.router,
)

__all__ = ["ROUTERS"]
