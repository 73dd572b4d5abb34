"""Write the sample data sets that ship with the package: `python -m scripts.make_sample [FOLDER]`.

Every row is put together here from templates and word lists of our own; none comes from a public
data set. The files have the names, fields and label values of the Hugging Face data sets, so that
a task reads them as it reads the real ones. The output depends on nothing but this code: running
it again gives the same bytes (a test does).
"""

import json
import sys
from pathlib import Path

from scripts.sample_rows import (
    boolq,
    copa,
    e2e_nlg,
    gsm8k,
    instructions,
    qnli,
    record,
    rte,
    squad,
    sst2,
    tickets,
    wikisql,
)

BUILDERS = {
    "alpaca-cleaned": instructions.alpaca,
    "boolq": boolq.build,
    "copa": copa.build,
    "e2e_nlg": e2e_nlg.build,
    "gsm8k": gsm8k.build,
    "mt_bench": instructions.mt_bench,
    "qnli": qnli.build,
    "record": record.build,
    "rte": rte.build,
    "squad": squad.build,
    "sst2": sst2.build,
    "tickets": tickets.build,
    "wikisql": wikisql.build,
}
FOLDER = Path(__file__).parents[1] / "iapt" / "data" / "sample"


def write(folder: Path) -> list[Path]:
    """Write all files and return their paths, in order.

    Args:
        folder: where the data set folders go; made if missing.
    """
    written = []
    for dataset, build in sorted(BUILDERS.items()):
        (folder / dataset).mkdir(parents=True, exist_ok=True)
        for name, rows in build().items():
            path = folder / dataset / f"{name}.jsonl"
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
            path.write_text("".join(lines), encoding="utf-8", newline="\n")
            written.append(path)
    return written


if __name__ == "__main__":
    for path in write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER):
        print(path)
