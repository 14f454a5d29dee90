"""A run of hostile inputs of several kinds against one API."""

import random
import time

from benchmarks.hostile.attacks import ATTACKS
from benchmarks.hostile.tally import Tally
from benchmarks.hostile.target import Target

#: Statuses that say that something around the API is missing or full, which is not its fault.
_EXCUSED = frozenset({503, 507})


async def run_attacks(target: Target, count: int, seed: int, kinds: list[str]) -> Tally:
    """Send ``count`` inputs of these kinds; return the numbers of the run."""
    tally, began_at = Tally(seed), time.monotonic()
    async with target.client:
        for kind in kinds:  # the first calls take memory for imports, pools and caches
            await ATTACKS[kind][0](target, random.Random(seed - 1), 8)
        tally.mb_before = target.mb()
        shares = sum(ATTACKS[kind][1] for kind in kinds)
        for kind in kinds:
            send, share = ATTACKS[kind]
            sent = max(1, round(count * share / shares))
            statuses = await send(target, random.Random(f"{seed} {kind}"), sent)
            tally.inputs += sent
            tally.statuses[kind] = dict(sorted(statuses.items()))
            tally.unexcused += [
                f"{number} of the {kind} were answered with {status}."
                for status, number in statuses.items()
                if status.startswith("5") and int(status) not in _EXCUSED
            ]
        await target.purge()
        tally.jobs_left = await target.jobs_left()
        tally.alive = (await target.client.get("/livez")).status_code == 200
    tally.files_left = target.files_left()
    tally.mb_peak, tally.mb_after = target.mb_peak(), target.mb()
    tally.seconds = time.monotonic() - began_at
    return tally
