"""One question to the insurer over HTTP, and what is made of whatever comes back.

Only the configured origin is asked: no redirect is followed, no proxy, cookie or password file of
the environment is used. A reply that is late, large, compressed, of another type or not exactly of
the contract is an outage, and never a cover. Nothing of the customer or of the key is logged.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from random import SystemRandom
from typing import Annotated
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.insurance_file import HttpSource
from serving.covers.rows import JSON, LONGEST_IDENTIFIER, CoverRow, Currency, Identifier
from serving.covers.said import Outage

MOST_CONNECTIONS = 8
MOST_COVERS = 100
OFF_LIMITS = {".", ".."}  # would climb in the path, encoded or not


class Reply(BaseModel):
    """The contract: every decision of the insurer on the customer asked for."""

    model_config = ConfigDict(strict=True, frozen=True, hide_input_in_errors=True)

    customer_id: Identifier
    currency: Currency
    covers: Annotated[list[CoverRow], Field(max_length=MOST_COVERS)]


class InsurerError(Exception):
    """The insurer gave no usable answer.

    Parameters
    ----------
    outage : str
        Why.
    detail : str
        For the log; nothing of the customer.
    can_retry : bool
        Whether asking again may help.
    wait_seconds : float
        How long the insurer asks us to wait.
    """

    def __init__(
        self,
        outage: Outage,
        detail: str,
        *,
        can_retry: bool = False,
        wait_seconds: float = 0.0,
    ) -> None:
        super().__init__(detail)
        self.outage: Outage = outage
        self.detail, self.can_retry, self.wait_seconds = detail, can_retry, wait_seconds


@dataclass(frozen=True)
class Timing:
    """The clock and the dice, so that tests can hold them."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    dice: Callable[[], float] = SystemRandom().random


class Insurer:
    """Asks the insurer for the covers of a customer; safe to call from several threads.

    Parameters
    ----------
    source : HttpSource
    api_key : str
        Sent as a bearer token; printable ASCII.
    currency : str
        ISO 4217: a reply in another one is an outage.
    timing : Timing, optional
    """

    def __init__(
        self, source: HttpSource, api_key: str, currency: str, timing: Timing | None = None
    ) -> None:
        self._source, self._currency, self._timing = source, currency, timing or Timing()
        for name in ("httpx", "httpcore"):  # they log addresses, and these hold customers
            logging.getLogger(name).setLevel(logging.WARNING)
        self._client = httpx.Client(
            headers={
                "Authorization": f"Bearer {api_key}",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "User-Agent": "encours",
            },
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            follow_redirects=False,
            trust_env=False,
            limits=httpx.Limits(max_connections=MOST_CONNECTIONS),
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(self, customer_id: str) -> list[CoverRow]:
        """Ask until there is an answer, the attempts are used or the time is.

        Raises
        ------
        InsurerError
        """
        url = f"{self._source.url}/covers/{_encoded(customer_id)}"
        deadline = self._timing.now() + self._source.budget_ms / 1000
        for attempt in range(self._source.attempts):
            try:
                return self._asked_once(url, customer_id, deadline)
            except InsurerError as error:
                wait = max(error.wait_seconds, self._backoff_seconds(attempt))
                is_last = attempt + 1 == self._source.attempts
                if is_last or not error.can_retry or self._timing.now() + wait >= deadline:
                    raise
                self._timing.sleep(wait)
        raise AssertionError("unreachable: attempts is at least 1")

    def _backoff_seconds(self, attempt: int) -> float:
        """Draw a wait that doubles with each attempt, so that clients do not return together."""
        base = self._source.backoff_ms / 1000
        return base * float(1 << attempt) * (0.5 + self._timing.dice() / 2)

    def _asked_once(self, url: str, customer_id: str, deadline: float) -> list[CoverRow]:
        left = deadline - self._timing.now()
        if left <= 0:
            raise InsurerError("timeout", "no time left")
        try:
            with self._client.stream("GET", url, timeout=left) as response:
                self._check(response)
                body = self._received(response, deadline)
        except httpx.TimeoutException as error:
            raise InsurerError("timeout", type(error).__name__, can_retry=True) from error
        except httpx.TransportError as error:
            raise InsurerError("unreachable", type(error).__name__, can_retry=True) from error
        return self._parsed(body, customer_id)

    def _check(self, response: httpx.Response) -> None:
        """Pass a plain JSON reply of a sensible size; its body is not read yet."""
        status, headers = response.status_code, response.headers
        detail = f"status {status}"
        if status == 429 or status >= 500:
            outage: Outage = "rate_limited" if status == 429 else "insurer_error"
            wait = min(_retry_after(headers), self._source.retry_after_at_most_seconds)
            raise InsurerError(outage, detail, can_retry=True, wait_seconds=wait)
        if 300 <= status < 400:
            raise InsurerError("redirected", detail)
        if status != 200:  # 404 too: the contract answers an unknown customer with no covers
            raise InsurerError("refused", detail)
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise InsurerError("bad_reply", "not application/json")
        if headers.get("content-encoding", "identity") != "identity":
            raise InsurerError("bad_reply", "compressed")
        length = headers.get("content-length", "0")
        is_size = length.isdigit() and len(length) <= 10
        if not is_size or int(length) > self._source.largest_reply_bytes:
            raise InsurerError("bad_reply", "too large")

    def _received(self, response: httpx.Response, deadline: float) -> bytes:
        body = bytearray()
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > self._source.largest_reply_bytes:
                raise InsurerError("bad_reply", "too large")
            if self._timing.now() >= deadline:
                raise InsurerError("timeout", "slow body")
        return bytes(body)

    def _parsed(self, body: bytes, customer_id: str) -> list[CoverRow]:
        try:
            reply = Reply.model_validate(JSON.decode(body.decode()))
        except ValidationError as error:
            fields = sorted({".".join(map(str, one["loc"])) for one in error.errors()})
            raise InsurerError("bad_reply", f"wrong {', '.join(fields[:3])}") from None
        except (ValueError, RecursionError) as error:
            raise InsurerError("bad_reply", f"not JSON ({type(error).__name__})") from None
        if reply.customer_id != customer_id:
            raise InsurerError("bad_reply", "of another customer")
        if reply.currency != self._currency:
            raise InsurerError("bad_reply", "in another currency")
        return reply.covers


def _encoded(customer_id: str) -> str:
    """Write an identifier as one segment of a path.

    >>> _encoded("C/17 é")
    'C%2F17%20%C3%A9'
    """
    if not 0 < len(customer_id) <= LONGEST_IDENTIFIER or customer_id in OFF_LIMITS:
        raise InsurerError("identifier", "empty, too long, or dots")
    try:
        return quote(customer_id, safe="")
    except UnicodeEncodeError:
        raise InsurerError("identifier", "not Unicode") from None


def _retry_after(headers: httpx.Headers) -> float:
    """Read ``Retry-After``, seconds or a date; 0 when it says nothing sensible."""
    said = headers.get("retry-after", "").strip()
    if said.isascii() and said.isdigit():
        return float(said[:9]) if len(said) <= 9 else 1e9
    try:
        wait: float = (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds()
        return max(0.0, wait)
    except (ValueError, TypeError, OverflowError):
        return 0.0
