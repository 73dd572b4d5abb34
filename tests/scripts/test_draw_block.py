"""The picture in docs/ is the one that the script draws."""

from pathlib import Path

from scripts.draw_block import main

ROOT = Path(__file__).resolve().parents[2]


def test_the_script_gives_the_same_bytes_each_time_and_says_what_matters(tmp_path: Path) -> None:
    for name in ("one.svg", "two.svg"):
        assert main([str(tmp_path / name)]) == 0
    one = (tmp_path / "one.svg").read_bytes()
    assert one == (tmp_path / "two.svg").read_bytes()
    assert b"<dc:date>" not in one


def test_the_committed_picture_has_the_shapes_of_the_script(tmp_path: Path) -> None:
    main([str(tmp_path / "new.svg")])
    kept, new = (
        (p).read_text().count("<path") for p in (ROOT / "docs/iapt_block.svg", tmp_path / "new.svg")
    )
    assert kept == new  # another version of matplotlib may write other digits, not other shapes
