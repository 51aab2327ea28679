"""docs/performance.md says what its results say."""

import msgspec
import pytest

from bench import page
from bench.results import EMBEDDED, Grown


@pytest.mark.parametrize("path", page.files(page.kept()), ids=lambda path: path.name)
def test_the_page_follows_from_the_results(path: object) -> None:
    """The page and its charts MUST be what `scripts/bench --page` writes for the results beside them."""
    files = {str(each): content for each, content in page.files(page.kept()).items()}
    with open(str(path), encoding="utf-8") as kept:  # noqa: PTH123 - as the parameter's name
        assert kept.read() == files[str(path)]


def test_the_page_tells_where_and_when() -> None:
    """Figures mean nothing without the date, the machine and the versions."""
    results = page.kept()
    text = page.generated(results)
    for told in (
        results.date,
        results.machine.processor,
        *(version.rpartition("@")[2] for version in results.versions.values()),
    ):
        assert told in text
    for each in results.workloads:
        assert f"| {each.name}: {each.title} |" in text or f"| {each.name} |" in text


def test_growth_tells_the_store() -> None:
    """What was measured over MinIO MUST be told from the rest, in the table and in the chart; results that name no store are of the embedded one."""
    results = page.kept()
    old = [each for each in results.growth if each.store == EMBEDDED]
    over_minio = [msgspec.structs.replace(each, store="MinIO", blobs=7_000) for each in old[:1]]
    before, after = [
        {path.name: content for path, content in page.files(msgspec.structs.replace(results, growth=growth)).items()}
        for growth in (old, [*old, *over_minio])
    ]
    assert f"| {old[0].operation} | embedded |" in before["performance.md"]
    assert f"| {old[0].operation} | MinIO | 7,000 |" in after["performance.md"]
    assert "over MinIO" not in before["growth.svg"]
    assert "dashed: over MinIO" in after["growth.svg"]
    assert before["growth.svg"].count("stroke-dasharray") == 0
    assert after["growth.svg"].count("stroke-dasharray") == 1
    given = msgspec.to_builtins(old[0])
    del given["store"]
    assert msgspec.convert(given, Grown) == old[0]
