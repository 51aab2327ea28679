"""docs/performance.md says what its results say."""

import pytest

from bench import page


@pytest.mark.parametrize("path", page.files(), ids=lambda path: path.name)
def test_the_page_follows_from_the_results(path: object) -> None:
    """The page and its charts MUST be what `scripts/bench --page` writes for the results beside them."""
    files = {str(each): content for each, content in page.files().items()}
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
