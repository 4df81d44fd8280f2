from repo.annotations.inspection import inspect
from repo.settings import DataSettings


def test_files_that_each_number_from_one_hold_as_many_comparisons_as_pairs(write, vote):
    files = [
        write(
            [vote(batch * 10 + n, who, comparison_id=n) for n in range(3) for who in ("ann", "bob")], f"{batch}.jsonl"
        )
        for batch in range(2)
    ]
    found = inspect(",".join(files), DataSettings())
    assert (found.annotations, found.annotators, found.comparisons) == (12, 2, 6)


def test_votes_of_nobody_are_counted_apart(write, vote):
    found = inspect(write([vote(1), vote(2, "bob"), vote(3, None), vote(4, "NULL")]), DataSettings())
    assert (found.annotators, found.nameless) == (2, 2)
    assert "4 annotations by 2 annotators on 4 comparisons, 0 ties, 2 without annotator" in found.one_line()
