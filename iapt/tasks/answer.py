"""Reading an answer out of decoded text.

A line ends at a line feed.  The other characters that `str.splitlines` cuts at (U+2028, U+0085, a form feed, a
lone carriage return) are white space inside an answer, as they are for the official SQuAD and ReCoRD scripts.
"""


def first_line(text: str) -> str:
    """Return the first non-blank line, stripped; empty text gives an empty line."""
    return next((line.strip() for line in text.split("\n") if line.strip()), "")


def one_line(text: str) -> str:
    """Return the text with its line breaks as spaces: a gold answer that `first_line` reads whole."""
    return " ".join(line.strip() for line in text.split("\n") if line.strip())


def whole_text(text: str) -> str | None:
    """Return the text, stripped, or None if nothing is left."""
    return text.strip() or None
