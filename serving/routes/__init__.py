"""The routes, one module a subject."""

from __future__ import annotations

from serving.routes import (
    alerts,
    assessments,
    batch,
    counterfactuals,
    customers,
    description,
    documentation,
    evidence,
    facts,
    in_charge,
    jobs,
    overrides,
    parts,
    registers,
)

ROUTERS = (
    assessments.router,
    batch.router,
    parts.router,
    counterfactuals.router,
    registers.router,
    evidence.router,
    overrides.router,
    customers.router,
    alerts.router,
    facts.router,
    jobs.router,
    in_charge.router,
    description.router,
    documentation.router,
)

__all__ = ["ROUTERS"]
