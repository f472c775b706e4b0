"""The description of the API for people: a page, and its files, all from this machine."""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request, Response

from serving.access import Guarded, needs
from serving.openapi import problem_responses
from serving.problems import ANY_ROUTE, NOT_FOUND, Refusal

PAGES = Path(__file__).parents[1] / "pages" / "docs"
FILES = {
    "page.js": "text/javascript",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
}
POLICY = (  # scripts and styles of files of ours only; nothing inline, nothing from elsewhere
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
KEPT_A_DAY = "public, max-age=86400"
router = APIRouter(route_class=Guarded)


@router.get(
    "/docs",
    response_class=Response,
    operation_id="documentation",
    summary="Read the API, and try it",
    description="A page that shows /openapi.json; it loads nothing from elsewhere.",
    responses={
        200: {"description": "The page.", "content": {"text/html": {"schema": {"type": "string"}}}},
        **problem_responses(*ANY_ROUTE),
    },
    openapi_extra=needs(),
)
async def _page(_request: Request) -> Response:
    page = _bytes_of("index.html")
    return Response(page, headers={"Content-Security-Policy": POLICY}, media_type="text/html")


@router.get(
    "/docs/{file}",
    response_class=Response,
    operation_id="documentation_file",
    summary="A script or a style of /docs",
    description="Vendored in encours, with its licence.",
    responses={
        200: {
            "description": "The file.",
            "content": {kind: {"schema": {"type": "string"}} for kind in sorted({*FILES.values()})},
        },
        **problem_responses(*ANY_ROUTE),
    },
    openapi_extra=needs(
        parameters=[
            {
                "name": "file",
                "in": "path",
                "required": True,
                "description": "Its name.",
                "schema": {"type": "string", "enum": sorted(FILES)},
                "example": "page.js",
            }
        ]
    ),
)
async def _file(request: Request) -> Response:
    name = request.path_params["file"]
    if name not in FILES:
        raise Refusal(NOT_FOUND)
    headers = {"Cache-Control": KEPT_A_DAY, "Vary": "Accept-Encoding"}
    content = _bytes_of(name)
    if content.startswith(b"\x1f\x8b"):
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
        else:
            content = gzip.decompress(content)
    return Response(content, headers=headers, media_type=FILES[name])


@cache
def _bytes_of(name: str) -> bytes:
    """Read a file, compressed where it is kept so."""
    compressed = PAGES / f"{name}.gz"
    return (compressed if compressed.exists() else PAGES / name).read_bytes()
