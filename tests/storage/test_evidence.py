"""How many records are read together."""

from storage.evidence import BATCH, BATCH_BYTES, Batch, batches
from storage.objects.contract import ObjectInfo


def info(number: int, size: int = 1) -> ObjectInfo:
    """A record of so many bytes."""
    return ObjectInfo(f"key {number}", size, f'"{number}"', 0.0)


def test_a_batch_is_full_by_number() -> None:
    """It says so with the last one that it should have, and has none once they were taken."""
    batch = Batch()
    infos = [info(number) for number in range(BATCH)]
    assert [batch.add(each) for each in infos] == [False] * (BATCH - 1) + [True]
    assert batch.taken() == infos
    assert batch.taken() == []
    assert not batch.add(info(0))


def test_a_batch_is_full_by_bytes() -> None:
    """Bytes that were taken count no more."""
    batch = Batch()
    for _ in range(2):
        assert not batch.add(info(1, BATCH_BYTES - 1))
        assert batch.add(info(2))
        assert len(batch.taken()) == 2


def test_batches_have_all_records_in_order() -> None:
    """The last may be smaller, and there is none of nothing."""
    infos = [info(number) for number in range(2 * BATCH + 1)]
    found = list(batches(infos))
    assert [len(batch) for batch in found] == [BATCH, BATCH, 1]
    assert [each for batch in found for each in batch] == infos
    assert list(batches([])) == []
