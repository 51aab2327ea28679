"""Explore the scenarios, or random mixtures of all actors, for longer than the tests do."""

import argparse
import sys
import time
from dataclasses import replace

from tests.model import scenarios
from tests.model.cast import TICKING
from tests.model.engine import Model
from tests.model.mixture import mixture


def main() -> None:
    """Exit with 1, and the steps that lead there, if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks", type=int, default=0, help="ticks more than in the tests")
    parser.add_argument("--limit", type=int, default=5_000_000, help="states of a scenario, about 1 KB each")
    parser.add_argument("--walk", type=float, default=0, help="seconds of random walks, instead of the scenarios")
    parser.add_argument("--seed", type=int, default=1, help="of the first mixture")
    parser.add_argument("names", nargs="*", help="of scenarios; all if none is named")
    options = parser.parse_args()
    if options.walk:
        walk(options.seed, options.walk)
        return
    for build in scenarios.ALL:
        if options.names and build.__name__ not in options.names:
            continue
        small = build(frozenset())
        verdict = Model(replace(small, ticks=small.ticks + options.ticks)).explore(options.limit)
        print(f"{build.__name__}: {verdict}{'' if verdict.is_whole else ', and there are more'}", flush=True)
        if verdict.violation:
            sys.exit(1)


def walk(seed: int, seconds: float) -> None:
    """Mixture after mixture."""
    end, steps = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        verdict = Model(mixture(seed)).walk(seed, steps=2_000, ticking=TICKING[seed % 3])
        steps += verdict.states
        if verdict.violation:
            sys.exit(f"seed {seed}: {verdict}")
        seed += 1
    print(f"{steps} steps, the next seed is {seed}")


if __name__ == "__main__":
    main()
