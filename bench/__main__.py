"""The command of scripts/bench."""

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from bench import page
from bench.machine import this_machine, today
from bench.results import Measured, Results, as_json, worse
from bench.running import FULL, QUICK, Workload, measure
from bench.tables import line
from bench.workloads import CHECKED, WORKLOADS
from tests.parts import tools

SLACK = 0.25


@click.command()
@click.option("--check", is_flag=True, help="Two minutes; fail if CPU an operation is a quarter above a target.")
@click.option("--rounds", type=click.IntRange(min=1), help="Rounds, rather than five, or three with --check.")
@click.option("--only", multiple=True, metavar="NAME", help="Only workloads whose names begin so; may be given again.")
@click.option("--output", type=click.Path(path_type=Path), help="Write the results there as JSON.")
@click.option("--page", "as_page", is_flag=True, help="Write docs/performance.md out of the results that it shows.")
def main(*, check: bool, rounds: int | None, only: Sequence[str], output: Path | None, as_page: bool) -> None:
    """Measure moorage beside CNCF distribution over MinIO."""
    if as_page:
        page.write()
        return
    scale = QUICK if check else FULL
    scale = replace(scale, rounds=rounds or scale.rounds)
    chosen = [each for each in WORKLOADS if _is_wanted(each, check=check, only=only)]
    machine, measured = this_machine(), list[Measured]()
    for workload in chosen:
        began = time.monotonic()
        measured.append(measure(workload, scale))
        click.echo(f"{line(measured[-1])}  [{time.monotonic() - began:.0f} s]")
    versions = {name: tools.version(name) for name in ("minio", "registry", "crane", "wrk")}
    results = Results(today(), scale.name, scale.rounds, machine, versions, measured)
    if output:
        output.write_bytes(as_json(results))
    problems = worse(measured, SLACK) if check else []
    for problem in problems:
        click.echo(problem, err=True)
    sys.exit(bool(problems))


def _is_wanted(workload: Workload, *, check: bool, only: Sequence[str]) -> bool:
    if check and workload.name not in CHECKED:
        return False
    return not only or workload.name.startswith(tuple(only))


if __name__ == "__main__":
    main()
