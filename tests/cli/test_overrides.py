"""Words of a command line: flags taken out, folders and files from outside known, mistakes named."""

import os
from pathlib import Path

import pytest

from iapt.cli.command import config_dirs
from iapt.cli.composing import check_keys, composed, from_words, grid_of
from iapt.cli.hydra_command import flags_and_words
from iapt.cli.launchers import needs
from iapt.cli.overrides import (
    entry_or_file,
    groups,
    plugin_files,
    prepare,
    quoted,
    refuse_grid,
    summary,
)
from iapt.configuration.catalog import entry
from iapt.configuration.plugins import Plugins
from iapt.errors import ConfigError, DataError

METHOD = "# Mine.\n_target_: my_methods.Mine\nrank: 3\n"


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of entries, and an empty working folder beside it."""
    folder = tmp_path / "my entries"
    for name, text in {
        "method/mine.yaml": METHOD,
        "method/mine_big.yaml": "defaults: [mine, _self_]\nrank: 30\ntuned: {lr: 0.01}\n",
        "task/mine.yaml": "# My task.\n_target_: iapt.tasks.custom.Custom\n",
        "variant/mine_2.yaml": "# @package _global_\n# Half.\nvariant: mine_2\nmethod: {rank: 1}\n",
        "rows/note.txt": "",
        "my_methods.py": "",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return folder


def test_a_description_is_whole_sentences():
    assert summary("data", "hub").endswith("offline, a missing one is an error.")
    assert summary("data", "hub").startswith("The released data sets, at the revisions pinned")
    for group, entries in groups().items():
        for name in entries:
            said = summary(group, name)
            assert said.endswith(".") or (group, name) == ("variant", "none"), (group, name, said)


def test_entries_from_outside_stand_beside_ours(outside: Path):
    found = groups([outside])
    assert {"mine", "mine_big", "lora"} <= set(found["method"])
    assert set(found) == set(groups())
    assert summary("task", "mine", [outside]) == "My task."
    assert summary("variant", "mine_2", [outside]) == "Half."


def test_a_config_dir_is_taken_out_in_each_of_its_forms(outside: Path):
    for flag in (
        ["--config-dir", str(outside)],
        [f"--config-dir={outside}"],
        ["-cd", "../my entries"],
    ):
        assert config_dirs(["a=1", *flag, "b=2"]) == ([outside], ["a=1", "b=2"])
    with pytest.raises(ConfigError, match="--config-dir: no folder"):
        config_dirs(["a=1", "--config-dir"])


def test_an_entry_from_outside_is_composed_with_its_stem_and_the_papers_rates(outside: Path):
    words = ["--config-dir", str(outside), "plugins=my_methods", "method=mine", "task=mine"]
    config = from_words([*words, "method.rank=4", "rows=elsewhere"])
    assert config["method"] == {
        "name": "mine",
        "_target_": "my_methods.Mine",
        "rank": 4,
        "tuned": {"lr": 1e-4, "arch_lr": 1e-6, "lr_by_name": {}},
    }
    assert config["task"]["name"] == "mine"
    assert config["hparams"]["lr"] == 1e-4
    assert config["plugins"] == [str(outside / "my_methods.py")]
    assert config["rows"] == "elsewhere"  # also where the folder has a sub-folder of this name


def test_entries_from_outside_build_on_each_other_and_have_variants(outside: Path):
    words = ["--config-dir", str(outside), "method=mine_big", "variant=mine_2"]
    config = from_words(words)
    assert config["method"]["name"] == "mine_big"
    assert config["method"]["rank"] == 1
    assert (config["hparams"]["lr"], config["hparams"]["arch_lr"]) == (0.01, 1e-6)
    assert config["variant"] == "mine_2"


def test_a_file_is_an_entry(outside: Path):
    file = outside / "method" / "mine.yaml"
    assert prepare([f"method={file}"]) == ["method=mine"]
    assert from_words([f"method={file}"])["method"]["rank"] == 3
    (Path.cwd() / "other.yml").write_text("defaults: [lora, _self_]\nrank: 9\nname: mine\n")
    config = from_words(["method=other.yml"])
    assert config["method"]["_target_"] == "iapt.methods.lora.LoRA"
    assert (config["method"]["rank"], config["method"]["name"]) == (9, "mine")
    assert prepare([f"method=lora,{file}"]) == ["method=lora,mine"]


@pytest.mark.parametrize(
    "stem", ["nan", "123", "1e5", "null", "True", ".5", "-x", "my method", "töst", "it's", "a=b", "v1.2"]
)  # fmt: skip
def test_an_entry_may_have_any_name_whatever_it_means_to_yaml_or_hydra(stem: str, outside: Path):
    file = outside / "method" / f"{stem}.yaml"
    file.write_text("_target_: iapt.methods.lora.LoRA\nrank: 7\n")
    for words in (["--config-dir", str(outside), f"method={stem}"], [f"method={file}"]):
        method = from_words(words)["method"]
        assert (method["name"], method["rank"]) == (stem, 7)
    words = prepare(["--config-dir", str(outside), f"method=lora,{stem}"])
    assert [composed([word])["method"]["name"] for word in grid_of(words)["method"]] == [
        "lora",
        stem,
    ]


def test_a_file_that_is_no_entry_stops_only_those_who_choose_it(outside: Path):
    (outside / "method" / "broken.yaml").write_text("a: [")
    (outside / "task" / "._mine.yaml").write_bytes(bytes(range(256)))
    words = ["--config-dir", str(outside)]
    assert from_words([*words, "method=mine", "task=mine"])["method"]["rank"] == 3
    for chosen in ("method=broken", "method=mine,broken"):
        with pytest.raises(ConfigError, match=r"method=.*broken\.yaml: not YAML \(line 1"):
            prepare([*words, chosen])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["method=nothing.yaml"], r"method=nothing\.yaml: cannot be read"),
        (["method=bad.yaml"], r"method=bad\.yaml: not YAML .*line 1"),
        (["method=list.yaml"], r"method=list\.yaml: must contain key: value lines"),
        (["method=lora.yaml"], r"lora\.yaml: there is already a method 'lora'; rename the file"),
        (["method=./mine"], r"method=\./mine: there is no such method.*The name of a file ends in \.yaml"),
        (["--config-dir", "nothing"], r"--config-dir .*nothing: is not a folder with some of"),
        (["--config-dir", "."], r"--config-dir .*here: has none of the subfolders backbone, data"),
        (["--config-dir", "taken"], r"taken/task/boolq\.yaml: there is already a task 'boolq'"),
        (["plugins=my_method"], r"plugins=my_method: no such module in"),
        (["hydra.searchpath=[x]"], r"give further folders of entries with --config-dir"),
    ],
)  # fmt: skip
def test_a_mistake_about_something_outside_is_named(words: list[str], message: str, outside: Path):
    texts = {"bad.yaml": "a: [", "list.yaml": "- 1", "lora.yaml": "", "taken/task/boolq.yaml": ""}
    for name, text in texts.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        prepare(words)


ALIASES = "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
FAULTY = {
    "a number": ("5", "must contain key: value lines"),
    "a text": ("rank", "must contain key: value lines"),
    "a key twice": ("rank: 1\nrank: 2\n", r"not YAML \(line 2: found duplicate key rank\)"),
    "a tab": ("rank:\n\talpha: 1\n", r"not YAML \(line 2: found character"),
    "two documents": ("rank: 1\n---\nrank: 1\n", r"not YAML \(line 2: but found another"),
    "a tag of Python's": ("rank: !!python/object/apply:os.getcwd []", r"not YAML \(line 1: .*os\.getcwd"),
    "a number of thousands of digits": (f"rank: {'9' * 5000}", "Exceeds the limit"),
    "a set": ("rank: !!set {a, b}", "rank: Value 'set' is not a supported primitive type"),
    "half an interpolation": ("rank: '${'", r"rank: no viable alternative"),
    "no key": ("null: 1", "Incompatible key type 'NoneType'"),
    "endless nesting": ("[" * 3000, "is nested without end"),
    "aliases of aliases": (f"a0: &a0 [x]\n{ALIASES}", "more values than an entry can have"),
    "a large file": ("#" * 200_000, "200,000 bytes of at most 100,000"),
    "a list for a default": ("defaults: [[a]]", "Unsupported type in defaults"),
    "a number of defaults": ("defaults: 5", "defaults must be a list"),
    "defaults in a circle": ("defaults: [mine]", "defaults lead back to themselves"),
    "another default": ("defaults: [nothing]", "In 'method/mine': Could not load 'method/nothing'"),
    "an interpolation to nothing": ("rank: ${x}", r"method\.rank: Interpolation key 'x' not found\.$"),
    "a NUL": ('rank: [1, {a: "b\\0c"}]', r"method\.rank\.1\.a='b\\x00c': no text may have .* NUL"),
    "an interpolation to itself": ("rank: ${.rank}", r"method\.rank: Recursive interpolation"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTY)
def test_an_entry_that_is_none_is_one_line(fault: str, tmp_path: Path):
    text, message = FAULTY[fault]
    file = tmp_path / "method" / "mine.yaml"
    file.parent.mkdir()
    file.write_text(text)
    for words in ([f"--config-dir={tmp_path}", "method=mine"], [f"method={file}"]):
        with pytest.raises(ConfigError, match=message) as caught:
            from_words(words)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 600


def test_keys_of_an_entry_are_texts(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("1: 2\n0.5: {!!binary aGk=: [{true: 1}]}\n")
    found = from_words([f"method={tmp_path / 'mine.yaml'}"])["method"]
    assert {"1", "0.5"} < set(found)
    assert found["0.5"] == {"b'hi'": [{"True": 1}]}
    assert entry("method", str(tmp_path / "mine.yaml")) == {
        "name": "mine",
        "1": 2,
        "0.5": found["0.5"],
    }


@pytest.mark.parametrize(
    ("hydra", "key"),
    [
        ("callbacks: {a: {_target_: marked.Mark}}", r"callbacks\.a\._target_"),
        ("callbacks: {a: {_target_: '${oc.env:HOME}'}}", r"callbacks\.a\._target_"),
        ("launcher: {_target_: marked.Mark}", r"launcher\._target_"),
        ("sweeper: {_target_: marked.Mark}", r"sweeper\._target_"),
        ("job_logging: {formatters: {a: {'()': marked.Mark}}}", r"job_logging\.formatters\.a\.\(\)"),
        ("job_logging: {handlers: {a: {class: marked.Mark}}}", r"job_logging\.handlers\.a\.class"),
        ("job_logging: {root: [{a: 'ext://marked.MARK'}]}", r"job_logging\.root\.0\.a"),
    ],
)  # fmt: skip
def test_an_entry_makes_hydra_import_nothing(hydra: str, key: str, tmp_path: Path):
    (tmp_path / "mine.yaml").write_text(f"# @package _global_\nhydra: {{{hydra}}}\n")
    with pytest.raises(ConfigError, match=rf"hydra\.{key}=.*nothing was imported"):
        check_keys(prepare([f"hparams={tmp_path / 'mine.yaml'}"]))


def test_the_launchers_that_there_are_lie_where_hydra_may_import():
    for launcher in groups()["launcher"]:
        if not needs(launcher):
            check_keys(prepare([f"launcher={launcher}"]))


def test_a_page_of_help_with_an_entry_that_is_no_text_is_an_error_in_one_line(tmp_path: Path):
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "mine.yaml").write_bytes(bytes(range(256)))
    with pytest.raises(DataError, match=r"mine\.yaml is not UTF-8 text"):
        summary("method", "mine", [tmp_path])


def test_plugins_are_looked_for_in_each_config_dir_then_here(outside: Path):
    Path("near.py").write_text("")
    here = str(Path.cwd() / "near.py")
    words = ["--config-dir", str(outside)]
    assert prepare([*words, "plugins=[my_methods, near]"]) == [
        f"plugins=[{quoted(str(outside / 'my_methods.py'))},{here}]"
    ]
    assert prepare(["plugins=near"]) == prepare(["plugins=./near.py"]) == [f"plugins=[{here}]"]
    assert prepare(["plugins=null"]) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["seed=1", "task=boolq", "seed=2"], r"seed: given twice \(seed=1 and seed=2\)"),
        (["+experiment=paper", "experiment=lr_grid"], "experiment: given twice"),
        (["~seed"], r"~seed: a run needs every setting"),
        (["~task"], r"~task: a run needs every setting"),
        (["~hparams.lr"], r"~hparams\.lr: a run needs"),
        (["--resolve"], "--resolve: no such flag"),
        (["task.split={}"], r"task\.split=\{\}: changes nothing.*give task\.split\.<key>=VALUE"),
        (["hparams.lr_by_name={}"], r"hparams\.lr_by_name=\{\}: changes nothing"),
    ],
)
def test_words_that_a_run_cannot_mean_are_refused(words: list[str], message: str):
    with pytest.raises(ConfigError, match=message):
        prepare(words)


def test_the_choice_that_lacks_a_key_is_named():
    message = r"method\.rank=8: unknown key 'rank' in method of method=iapt, one of several;"
    with pytest.raises(ConfigError, match=message):
        check_keys(["method=lora,iapt", "method.rank=8"])
    words = ["method=lora,ssp", "method.rank=8"]
    assert check_keys(words) == words


def test_a_number_of_thousands_of_digits_is_told_in_a_line():
    with pytest.raises(ConfigError, match="quote special characters"):
        grid_of([f"seed={'9' * 5000}"])


def test_a_grid_has_a_word_for_each_value():
    assert grid_of(["seed=0,1", "method.activation=[relu,gelu]", "+experiment=paper"]) == {
        "seed": ["seed=0", "seed=1"],
        "method.activation": ["method.activation=[relu,gelu]"],
        "experiment": ["+experiment=paper"],
    }


def test_a_value_that_must_be_given_is_named():
    with pytest.raises(ConfigError, match=r"data\.path: missing; give data\.path=VALUE"):
        composed(["data=folder"])


@pytest.mark.parametrize(
    "text",
    [
        "a/b.py",
        "a b",
        "it's",
        "a,b",
        "[x]",
        "a\\b",
        "ä",
        "x\\'y",
        "x\\",
        "2024",
        "nan",
        "null",
        "./1",
    ],
)
def test_a_quoted_text_comes_out_of_hydra_as_it_was(text: str):
    assert composed([f"out={quoted(text)}"])["out"] == text


@pytest.mark.parametrize(
    ("words", "shows", "rest"),
    [
        ("--cfg job a=1", ["--cfg", "job"], ["a=1"]),
        ("a=1 -c job", ["--cfg", "job"], ["a=1"]),
        ("--cfg=hydra a=1", ["--cfg", "hydra"], ["a=1"]),
        ("--cfg job --package method --resolve a=1", ["--cfg", "job", "--package", "method", "--resolve"], ["a=1"]),
        ("--info a=1", ["--info", "all"], ["a=1"]),
        ("-i searchpath a=1", ["--info", "searchpath"], ["a=1"]),
        ("--config-dir --odd a=1", [], ["--config-dir", "--odd", "a=1"]),
    ],
)  # fmt: skip
def test_hydras_flags_that_show_something_are_taken(words: str, shows: list[str], rest: list[str]):
    line = flags_and_words(words.split())
    assert (line.shows, line.words) == (shows, rest)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--cgf job", r"--cgf: no such flag; allowed are --cfg, .*Did you mean '--cfg'"),
        ("--experimental-rerun=/x", r"--experimental-rerun=/x: no such flag"),
        ("--multirun a=1", r"--multirun: no such flag"),
        ("--cfg jbo", r"--cfg jbo: allowed are job, hydra, all\. Did you mean 'job'"),
        ("--cfg", r"--cfg : allowed are job"),
        ("--package", r"--package : allowed are a key"),
        ("--info tree", r"--info tree: allowed are all, config, .*"),
        ("--resolve a=1", r"--resolve: works only with --cfg"),
    ],
)
def test_any_other_flag_is_refused_by_name(words: str, message: str):
    with pytest.raises(ConfigError, match=message):
        flags_and_words(words.split())


def test_a_pipe_in_the_place_of_an_entry_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("mine.yaml")
    message = r"task=mine\.yaml: cannot be read .*not a regular file"
    with pytest.raises(ConfigError, match=message):
        prepare(["task=mine.yaml"])
    with pytest.raises(ConfigError, match=message):
        entry("task", "mine.yaml")
    (tmp_path / "conf" / "task").mkdir(parents=True)
    os.mkfifo("conf/task/mine.yaml")
    with pytest.raises(ConfigError, match="not a regular file"):
        prepare(["--config-dir", "conf", "task=mine"])


def test_several_plugins_are_no_grid():
    refuse_grid(["plugins=a,b", "method.activation=[relu,gelu]", "task.template='a,b'"])
    with pytest.raises(ConfigError, match="seed=0,1: one run takes one value"):
        refuse_grid(["plugins=a,b", "seed=0,1"])


def test_a_file_in_a_config_dir_is_its_entry_and_no_second_one(outside: Path):
    flag = f"--config-dir={outside}"
    assert prepare([flag, f"method={outside}/method/mine.yaml"]) == ["method=mine"]
    with pytest.raises(ConfigError, match="there is already a task 'mine'"):
        prepare([flag, f"task={outside}/method/mine.yaml"])


def test_a_package_of_plugins_is_its_folder(outside: Path):
    package = Path.cwd() / "my_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    assert plugin_files(["my_package", "my_methods"], [outside]) == [
        str(package),
        str(outside / "my_methods.py"),
    ]
    assert list(Plugins.find(plugin_files(["my_package"])).files) == ["my_package"]


def test_an_entry_of_a_config_dir_is_its_file_and_any_other_name_stays(outside: Path):
    assert entry_or_file("task", "mine", [outside]) == str(outside / "task" / "mine.yaml")
    for name in ("boolq", "other.yaml"):
        assert entry_or_file("task", name, [outside]) == name
