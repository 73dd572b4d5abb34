"""One file from a plain web server, pinned by the git blob id of its content."""

import shutil
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from iapt.checksums import git_blob_id
from iapt.remote.repository import TIMEOUT_SECONDS, page
from iapt.remote.trouble import DamagedError, patiently


def download(url: str, blob: str, path: Path) -> Path:
    """Download one file and check its git blob id; try again after temporary failures.

    Raises:
        OSError: what `urllib` raises.
        DamagedError: the content that arrives is wrong at every try.
    """

    def attempt() -> Path:
        try:
            with urlopen(url, timeout=TIMEOUT_SECONDS) as answer, path.open("wb") as file:
                shutil.copyfileobj(answer, file)
                left = getattr(answer, "length", None)  # announced bytes that did not arrive
        except HTTPError as error:
            error.close()  # it holds the connection open
            raise
        if left:
            raise ConnectionError(f"the connection broke {left:,} bytes before the end")
        found = git_blob_id(path)
        if found != blob:
            raise DamagedError(
                f"it is not the pinned file: git blob {found}, not {blob}{page(path)}"
            )
        return path

    return patiently(attempt, url)
