"""Words of a command line are checked against the command's declaration."""

from pathlib import Path

import pytest

from iapt.cli import overrides
from iapt.cli.command import OWN_ENTRIES, Command, Key, Words, config_dirs
from iapt.cli.readers import boolean, number, one_of, or_null, some_of, whole
from iapt.configuration.catalog import CONFIG_DIR
from iapt.errors import ConfigError, DataError

COMMAND = Command(
    "iapt-toy",
    "NAME [NAME ...] [key=value ...]",
    "Play.",
    names={"red": "a colour", "blue": "another"},
    at_least=1,
    keys=[
        Key("n", "how many", 3, whole(1)),
        Key("price", "in euros", 0.5, or_null(number())),
        Key("loud", "say it loudly", False, boolean),
        Key("kind", "which", "a", one_of("a", "bee")),
        Key("beams", "some", ("1", "3"), some_of("1", "2", "3")),
        Key("out", "where to", None, shown="FOLDER"),
    ],
)


def test_words_become_names_and_typed_values() -> None:
    words = COMMAND.parse(["red", "n=5", "price=null", "loud=true", "beams=1,2", "blue", "red"])
    assert words.names == ("red", "blue")
    assert (words["n"], words["price"], words["loud"]) == (5, None, True)
    assert words["beams"] == ("1", "2")
    assert (words["kind"], words["out"]) == ("a", None)
    assert words.given == {"n", "price", "loud", "beams"}


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("True", True), ("TRUE", True), ("false", False), ("False", False)],
)
def test_truth_is_written_with_small_or_large_letters(text: str, value: bool) -> None:
    assert COMMAND.parse(["red", f"loud={text}"])["loud"] is value


@pytest.mark.parametrize(
    ("word", "wrong"),
    [
        ("n=0", "n=0: must be a whole number >= 1."),
        ("n=two", "n=two: must be a whole number >= 1."),
        ("n=1000000000", "n=1000000000: must be a whole number from 1 to 999,999,999."),
        ("n=0000000000010000000000000", "n=0000000000010000000000000: must be a whole number from 1"),
        ("n=", "n=: no value"),
        ("price=nan", "price=nan: must be a number >= 0."),
        ("loud=yes", "loud=yes: must be true or false."),
        ("loud=", "loud=: no value"),
        ("kind=be", "kind=be: must be one of a, bee. Did you mean 'bee'?"),
        ("beams=1,9", "beams=1,9: must be one of 1, 2, 3."),
        ("nn=1", "nn=1: unknown key 'nn'; allowed are n, price, loud, kind, beams, out. Did you mean 'n'?"),
        ("bluw", "'bluw': unknown name; allowed are red, blue. Did you mean 'blue'?"),
        ("--wild", "--wild: no such flag; iapt-toy --help"),
    ],
)  # fmt: skip
def test_a_wrong_word_is_named_with_what_is_allowed(word: str, wrong: str) -> None:
    with pytest.raises(ConfigError) as error:
        COMMAND.parse(["red", word])
    assert wrong in str(error.value)


def test_texts_may_come_twice() -> None:
    command = Command("iapt-toy", "TEXT ...", "Say.", at_least=1)
    assert command.parse(["a", "b", "a"]).names == ("a", "b", "a")


def test_the_folder_of_the_packages_own_entries_adds_nothing(tmp_path: Path) -> None:
    words = [
        "--config-dir",
        str(CONFIG_DIR),
        f"--config-dir={tmp_path}",
        "-cd",
        str(tmp_path),
        "a=1",
    ]
    assert config_dirs(words) == ([tmp_path.resolve()], ["a=1"])


def test_a_key_given_twice_and_a_missing_name_are_errors() -> None:
    with pytest.raises(ConfigError, match="n: given twice"):
        COMMAND.parse(["red", "n=1", "n=2"])
    with pytest.raises(ConfigError, match="nothing: iapt-toy takes NAME"):
        COMMAND.parse(["n=1"])


def test_free_words_may_hold_an_equals_sign() -> None:
    command = Command(
        "iapt-toy", "TEXT", "Say.", at_least=1, keys=[Key("n", "how many", 1, whole())]
    )
    assert command.parse(["1 + 1 = 2", "n=4"]).names == ("1 + 1 = 2",)
    with pytest.raises(ConfigError, match="unknown key 'm'"):
        command.parse(["a", "m=4"])


def test_a_name_written_as_a_key_is_told_how_to_write_it() -> None:
    command = Command("iapt-toy merge", "RUN OUT", "Merge.", at_least=2, at_most=2)
    with pytest.raises(
        ConfigError, match=r"out=x: .* Write the value alone: iapt-toy merge RUN OUT\."
    ):
        command.parse(["run", "out=x"])


def test_help_version_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    def run(words: Words) -> None:
        if words["loud"]:
            raise DataError("no such row")
        print("played", words.names)

    assert COMMAND.main(run, []) == 0
    page = capsys.readouterr().out
    assert "Usage: iapt-toy NAME" in page
    assert "beams=1,3" in page
    assert "out=FOLDER" in page
    assert COMMAND.main(run, ["--version"]) == 0
    assert capsys.readouterr().out.startswith("iapt-toy 0.")
    assert COMMAND.main(run, ["red"]) == 0
    assert COMMAND.main(run, ["red", "loud=true"]) == 1
    assert COMMAND.main(run, ["green"]) == 2
    assert "error: no such row" in capsys.readouterr().err


def test_folders_and_plugins_of_the_users_own_become_words_of_iapt_train(tmp_path: Path) -> None:
    command = Command(
        "iapt-toy", "", "Play.", keys=[Key("n", "how many", 1, whole()), *OWN_ENTRIES]
    )
    words = command.parse(["--config-dir", str(tmp_path), "plugins=a,b", "n=2"])
    assert words.folders == (tmp_path.resolve(),)
    given = [f"--config-dir={tmp_path.resolve()}", "plugins=a,b"]
    assert words.overrides("task=boolq") == [*given, "task=boolq"]
    assert command.parse([]).overrides("task=boolq") == ["task=boolq"]
    assert "--config-dir=FOLDER" in command.help()
    with pytest.raises(ConfigError, match="--config-dir: no folder; write --config-dir DIR"):
        command.parse(["--config-dir"])


@pytest.mark.parametrize(
    ("text", "modules"),
    [
        ("a,b", ("a", "b")),
        ("[a,b]", ("a", "b")),
        ("['a', \"b.py\"]", ("a", "b.py")),
        ("[my dir/a.py]", ("my dir/a.py",)),
        ("null", ()),
        ("[]", ()),
        ("a,", ("a", "")),  # which no module is called
    ],
)
def test_plugins_are_read_alike_by_every_command(
    text: str, modules: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(overrides, "plugin_files", lambda names, _: asked.append(tuple(names)))
    overrides.prepare([f"plugins={text}"])
    command = Command("iapt-toy", "", "Play.", keys=OWN_ENTRIES)
    assert [command.parse([f"plugins={text}"])["plugins"]] == asked == [modules]


def test_a_command_may_pass_on_the_words_that_it_does_not_know() -> None:
    command = Command(
        "iapt-toy", "", "Play.", keys=[Key("n", "how many", 1, whole())], takes_others=True
    )
    words = command.parse(["task=boolq", "n=2", "--config-dir", "here"])
    assert (words["n"], words.overrides()) == (2, ["task=boolq", "--config-dir", "here"])
