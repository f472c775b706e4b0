"""What the API takes and gives; money is a string in units of the ledger's currency.

JSON numbers are binary floats in most readers.
"""

from __future__ import annotations

from serving.schemas.answer import Assessment, FieldError, Problem
from serving.schemas.examples import ASSESSMENT_EXAMPLE, REQUEST_EXAMPLE
from serving.schemas.request import AssessmentRequest, OrderGiven

__all__ = [
    "ASSESSMENT_EXAMPLE",
    "REQUEST_EXAMPLE",
    "Assessment",
    "AssessmentRequest",
    "FieldError",
    "OrderGiven",
    "Problem",
]
