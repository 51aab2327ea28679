"""The judgement of the suite's results, on results that were doctored."""

from pathlib import Path

import pytest

from tests.conformance.results import APIS, DATA, SPARSE, complaints, read_results

PRINTED = """\
Test results
OCI Conformance Test: Pass

OCI Conformance Result: Pass
  Disabled......................:          0
  Skip..........................:          0
  Pass..........................:        986
  FAIL..........................:          0
  Error.........................:          0
  Total.........................:        986

API conformance:
"""


def perfect() -> str:
    """A results.yaml as a perfect run writes it, with made-up names."""
    apis = [f"  Api {index}: Pass" for index in range(APIS)]
    data = [f"  Data {index}: Pass" for index in range(DATA - 1)]
    return "\n".join(["config:", "  tls: disabled", "apis:", *apis, "data:", *data, f"  {SPARSE}: Disabled", ""])


def judge(tmp_path: Path, printed: str, text: str, *, sparse: bool = False) -> list[str]:
    """The complaints about these results."""
    (tmp_path / "results.yaml").write_text(text)
    return complaints(read_results(printed, tmp_path / "results.yaml"), passed=986, sparse=sparse)


def test_a_perfect_run_has_no_complaints(tmp_path: Path) -> None:
    """Where all passed there is nothing to say."""
    assert judge(tmp_path, PRINTED, perfect()) == []


@pytest.mark.parametrize("status", ["Skip", "FAIL", "Error", "Disabled"])
@pytest.mark.parametrize("name", ["Api 3", "Data 5"])
def test_another_status_is_a_complaint(name: str, status: str, tmp_path: Path) -> None:
    """One API or kind of data that did not pass is found, though every count and the verdict say that all is well."""
    assert judge(tmp_path, PRINTED, perfect().replace(f"{name}: Pass", f"{name}: {status}")) == [f"{name} is {status}."]


@pytest.mark.parametrize("status", ["Skip", "FAIL", "Error", "Disabled"])
def test_a_count_is_a_complaint(status: str, tmp_path: Path) -> None:
    """One test that was not passed is found, though the verdict is Pass: skipped tests do not change that."""
    printed = PRINTED.replace(f"{f'{status}':.<30}:          0", f"{f'{status}':.<30}:          1")
    assert judge(tmp_path, printed, perfect()) == [f"1 tests are {status}, not 0."]


def test_missing_tests_are_a_complaint(tmp_path: Path) -> None:
    """Fewer passed tests than there are is found: a suite that was filtered proves nothing."""
    assert judge(tmp_path, PRINTED.replace("986", "12"), perfect())


def test_a_missing_line_is_a_complaint(tmp_path: Path) -> None:
    """An API or kind of data that is not reported on did not pass."""
    assert judge(tmp_path, PRINTED, perfect().replace("  Api 3: Pass\n", ""))
    assert judge(tmp_path, PRINTED, perfect().replace("  Data 5: Pass\n", ""))


def test_the_verdict_counts(tmp_path: Path) -> None:
    """A verdict other than Pass is a complaint, and a run without one an error: a bad configuration exits 0."""
    assert judge(tmp_path, PRINTED.replace("Result: Pass", "Result: FAIL"), perfect()) == ["The result is FAIL."]
    with pytest.raises(AssertionError, match="did not run to its end"):
        judge(tmp_path, "failed to load config: no such file", perfect())


def test_sparse_manifests_may_be_disabled_only_where_they_are(tmp_path: Path) -> None:
    """Sparse manifests must pass where the suite was told to test them."""
    assert judge(tmp_path, PRINTED, perfect(), sparse=True) == [f"{SPARSE} is Disabled."]
