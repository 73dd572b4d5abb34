"""One run: examples, prompts, backbone and method, training, decoding, scores, one row.

    config -> plan -> examples -> tokens -> backbone + method -> train -> decode -> parse, score -> row

docs/engine.md lists the files of a run's folder.
"""

import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from iapt.backbone import processes
from iapt.backbone.load import check_access, load_backbone, load_tokenizer
from iapt.configuration.checking import faults
from iapt.data.tokens import Tokens
from iapt.display import show_cuts, show_fit, show_plan, show_prompt, show_result
from iapt.errors import DataError, TrainingError
from iapt.evaluation import TRAINING, encode_splits, evaluate
from iapt.files import remove_partials, write_json
from iapt.interruption import interruptible
from iapt.methods.base import Started
from iapt.methods.outside import attach
from iapt.methods.saved import save_adapter
from iapt.plan import Plan
from iapt.planning import make_plan
from iapt.provenance import git_state, reset_peak_memory
from iapt.results.attempt import Attempt, attempt, tidy
from iapt.results.inspection import write_inspection
from iapt.results.row import Row
from iapt.results.row_files import read_row, row_path, write_row
from iapt.run_row import row_of
from iapt.tasks.base import SPLITS, Example, Split
from iapt.trained.adapters import describe
from iapt.trained.inspection import inspect
from iapt.training.loggers import Concluding
from iapt.training.lookahead import check_lookahead
from iapt.training.loop import Logger, Silent, train
from iapt.training.state import Run
from iapt.training.step import Data


def run(config: dict[str, Any], *, wait: bool = True, since: datetime | None = None) -> Row | None:
    """Run one configuration to its row; several processes that torchrun started share the work.

    Args:
        config: a resolved configuration (plain dicts).
        wait: if another process is working on this run, wait for it and return its row.
        since: with `force`, a row written after this moment is kept; default: the time of the call.

    Returns:
        The row; an existing row is returned without running anything, unless `force` is set. None
        after a dry run, and in all processes but the first.

    Raises:
        IaptError: the configuration, data, backbone or numbers are wrong, or the file of the finished
            row is damaged.
        BusyError: another process is working on this run, and `wait` is false.
        Interrupted: SIGINT, SIGTERM, SIGHUP or SIGUSR2 arrived; in training, a checkpoint is written first.
    """
    git_state()  # of the code that runs now, whatever is committed before the row is written
    with processes.joined(), interruptible():
        if processes.first():
            return _lead(config, wait, since or datetime.now(timezone.utc))
        _follow(config)
        return None


def _follow(config: dict[str, Any]) -> None:
    """Do this process's share of the run that the first process announces, if it does; write no files."""
    said = processes.order()
    if said is None:
        return
    plan = make_plan(config)
    folder = Path(config["out"]) / plan.run_id
    seen = _seen(plan, folder)
    if seen != said:
        raise TrainingError(
            f"process {processes.rank()} sees {seen}, the first process {said}: all need the same command, code "
            "and data, and a folder out= that all machines share."
        )
    _run(plan, plan.examples(), Attempt(folder, writes=False), Silent(), 0.0)


def _seen(plan: Plan, folder: Path) -> dict[str, Any]:
    """Return what the processes of a run must agree on before they train."""
    return {"run": plan.run_id, "resumes": sorted(p.name for p in folder.glob("*.safetensors"))}


def _lead(config: dict[str, Any], wait: bool, since: datetime) -> Row | None:
    plan = make_plan(config)
    if config["dry_run"]:
        show_plan(plan, plan.sizes())
        return None
    row_file = row_path(Path(config["rows"]), plan.run_id)
    folder = Path(config["out"]) / plan.run_id
    row = _finished(row_file, config["force"], since)
    if row:
        tidy(folder)
    else:
        plan.check_splits()
        plan.check_folders()
        with attempt(folder, wait=wait) as current:
            row = _finished(row_file, config["force"], since)  # by the process that we waited for
            if not row:
                current.begin(clear=config["force"])
                row = _made(plan, row_file, current)
                current.finished()
                remove_partials(row_file.parent)
                show_result(row, row_file, folder)
                return row
    print(f"Already finished: {row_file} (force=true runs it again).")
    show_result(row, row_file, folder)
    return row


def _finished(row_file: Path, force: bool, since: datetime) -> Row | None:
    """Return this run's row if it need not run again: any row, or with `force` one made at or after `since`."""
    if not row_file.exists():
        return None
    try:
        row = read_row(row_file)
    except DataError as error:
        if force:
            return None
        raise DataError(f"{error} force=true runs it again and replaces the file.") from error
    return row if not force or row.created >= since else None


def _made(plan: Plan, row_file: Path, current: Attempt) -> Row:
    """Run a plan, and write its row last."""
    started = time.perf_counter()
    check_access(plan.backbone)  # before a data set is fetched for nothing
    examples = plan.examples()
    show_plan(plan, {split: len(examples[split]) for split in SPLITS})
    ok = False
    try:
        write_json(current.folder / "config.json", plan.config)
        write_json(current.folder / "splits.json", plan.task.split_report(plan.source))
        plan.logger.start(current.folder, plan.run_id, plan.config)
        made = _run(plan, examples, current, plan.logger, started)
        assert made is not None
        row = write_row(row_file.parent, made)
        if isinstance(plan.logger, Concluding):
            plan.logger.conclude(row, current.folder)
        ok = True
    finally:
        plan.logger.finish(ok)
    return row


def _run(
    plan: Plan,
    examples: dict[Split, list[Example]],
    current: Attempt,
    logger: Logger,
    started: float,
) -> Row | None:
    """Train, decode and score; return the row in the first process, which alone writes files, otherwise None."""
    tokenizer = load_tokenizer(plan.backbone)
    tokens = Tokens(tokenizer, plan.backbone.template, plan.backbone.bos, plan.max_length)
    prompts = encode_splits(plan, examples, tokens)
    encoded = prompts.encoded
    show_fit(prompts, plan)
    show_prompt(encoded["train"][0], tokenizer)

    torch.manual_seed(plan.cell["seed"])
    reset_peak_memory(plan.device, alone=True)  # without an earlier run of a sweep
    loaded = load_backbone(plan.backbone, plan.device)
    backbone = loaded.backbone
    backbone.checkpointing = plan.hparams.gradient_checkpointing
    method = plan.method().to(plan.device)
    if isinstance(method, Started):
        method.start(backbone, tokens.plainly)
    if plan.own_method:
        where = f"method={plan.cell['method']}"
        attach(method, backbone, where)
        check_lookahead(method, backbone, min(encoded["train"], key=len), where)
    else:
        method.attach(backbone)

    data = {s: Data(encoded[s], tokenizer.pad_token_id, tokenizer.eos_token_id) for s in TRAINING}
    training = Run(backbone, method, data["train"], data["dev"], plan.hparams, plan.cell["seed"])
    if processes.first():  # it has stored what is fetched or converted once, for the others to find
        processes.start(_seen(plan, current.folder))
    processes.wait()  # loading does not count as training time
    current.doing("training")
    history = train(training, current.checkpoint, plan.config_hash, logger)
    num_beams = plan.hparams.num_beams or plan.task.num_beams
    if processes.first():
        save_adapter(current.folder / "adapter", method, describe(plan, loaded, num_beams))

    current.doing("decoding")
    test_started = time.perf_counter()
    method.eval()
    evaluation = evaluate(
        plan.task,
        prompts.examples["test"],
        encoded["test"],
        backbone,
        tokens,
        num_beams=num_beams,
        batch_tokens=plan.hparams.eval_batch_tokens,
        predictions=current.folder / "predictions.jsonl" if processes.first() else None,
    )
    if not processes.first():
        return None
    show_cuts("follow_ups", evaluation.further, plan)
    now = time.perf_counter()
    prompted = [e.instruction for e in encoded["test"]]
    if inspected := inspect(method, backbone, tokenizer, prompted):
        write_inspection(current.folder, inspected)

    try:
        row = row_of(
            plan,
            prompts,
            loaded,
            method,
            history,
            evaluation,
            num_beams=num_beams,
            seconds_test=now - test_started,
            seconds_total=now - started,
        )
    except ValidationError as error:  # such as a score above 100 from the user's own metric
        said = "\n".join(faults(error, error.title))
        raise DataError(f"the run gave no valid result row:\n{said}") from error
    write_json(current.folder / "scores.json", row.scores.model_dump())
    return row
