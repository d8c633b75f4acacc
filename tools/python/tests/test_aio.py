"""The asyncio client: what is cancelled leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import unittest
from typing import Any

from support import BTC, ServerTest

from tickreel import AsyncClient, Client, Frame, Retry
from tickreel import asking as ask
from tickreel._proto import tickreel_pb2 as pb
from tickreel.aio import AsyncReplay


class Call:
    """A call to a server that stops answering somewhere."""

    def __init__(self, *, writes: bool, reads: bool) -> None:
        self._writes, self._reads = writes, reads
        self.written: list[pb.ReplayRequest] = []
        self.is_cancelled = False

    async def write(self, request: pb.ReplayRequest) -> None:
        self.written.append(request)
        if not self._writes:
            await asyncio.get_running_loop().create_future()

    async def read(self) -> Any:
        if not self._reads:
            await asyncio.get_running_loop().create_future()
        return pb.ReplayResponse(opened=pb.ReplayOpened())

    def cancel(self) -> None:
        self.is_cancelled = True


class Opening(unittest.TestCase):
    def test_a_cancelled_opening_ends_its_call_and_the_next_one_works(self) -> None:
        async def open_thrice() -> None:
            calls = [Call(writes=False, reads=False), Call(writes=True, reads=False)]
            calls.append(Call(writes=True, reads=True))
            given = iter(calls)
            request = ask.open_request("x:Y", None, None, None, {})
            replay = AsyncReplay(lambda: next(given), request, Retry(), verify=False)
            for _ in range(2):
                opening = asyncio.create_task(replay._open())
                await asyncio.sleep(0.01)
                opening.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await opening
            await replay._open()
            await replay.pause()
            self.assertEqual([call.is_cancelled for call in calls], [True, True, False])
            self.assertEqual(calls[2].written, [request, ask.pause_command()])
            self.assertEqual(asyncio.all_tasks(), {asyncio.current_task()})

        asyncio.run(open_thrice())

    def test_a_command_that_is_given_while_it_opens_comes_after_the_opening(self) -> None:
        async def command_meanwhile() -> None:
            call = Call(writes=True, reads=False)
            request = ask.open_request("x:Y", None, None, None, {})
            replay = AsyncReplay(lambda: call, request, Retry(), verify=False)
            opening = asyncio.create_task(replay._open())
            await asyncio.sleep(0.01)
            command = asyncio.create_task(replay.pause())
            await asyncio.sleep(0.01)
            self.assertEqual(call.written, [request])
            opening.cancel()
            await asyncio.wait([opening, command])
            self.assertEqual(call.written, [request, ask.pause_command()])

        asyncio.run(command_meanwhile())


class Cancelling(ServerTest):
    def test_an_opening_may_be_cancelled_at_any_moment(self) -> None:
        async def cancel_each() -> int:
            opened = 0
            async with AsyncClient(self.url) as client:
                await client.stats()
                for turns in range(0, 60, 3):
                    opening = asyncio.create_task(client.replay(BTC, "trades", name="x"))
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    opening.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        replay = await opening
                        opened += 1
                        await replay.close()
                    # Its name is free again: nothing of it is left at the server.
                    for _ in range(1000):
                        if not (await client.stats()).sessions:
                            break
                        await asyncio.sleep(0.01)
                    self.assertEqual((await client.stats()).sessions, ())
                self.assertEqual(asyncio.all_tasks(), {asyncio.current_task()})
                replay = await client.replay(BTC, "trades")
                async with replay:
                    self.assertGreater(sum([frame.rows async for frame in replay.frames()]), 0)
            return opened

        self.assertLess(asyncio.run(cancel_each()), 20)
        with Client(self.url) as client:
            rows = sum(e.rows for e in client.replay(BTC, "trades") if isinstance(e, Frame))
        self.assertGreater(rows, 0)


if __name__ == "__main__":
    unittest.main()
