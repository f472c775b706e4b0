"""The routes, one module a subject."""

from __future__ import annotations

from serving.routes import assessments, description, facts

ROUTERS = (assessments.router, facts.router, description.router)

__all__ = ["ROUTERS"]
