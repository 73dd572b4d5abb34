"""One file from a plain web server, pinned by git's id of its content."""

import shutil
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from iapt.checksums import git_blob_id
from iapt.remote.repository import TIMEOUT_SECONDS, page
from iapt.remote.trouble import DamagedError, patiently


def download(url: str, blob: str, path: Path) -> Path:
    """Download one file and check its git blob id; try again what fails for a reason that passes.

    Raises:
        OSError: what `urllib` raises.
        DamagedError: another content arrives every time.
    """

    def attempt() -> Path:
        try:
            with urlopen(url, timeout=TIMEOUT_SECONDS) as answer, path.open("wb") as file:
                shutil.copyfileobj(answer, file)
                left = getattr(answer, "length", None)  # of what the server announced
        except HTTPError as error:
            error.close()  # it holds the connection
            raise
        if left:
            raise ConnectionError(f"the connection broke {left:,} bytes before the end")
        found = git_blob_id(path)
        if found != blob:
            raise DamagedError(
                f"it is not the pinned file: git blob {found}, pinned is {blob}{page(path)}"
            )
        return path

    return patiently(attempt, url)
