"""Simulates for as long as it is told to, on all cores, and shows the first failure made small: scripts/simulate."""

import argparse
import multiprocessing
import os
import sys
import time

from tests.simulation.plan import drawn
from tests.simulation.runs import Run, shrunk, simulate, some

SHARE = 50  # seeds that a process takes at a time


def explain(number: int) -> Run:
    """The smallest run that fails as a seed does."""
    return shrunk(simulate(drawn(number)))


def main() -> int:
    """Run; 1 if something was violated."""
    parser = argparse.ArgumentParser(prog="scripts/simulate", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long; 0 for the one seed that --seed names")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    given = parser.parse_args()
    if given.minutes == 0:
        run = simulate(drawn(given.seed), verbose=True)
        print(run if run.wrong is None else explain(given.seed))
        return int(run.wrong is not None)
    deadline = time.monotonic() + given.minutes * 60
    shares = (range(at, at + SHARE) for at in range(given.seed, sys.maxsize, SHARE))
    seeds = operations = steps = 0
    with multiprocessing.get_context("spawn").Pool() as pool:
        while time.monotonic() < deadline:
            round_ = [next(shares) for _ in range(4 * (os.cpu_count() or 1))]
            for more, done, taken, failed in pool.imap_unordered(some, round_):
                seeds, operations, steps = seeds + more, operations + done, steps + taken
                if failed is not None:
                    print(explain(failed))
                    return 1
    print(f"{seeds} seeds from {given.seed} on, {operations} operations, {steps} steps: nothing was violated")
    return 0


if __name__ == "__main__":
    sys.exit(main())
