"""The routes, one module a subject."""

from __future__ import annotations

from serving.routes import (
    alerts,
    assessments,
    customers,
    description,
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
    in_charge.router,
    description.router,
)

__all__ = ["ROUTERS"]
