"""Scrapes of a gateway, read by the parser of Prometheus's own library."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Scrape:
    """What a scrape said: types by name, texts by name, and values by name of the sample and labels."""

    text: str
    types: Mapping[str, str]
    texts: Mapping[str, str]
    values: Mapping[tuple[str, frozenset[tuple[str, str]]], float]

    def value(self, name: str, **labels: str) -> float:
        """One value, 0 if there is none yet."""
        return self.values.get((name, frozenset(labels.items())), 0.0)

    def total(self, name: str, **labels: str) -> float:
        """The sum of all values of that name that have these labels among theirs."""
        wanted = labels.items()
        return sum(value for (found, having), value in self.values.items() if found == name and wanted <= having)

    def counters(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """All that MUST never go backwards."""
        kinds = {"counter", "histogram"}
        growing = {name for name, kind in self.types.items() if kind in kinds}
        return {key: value for key, value in self.values.items() if _family(key[0]) in growing}

    def label_values(self, label: str) -> set[str]:
        """All values of a label."""
        return {value for _, labels in self.values for name, value in labels if name == label}


def scrape(url: str) -> Scrape:
    """A scrape of the gateway at `url`, on a connection of its own."""
    answer = httpx.get(f"{url}/metrics", trust_env=False, timeout=60)
    assert answer.status_code == httpx.codes.OK, answer.text
    assert answer.headers["content-type"] == CONTENT_TYPE
    return parsed(answer.text)


def parsed(text: str) -> Scrape:
    """A scrape out of its text."""
    families = list(text_string_to_metric_families(text))
    names = {family.name: f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    values = {(sample.name, frozenset(sample.labels.items())): sample.value for f in families for sample in f.samples}
    assert len(values) == sum(len(family.samples) for family in families), "a sample is there twice"
    return Scrape(
        text,
        {names[family.name]: family.type for family in families},
        {names[family.name]: family.documentation for family in families},
        values,
    )


def _family(sample: str) -> str:
    for suffix in ("_bucket", "_sum", "_count"):
        sample = sample.removesuffix(suffix)
    return sample


def differences(
    before: Mapping[tuple[str, frozenset[tuple[str, str]]], float],
    after: Mapping[tuple[str, frozenset[tuple[str, str]]], float],
) -> Iterator[str]:
    """What went backwards, or away."""
    for key, value in before.items():
        if after.get(key, -1.0) < value:
            yield f"{key}: {value} became {after.get(key)}"
