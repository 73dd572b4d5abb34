"""Reading an answer from decoded text.

A line ends at a line feed.  The other characters at which `str.splitlines` cuts (U+2028, U+0085, a form feed, a
lone carriage return) are white space inside an answer, as they are for the official SQuAD and ReCoRD scripts.
"""


def first_line(text: str) -> str:
    """Return the first non-blank line, stripped; empty text gives an empty line."""
    return next((line.strip() for line in text.split("\n") if line.strip()), "")


def one_line(text: str) -> str:
    """Return the text with spaces for its line breaks, so that `first_line` reads all of a gold answer."""
    return " ".join(line.strip() for line in text.split("\n") if line.strip())


def whole_text(text: str) -> str | None:
    """Return the text, stripped, or None if nothing is left."""
    return text.strip() or None
