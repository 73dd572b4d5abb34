"""What every task gets from `RowTask`: errors, sizes, reports."""

import pytest

from iapt.data.source import Sample
from iapt.errors import ConfigError, DataError
from iapt.tasks.classification import Classification
from iapt.tasks.row_task import check_lengths, field_text


class Rows:
    """A source in memory."""

    name = "rows"

    def __init__(self, **splits):
        self.splits = splits

    def rows(self, dataset, split):
        if split not in self.splits:
            raise DataError(f"no {split}")
        return self.splits[split]

    def fingerprint(self, dataset):
        return "0" * 16

    def at(self, folder):
        return self

    def place(self, dataset, split, row):
        return f"{dataset}/{split}.jsonl, line {row + 1}"


class Released(Rows):
    """The same, as a source that fetches."""

    def available(self, dataset):
        return True

    def fetch(self, dataset, release):
        self.release = release


def labelled(n, label=1):
    return [{"text": f"row {i}", "label": label} for i in range(n)]


def make(**overrides):
    values = {
        "name": "tiny",
        "dataset": "tiny",
        "template": "{text}?",
        "fields": {"text": "text"},
        "labels": ["no", "yes"],
        "split": {"rule": "halve_validation"},
        "sizes": {"train": 4, "validation": 6},
        "max_new_tokens": 4,
    }
    return Classification(**{**values, **overrides})


def test_rows_become_examples_with_stable_ids():
    examples = make().examples("train", Rows(train=labelled(4)))
    assert [e.id for e in examples] == [f"tiny/train/{i}" for i in range(4)]
    assert examples[2].fields == {"text": "row 2"}
    assert examples[2].response == "yes"


def test_sizes_are_asserted_for_fetched_data_and_only_reported_for_a_folder():
    rows = {"train": labelled(4), "validation": labelled(5)}
    task = make(release={"kind": "hub"})
    assert len(task.examples("dev", Rows(**rows))) == 2
    for wrong in (5, 7):
        source = Released(train=labelled(4), validation=labelled(wrong))
        said = f"tiny/validation from 'rows' has {wrong} rows, but the release has 6"
        with pytest.raises(DataError, match=said):
            task.examples("dev", source)
        assert source.release == {"kind": "hub"}
    report = task.split_report(Rows(**rows))
    assert report["dev"] == {
        "from": "validation",
        "rows": 2,
        "official_rows": 5,
        "released_rows": 6,
    }
    assert report["rule"] == "halve_validation"


def test_unlabelled_rows_are_refused_for_training_and_scoring():
    task, source = make(), Rows(train=labelled(3) + labelled(1, label=-1))
    with pytest.raises(
        DataError, match=r"1 of 4 rows for tiny/train have no gold .*train.jsonl, line 4"
    ):
        task.examples("train", source)
    example = task.example({"text": "a", "label": -1}, "tiny/test/0")
    with pytest.raises(DataError, match="have no gold answer and cannot be scored"):
        task.score(["yes"], [example])


def test_a_split_that_comes_out_empty_is_an_error():
    with pytest.raises(DataError, match=r"tiny/dev is empty: .* has 1 rows, .* at least 2 for one"):
        make().examples("dev", Rows(validation=labelled(1)))
    task = make(split={"rule": "hold_out", "rows": 4}, sizes={})
    with pytest.raises(DataError, match=r"has 9 rows, and hold_out needs at least 10 for one row"):
        task.examples("dev", Rows(train=labelled(9)))
    assert len(task.examples("dev", Rows(train=labelled(10)))) == 1


def test_a_missing_split_is_reported_and_raised():
    task, source = make(), Rows(train=labelled(4))
    assert task.split_report(source)["test"] == {"missing": "no validation"}
    with pytest.raises(DataError, match="no validation"):
        task.examples("test", source)
    with pytest.raises(ConfigError, match=r"split='tets'.*Did you mean 'test'"):
        task.examples("tets", source)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"max_new_tokens": 0}, "task.max_new_tokens=0"),
        ({"num_beams": 0}, "task.num_beams=0"),
        ({"template": "{txet}"}, r"asks for \{txet\}; the fields are text. Did you mean 'text'"),
        ({"template": "nothing"}, r"has no \{field\}"),
        ({"cluster": "txet"}, r"task.cluster='txet' .* one of its fields, text, or null.*Did you"),
    ],
)
def test_a_wrong_setting_is_found_at_construction(overrides, message):
    with pytest.raises(ConfigError, match=message):
        make(**overrides)


def test_a_missing_field_names_the_row_and_the_nearest_field():
    with pytest.raises(DataError, match=r"a/0: field 'passge' is missing.*Did you mean 'passage'"):
        field_text({"passage": "x"}, "passge", "a/0")
    for value, kind in ((["x"], "list"), ({"x": 1}, "dict")):
        with pytest.raises(DataError, match=f"is a {kind}, not text"):
            field_text({"passage": value}, "passage", "a/0")
    assert field_text({"n": 3}, "n", "a/0") == "3"
    assert field_text({"s": " a b \n"}, "s", "a/0") == "a b"


def test_a_bad_row_is_named_by_file_and_line():
    source = Rows(train=[*labelled(2), {"text": None, "label": 1}])
    with pytest.raises(
        DataError,
        match=r"tiny/train.jsonl, line 3: .*field 'text' is missing. The row has: label\.$",
    ):
        make().examples("train", source)
    source = Rows(train=[*labelled(1), {"text": "a", "label": 2}])
    with pytest.raises(DataError, match=r"train.jsonl, line 2: .*field 'label' is 2; allowed are"):
        make().examples("train", source)


def test_a_row_with_nothing_to_ask_is_named_by_file_and_line():
    task = make(template="{a} {b}", fields={"a": "a", "b": "b"})
    rows = [{"a": "", "b": "x", "label": 1}, {"a": " ", "b": "", "label": 1}]
    message = r"train.jsonl, line 2: .*every field of the prompt \(a, b\) is empty"
    with pytest.raises(DataError, match=message):
        task.examples("train", Rows(train=rows))
    assert len(task.examples("train", Rows(train=rows[:1]))) == 1


def test_an_example_knows_its_file_and_line():
    source = Rows(train=[{"text": "a", "label": 1}] * 3)
    task = make()
    assert task.place(task.examples("train", source)[2], source).endswith("train.jsonl, line 3")


def test_sizes_of_the_released_splits_follow_from_the_rule_without_data():
    assert make().released_sizes() == {"train": 4, "dev": 3, "test": 3}
    held = {"rule": "hold_out", "rows": 1, "test": "test"}
    assert make(split=held).released_sizes() == {"train": 3, "dev": 1}


def test_nothing_is_scored_without_one_answer_per_example():
    with pytest.raises(DataError, match="0 answers for 0 examples"):
        check_lengths([], [], "tiny")
    with pytest.raises(DataError, match="2 answers for 1 examples"):
        check_lengths(["a", "b"], make().examples("train", Rows(train=labelled(1))), "tiny")


def test_the_fingerprint_is_the_sources_own():
    assert make(dataset="boolq").fingerprint(Sample()) == Sample().fingerprint("boolq")


def test_a_folder_gives_dev_a_tenth_and_released_data_the_papers_number():
    task = make(split={"rule": "hold_out", "rows": 15}, sizes={"train": 30})
    rows = {"train": labelled(30)}
    assert len(task.examples("dev", Rows(**rows))) == 3
    assert len(task.examples("dev", Released(**rows))) == 15
    assert len(task.examples("train", Released(**rows))) == 15
    assert task.released_sizes() == {"train": 15, "dev": 15}


def test_examples_that_agree_in_the_clusters_field_depend_on_each_other():
    task = make(cluster="text")
    one, other = ({"text": text, "label": 1} for text in ("a", "b"))
    found = [task.cluster_of(task.example(row, "x/train/0")) for row in (one, other, one)]
    assert found[0] == found[2] != found[1]
    assert None not in found
    assert make().cluster_of(make().example(one, "x/train/0")) is None
    task.cluster = "txet"  # as a class of the user's may have it, whose fields only its rows tell
    with pytest.raises(DataError, match=r"task\.cluster='txet' is no field.*Did you mean 'text'"):
        task.examples("train", Rows(train=[one]))
