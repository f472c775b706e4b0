"""The routes, one module a subject."""

from __future__ import annotations

from serving.routes import assessments, description, documentation, facts

ROUTERS = (assessments.router, facts.router, description.router, documentation.router)

__all__ = ["ROUTERS"]
