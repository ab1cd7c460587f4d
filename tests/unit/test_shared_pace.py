"""One limit of sending for several processes, with a pacemaker within this one."""

import asyncio
from types import SimpleNamespace

import pytest

from harness.distributed.shared_pace import Pacemaker, SharedPace
from harness.models import ModelOptions, load_model
from harness.types import ModelRequest, Sampling


class Near:
    """A handle of a pacemaker that is no actor."""

    def __init__(self, pacemaker):
        for name in ("acquire", "slow_down"):
            setattr(self, name, SimpleNamespace(remote=self._start(getattr(pacemaker, name))))

    @staticmethod
    def _start(method):
        return lambda *args: asyncio.ensure_future(method(*args))


async def waits(pace):
    """Whether a request has to wait."""
    try:
        async with asyncio.timeout(0.05):
            await pace.acquire()
    except TimeoutError:
        return True
    return False


async def told(*paces):
    """One request of each, and the pacemaker's answers."""
    for pace in paces:
        await pace.acquire()
    while any(pace._asking for pace in paces):
        await asyncio.sleep(0)


def test_a_refusal_of_one_holds_back_the_other_once_it_was_told():
    async def run():
        pacemaker = Near(Pacemaker())
        one, other = SharedPace(pacemaker), SharedPace(pacemaker)
        await told(one, other)
        one.slow_down(None)
        assert await waits(one)
        assert not await waits(other)
        other._limited = True  # as the answer to this request will say, when its turn has come
        assert await waits(other)

    asyncio.run(run())


def test_the_pacemaker_says_that_it_limits():
    async def run():
        pacemaker = Pacemaker()
        assert (await pacemaker.acquire(0.01, 0))[1] is False
        await pacemaker.slow_down(None)
        assert (await pacemaker.acquire(0.01, 0))[1] is True

    asyncio.run(run())


def test_what_one_got_accepted_the_other_hears_of():
    async def run():
        pacemaker = Near(Pacemaker())
        one, other = SharedPace(pacemaker), SharedPace(pacemaker)
        for _ in range(3):
            await told(one)
            one.release()
        await told(one, other)
        assert other.accepted_count == 3

    asyncio.run(run())


def test_an_endpoint_sends_by_the_pace_it_was_given(sample_request):
    asked = []

    class Counting(SharedPace):
        async def acquire(self):
            asked.append("acquire")
            raise asyncio.CancelledError

    async def run():
        model = load_model("openai/m", ModelOptions(base_url="http://127.0.0.1:9/v1", environ={}))
        model.share_pace(lambda longest: Counting(None, longest))
        with pytest.raises(asyncio.CancelledError):
            await model(sample_request)
        await model.aclose()

    asyncio.run(run())
    assert asked == ["acquire"]


@pytest.fixture
def sample_request():
    from builders import sample

    one = sample()
    return ModelRequest(one.messages, one.tools, Sampling(), one)
