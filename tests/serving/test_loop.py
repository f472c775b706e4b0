"""The service's event loop: busy, it looks for new events less often, and misses none."""

from __future__ import annotations

import asyncio
import socket
import time

import uvicorn.config

from serving import loop
from serving.loop import MOST_TURNS, BoundedProtocol, BusySelector, new_loop


def test_an_event_is_seen_within_some_turns_of_a_loop_that_is_never_idle():
    async def turns_until_seen() -> int:
        here, there = socket.socketpair()
        with here, there:
            here.setblocking(False)
            received = asyncio.ensure_future(asyncio.get_running_loop().sock_recv(here, 1))
            await asyncio.sleep(0)
            there.send(b"x")
            turns = 0
            while not received.done():
                await asyncio.sleep(0)  # there is always something to do
                turns += 1
            return turns

    with asyncio.Runner(loop_factory=new_loop) as runner:
        seen = [runner.run(turns_until_seen()) for _ in range(20)]
    assert max(seen) <= MOST_TURNS + 4
    assert max(seen) > 4  # else it looks at each turn, as any loop


def test_an_idle_loop_sees_an_event_at_once_and_sleeps_as_long_as_asked():
    async def waits() -> tuple[float, float]:
        here, there = socket.socketpair()
        with here, there:
            here.setblocking(False)
            running = asyncio.get_running_loop()
            begun = time.perf_counter()
            running.call_later(0.05, there.send, b"x")
            await running.sock_recv(here, 1)
            seen = time.perf_counter() - begun
            await asyncio.sleep(0.05)
            return seen, time.perf_counter() - begun - seen

    with asyncio.Runner(loop_factory=new_loop) as runner:
        seen, slept = runner.run(waits())
    assert 0.05 <= seen < 2
    assert 0.05 <= slept < 2


def test_a_thread_wakes_the_loop():
    async def answer() -> int:
        return await asyncio.get_running_loop().run_in_executor(None, lambda: 17)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert [runner.run(answer()) for _ in range(100)] == [17] * 100


def test_uvicorn_takes_both_where_it_may_choose(monkeypatch):
    for name in ("LOOP_FACTORIES", "HTTP_PROTOCOLS"):
        monkeypatch.setattr(uvicorn.config, name, dict(getattr(uvicorn.config, name)))
    loop.install()
    config = uvicorn.Config("serving.api:create_app")
    config.load()
    assert config.http_protocol_class is BoundedProtocol
    factory = config.get_loop_factory()
    assert factory is not None
    made = factory()
    try:
        assert isinstance(made._selector, BusySelector)  # type: ignore[attr-defined]
    finally:
        made.close()
