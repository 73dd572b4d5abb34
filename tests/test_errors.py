"""What a message may show of the addresses in it."""

import pytest

from iapt.errors import without_passwords


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see http://me:secret@host/a", "see http://***@host/a"),
        ("out=https:/me:secret@host/a", "out=https:/***@host/a"),
        ("data=folder:/a@b and file:/c@d", "data=folder:/a@b and file:/c@d"),
    ],
)
def test_a_password_is_masked_and_the_address_kept(text: str, shown: str) -> None:
    assert without_passwords(text) == shown
