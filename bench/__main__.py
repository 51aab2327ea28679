"""The command of scripts/bench."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
import msgspec

from bench import page
from bench.check import check as checked
from bench.check import checks, too_much
from bench.growth import grown
from bench.limits import limits
from bench.machine import this_machine, today
from bench.results import Measured, Results, as_json
from bench.running import FULL, QUICK, Scale, Workload, measure
from bench.scaling import scaled
from bench.tables import line
from bench.workloads import WORKLOADS
from tests.parts import tools


@click.command()
@click.option("--check", is_flag=True, help="A few minutes; fail if CPU an operation is a quarter above a target.")
@click.option("--rounds", type=click.IntRange(min=1), help="Rounds, rather than five.")
@click.option(
    "--only", multiple=True, metavar="NAME", help="Only this workload, or all of this number; may be given again."
)
@click.option("--output", type=click.Path(path_type=Path), help="Write the results there as JSON.")
@click.option("--page", "as_page", is_flag=True, help="Write docs/performance.md out of the results that it shows.")
def main(*, check: bool, rounds: int | None, only: Sequence[str], output: Path | None, as_page: bool) -> None:
    """Measure moorage beside CNCF distribution over MinIO."""
    if as_page:
        page.write()
        return
    scale = replace(QUICK if check else FULL, rounds=rounds or (QUICK if check else FULL).rounds)
    run, problems = Run(scale, output), list[str]()
    for workload in _chosen(only, check=check):
        if check:
            measured = checked(workload, scale, _tell)
            problems += too_much(measured, workload.target.bearable)
        else:
            measured = measure(workload, scale)
            _tell(measured)
        run.add(workloads=[*run.results.workloads, measured])
    if not check and not only:
        run.add(limits=limits(scale))
        run.add(scaling=scaled(scale))
        run.add(growth=grown())
    for problem in problems:
        click.echo(problem, err=True)
    sys.exit(bool(problems))


class Run:
    """What was measured so far, on disk too, for a run takes long."""

    def __init__(self, scale: Scale, output: Path | None) -> None:
        versions = {name: tools.version(name) for name in ("minio", "registry", "crane", "wrk")}
        self.results = Results(today(), scale.name, scale.rounds, this_machine(), versions, [])
        self._output = output

    def add(self, **fields: object) -> None:
        """Take more results in."""
        self.results = msgspec.structs.replace(self.results, **fields)
        if self._output:
            self._output.write_bytes(as_json(self.results))


def _chosen(only: Sequence[str], *, check: bool) -> list[Workload]:
    """The workloads to run."""
    chosen = checks() if check else WORKLOADS
    wanted = [each for each in chosen if not only or {each.name, each.name.split()[0]} & set(only)]
    if not wanted:
        raise click.UsageError(
            f"--only: no workload is called {' or '.join(only)}; there are {', '.join(each.name for each in chosen)}"
        )
    return wanted


def _tell(measured: Measured) -> None:
    click.echo(line(measured))


if __name__ == "__main__":
    main()
