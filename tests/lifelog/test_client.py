from lifelog.client import ENTRIES_A_REQUEST, TEXT_BYTES_A_REQUEST, _batches
from lifelog.folder import Draft


def drafts(count: int, text: str) -> list[Draft]:
    return [Draft(kind="story", title=str(number), text=text) for number in range(count)]


def test_a_life_is_sent_in_requests_that_the_server_takes() -> None:
    three_bytes_each = drafts(20, "港" * 100_000)
    batches = list(_batches(three_bytes_each))

    assert [one for batch in batches for one in batch] == three_bytes_each
    sizes = [sum(len(one.text.encode()) for one in batch) for batch in batches]
    assert max(sizes) <= TEXT_BYTES_A_REQUEST


def test_short_entries_fill_a_request() -> None:
    assert [len(batch) for batch in _batches(drafts(2 * ENTRIES_A_REQUEST + 1, "x"))] == [
        ENTRIES_A_REQUEST,
        ENTRIES_A_REQUEST,
        1,
    ]
