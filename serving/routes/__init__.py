"""The routes, one module a subject."""

from __future__ import annotations

from serving.routes import assessments, batch, description, jobs

ROUTERS = (assessments.router, batch.router, jobs.router, description.router)

__all__ = ["ROUTERS"]
