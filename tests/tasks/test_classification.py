"""Labels to words and words to labels."""

import pytest

from iapt.data.source import Sample
from iapt.errors import ConfigError, DataError
from iapt.tasks.classification import Classification


@pytest.fixture
def boolq(task_of):
    return task_of("boolq")


@pytest.fixture
def rte(task_of):
    return task_of("rte")


@pytest.mark.parametrize(
    ("name", "row", "response"),
    [
        ("boolq", {"question": "is it", "passage": "p", "label": 1}, "yes"),
        ("boolq", {"question": "is it", "passage": "p", "label": 0}, "no"),
        ("sst2", {"sentence": "good ", "label": 1}, "positive"),
        ("sst2", {"sentence": "bad ", "label": 0}, "negative"),
        ("rte", {"sentence1": "a", "sentence2": "b", "label": 0}, "entailment"),
        ("rte", {"sentence1": "a", "sentence2": "b", "label": 1}, "not entailment"),
        ("qnli", {"question": "a", "sentence": "b", "label": 1}, "not entailment"),
        (
            "copa",
            {"premise": "p", "choice1": "a", "choice2": "b", "question": "cause", "label": 0},
            "1",
        ),
        (
            "copa",
            {"premise": "p", "choice1": "a", "choice2": "b", "question": "cause", "label": 1},
            "2",
        ),
    ],
)
def test_label_values_become_the_words_of_appendix_d(name, row, response, task_of):
    assert task_of(name).example(row, "x/0").response == response


def test_qnli_puts_the_question_first_and_the_sentence_second(task_of):
    example = task_of("qnli").example({"question": "Q?", "sentence": "S.", "label": 0}, "x/0")
    assert example.fields == {"sentence1": "Q?", "sentence2": "S."}


@pytest.mark.parametrize(
    ("output", "parsed"),
    [
        ("yes", "yes"),
        (" Yes.\n", "yes"),
        ("\n\nNO", "no"),
        ("yes, it is", "yes"),
        ("no\nyes", "no"),
        ("nothing", None),
        ("yesterday", None),
        ("maybe yes", None),
        ("", None),
        ("   ", None),
    ],
)
def test_boolq_answers_are_read_from_the_first_line(output, parsed, boolq):
    assert boolq.parse(output, None) == parsed


@pytest.mark.parametrize(
    ("output", "parsed"),
    [
        ("entailment", "entailment"),
        ("not entailment", "not entailment"),
        ("Not entailment.", "not entailment"),
        ("not_entailment", "not entailment"),
        ("not", None),
        ("not sure, entailment", None),
        ("entailments", None),
        ("entailment, not neutral", "entailment"),
    ],
)
def test_not_entailment_is_never_read_as_entailment(output, parsed, rte):
    assert rte.parse(output, None) == parsed


def test_copa_12_is_neither_1_nor_2(task_of):
    copa = task_of("copa")
    assert [copa.parse(text, None) for text in ("1", "2.", "12")] == ["1", "2", None]


def test_accuracy_counts_unparsed_as_wrong_and_shows_each_labels_recall(boolq):
    examples = boolq.examples("test", Sample())
    yes = [i for i, e in enumerate(examples) if e.response == "yes"]
    scores = boolq.score(["yes" if i in yes else None for i in range(len(examples))], examples)
    assert scores.value == pytest.approx(100 * len(yes) / len(examples))
    assert scores.n_unparsed == len(examples) - len(yes)
    assert scores.details == {"recall_no": 0.0, "recall_yes": 100.0}


@pytest.mark.parametrize("label", [2, -2, True, "1", None, 0.0])
def test_a_label_that_is_none_of_the_values_is_refused(label, boolq):
    with pytest.raises(DataError, match=r"x/0: field 'label' is .*allowed are 0-1 \(no, yes\)"):
        boolq.example({"question": "q", "passage": "p", "label": label}, "x/0")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("[yes,Yes]", "'yes' and 'Yes' are the same in an answer, where case"),
        ("[A+,A-,A]", "'A-' and 'A' are the same in an answer, .*hyphens"),
        ("[yes,'**']", r"'\*\*' has nothing that an answer is searched for"),
        ("[yes]", "at least two words are needed"),
    ],
)
def test_labels_that_an_answer_cannot_tell_apart_are_refused(labels, message, task_of):
    with pytest.raises(Exception, match=message) as caught:
        task_of("boolq", f"labels={labels}")
    assert isinstance(caught.value.__cause__ or caught.value, ConfigError)


@pytest.mark.parametrize(
    ("output", "parsed"),
    [
        ('"yes"', "yes"),
        ("'no'", "no"),
        ("“Yes.”", "yes"),
        ("**No**", "no"),
        ("`yes`", "yes"),
        ("# Yes", "yes"),
        ("(yes)", "yes"),
        ("[no]", "no"),
        ("yes</s>", "yes"),
        ("<s> yes </s>", "yes"),
        ("The answer is yes.", "yes"),
        ("the answer is: **No**", "no"),
        ("The correct answer is no", "no"),
        ("So the answer is yes", "yes"),
        ("My final answer: yes", "yes"),
        ("Answer: no", "no"),
        ("Answer:yes", "yes"),
        ("Yes, yes!", "yes"),
        ("Yes, there is nothing to add", "yes"),
        # two labels, or none where an answer stands
        ("yes or no?", None),
        ("yes/no", None),
        ("Yes. No.", None),
        ("The answer is yes, not no", None),
        ("The answer", None),
        ("The answer is not yes", None),
        ("The question is: yes", None),
        ("I say yes", None),
        ("yes_man", "yes"),
        ("yesno", None),
        ('""', None),
    ],
)
def test_an_answer_may_be_dressed_up_but_names_one_label(output, parsed, boolq):
    assert boolq.parse(output, None) == parsed


@pytest.mark.parametrize(
    ("task", "output", "parsed"),
    [
        ("rte", "not  entailment", "not entailment"),
        ("rte", "not-entailment", "not entailment"),
        ("rte", "**Not_Entailment**", "not entailment"),
        ("rte", "The answer is entailment", "entailment"),
        ("rte", "entailment or not entailment", None),
        ("rte", "entailment or not?", None),
        ("qnli", "'entailment'.", "entailment"),
        ("sst2", "positive or negative", None),
        ("sst2", "Positive sentiment", "positive"),
        ("sst2", "not positive", None),
        ("copa", "1 or 2", None),
        ("copa", "The answer is 2.", "2"),
        ("copa", '"1"', "1"),
        ("copa", "1.5", None),
    ],
)
def test_the_same_rule_reads_every_task(task, output, parsed, task_of):
    assert task_of(task).parse(output, None) == parsed


@pytest.mark.parametrize(
    ("task", "output", "parsed"),
    [
        ("boolq", "True", "yes"),
        ("boolq", "The answer is **false**.", "no"),
        ("boolq", "True, yes", "yes"),
        ("boolq", "No, that is not true", "no"),
        ("boolq", "True or false?", None),
        ("boolq", "true/false", None),
        ("boolq", "True, not false", None),
        ("boolq", "True. No.", None),
        ("boolq", "truely", None),
        ("copa", "choice2", "2"),
        ("copa", "Choice 1: the man fell", "1"),
        ("copa", "choice_2", "2"),
        ("copa", "choice 1 or choice 2", None),
        ("copa", "choice 2, not 1", None),
        ("copa", "choice 12", None),
        ("rte", "True", None),
        ("sst2", "True", None),
    ],
)
def test_the_data_sets_own_names_of_its_labels_count_too(task, output, parsed, task_of):
    assert task_of(task).parse(output, None) == parsed


@pytest.mark.parametrize(
    ("also", "message"),
    [
        ("[[True]]", "needs a list of names for each of the 2 labels"),
        ("[[wrong],[Wrong]]", "'wrong' and 'Wrong' are the same"),
        ("[[yes],[right]]", "'yes' and 'yes' are the same"),
        ("[['**'],[right]]", "has nothing that an answer"),
    ],
)
def test_names_that_do_not_tell_labels_apart_are_refused(also, message, task_of):
    with pytest.raises(Exception, match=message) as caught:
        task_of("boolq", f"task.also={also}".removeprefix("task."))
    assert isinstance(caught.value.__cause__ or caught.value, ConfigError)


@pytest.mark.parametrize("labels", [["new york", "new"], ["new", "new york"]])
def test_the_longest_label_wins_where_one_begins_with_another(labels):
    task = Classification(
        name="toy",
        dataset="toy",
        template="{text}",
        fields={"text": "text"},
        labels=labels,
        split={"rule": "official"},
        max_new_tokens=4,
    )
    assert [task.parse(text, None) for text in ("New York!", "new yorkers")] == ["new york", "new"]
