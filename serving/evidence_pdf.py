"""The page of evidence as a PDF, made without any network: PDF/A-3a, with the proof attached."""

from __future__ import annotations

import warnings
from typing import Any, NoReturn

PANGO = "apt-get install -y libpango-1.0-0 libpangoft2-1.0-0"
VARIANT = "pdf/a-3a"  # to be kept for years: fonts within, tagged to be read aloud, attachments
PROOF = "proof.json"


class PdfUnavailable(Exception):
    """WeasyPrint or its system library is missing; the message says how to get it."""


def pdf(html: str, proof: bytes | None) -> bytes:
    """Write a page as a PDF.

    Parameters
    ----------
    html : str
        It may refer to nothing.
    proof : bytes or None
        Attached as ``proof.json``.

    Raises
    ------
    PdfUnavailable
    """
    weasyprint = _weasyprint()
    attached = []
    if proof is not None:
        description = "Proof of the entry, for docs/verify.py"
        attached.append(
            weasyprint.Attachment(
                string=proof, name=PROOF, description=description, relationship="Supplement"
            )
        )
    page = weasyprint.HTML(string=html, url_fetcher=_refuse)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its colour profile open
        written: bytes = page.write_pdf(pdf_variant=VARIANT, attachments=attached)
    return written


def _refuse(url: str, *_: Any, **__: Any) -> NoReturn:
    """Fetch nothing: what stands for this page stands in it."""
    from weasyprint.urls import FatalURLFetchingError

    raise FatalURLFetchingError("the page refers to something outside of it")


def _weasyprint() -> Any:
    try:
        import weasyprint
    except ImportError as error:
        raise PdfUnavailable(
            "a PDF needs the package weasyprint: `make run` installs it"
        ) from error
    except OSError as error:  # it cannot load pango
        raise PdfUnavailable(
            f"a PDF needs the system library pango: as root, {PANGO}; --out FILE.html needs nothing"
        ) from error
    return weasyprint
