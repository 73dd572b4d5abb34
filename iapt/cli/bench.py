"""`iapt-bench`: the speed of decoding and training beside that of the usual libraries, in one run.

decode   bare, each method, transformers' `generate` bare and over a peft LoRA (the layout of Table 4)
train    one optimizer step of each method beside transformers' Trainer over a peft LoRA, on the same rows
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iapt.cli.command import OWN_ENTRIES, Command, Key, Words
from iapt.cli.composing import from_words
from iapt.cli.overrides import groups, prepare
from iapt.cli.readers import some_of, whole

if TYPE_CHECKING:
    from iapt.backbone.base import Backbone
    from iapt.plan import Plan

COMMAND = Command(
    name="iapt-bench",
    usage="[key=value ...]",
    purpose="Measure the speed and memory of decoding and training, ours and other libraries', as ratios.",
    at_most=0,
    keys=[
        Key("what", "decode: tokens per second; train: seconds per step", ("decode", "train"),
            some_of("decode", "train")),
        Key("backbone", "an entry of configs/backbone/", "smollm2_135m"),
        Key("task", "an entry of configs/task/, whose rows train the methods", "boolq"),
        Key("data", "the data: sample, hub or a folder", "sample"),
        Key("methods", "entries of configs/method/, or all", ("lora", "iapt"), some_of()),
        Key("beams", "beam sizes, 1 to 16", ("1", "3"), some_of(*map(str, range(1, 17)))),
        Key("instruction_tokens", "length of the instruction (Appendix G)", 274, whole(1)),
        Key("new_tokens", "length of the answer (Appendix G)", 32, whole(1)),
        Key("batch", "examples per step", 8, whole(1)),
        Key("steps", "training steps per repeat", 3, whole(1)),
        Key("repeats", "timed repeats", 5, whole(1)),
        Key("warmup", "repeats before timing starts", 1, whole()),
        Key("device", "auto, cpu, cuda or cuda:N", "auto"),
        Key("out", "the folder for BACKBONE.json", "results/bench"),
        *OWN_ENTRIES,
    ],
    notes="The paper's Table 4 (a GPU): iapt-bench backbone=llama2_7b what=decode\n"
    "Every method's training step: iapt-bench what=train methods=all task=sst2",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return COMMAND.main(_bench, arguments)


def _bench(words: Words) -> None:
    settings = dict(words.values)
    if settings["methods"] == ("all",):
        settings["methods"] = tuple(groups(words.folders)["method"])
    chosen = [f"{key}={settings[key]}" for key in ("backbone", "task", "data", "device")]
    # Refuses unknown names before it imports torch.
    prepare(words.overrides(*chosen, f"method={','.join(settings['methods'])}"))

    import torch

    from iapt.backbone.load import load_backbone, load_tokenizer
    from iapt.files import read_json, write_json
    from iapt.plan import make_plan
    from iapt.provenance import git_state, utc_now, versions

    plans = {
        name: make_plan(from_words(words.overrides(*chosen, f"method={name}")))
        for name in settings["methods"]
    }
    plan = next(iter(plans.values()))
    tokenizer = load_tokenizer(plan.backbone)
    backbone = load_backbone(plan.backbone, plan.device).backbone
    print(
        f"{plan.backbone.name} on {plan.device}; medians of {settings['repeats']} repeats, taken in turn"
    )
    about = {
        "settings": {
            k: v
            for k, v in settings.items()
            if k not in ("what", "out", *(key.name for key in OWN_ENTRIES))
        },
        "device": str(plan.device),
        "threads": torch.get_num_threads(),
        "git": git_state(),
        "versions": versions(),
    }
    report: dict[str, Any] = {}
    kinds = {"decode": _decode, "train": _train}
    for what in settings["what"]:
        report[what] = (
            kinds[what](settings, plans, tokenizer, backbone) | about | {"created": utc_now()}
        )
    path = Path(settings["out"]) / f"{settings['backbone']}.json"
    if path.is_file():  # keeps the other half of an earlier measurement, with its own settings
        report = read_json(path) | report
    write_json(path, report)
    print(f"\nwritten: {path}")


def _decode(
    settings: dict[str, Any], plans: "dict[str, Plan]", tokenizer: Any, backbone: "Backbone"
) -> dict[str, Any]:
    """Measure tokens per second on one instruction (Appendix G)."""
    import torch

    from iapt.inference.contenders import decoding
    from iapt.inference.efficiency import FILLER, measure_in_turn

    size, new = settings["instruction_tokens"], settings["new_tokens"]
    text = tokenizer(FILLER * (1 + size // 10), add_special_tokens=False).input_ids[:size]
    ids = torch.tensor([text], device=backbone.device)
    rows = []
    for beams in map(int, settings["beams"]):
        timings = measure_in_turn(
            decoding(
                backbone,
                {name: plan.method for name, plan in plans.items()},
                ids,
                tokenizer.eos_token_id,
                tokenizer.pad_token_id,
                beams,
                new,
            ),
            backbone.device,
            repeats=settings["repeats"],
            warmup=settings["warmup"],
            tokens=new,
        )
        print(f"\ndecode {size} + {new} tokens, beam {beams}")
        for name, timing in timings.items():
            ratio = timings["bare"].median / timing.median
            low, high = timing.spread
            peak = "" if timing.peak_mib is None else f"   {timing.peak_mib:,.0f} MiB"
            print(
                f"  {name:<34} {timing.tokens_per_second:7.1f} tokens/s   {ratio:5.2f} of bare"
                f"   {timing.median:.3f} s (5-95 %: {low:.3f}-{high:.3f}){peak}"
            )
            rows.append(
                {"what": name, "num_beams": beams, "tokens_per_second": timing.tokens_per_second,
                 "ratio_to_bare": ratio, "seconds": timing.seconds, "peak_mib": timing.peak_mib}
            )  # fmt: skip
    return {"instruction_tokens": size, "new_tokens": new, "rows": rows}


def _train(
    settings: dict[str, Any], plans: "dict[str, Plan]", tokenizer: Any, backbone: "Backbone"
) -> dict[str, Any]:
    """Measure seconds per optimizer step on the same rows."""
    from statistics import median

    from tqdm import tqdm

    from iapt.data.tokens import Tokens
    from iapt.data.truncation import fitting
    from iapt.evaluation import encode_to_learn
    from iapt.inference.contenders import PEER_TRAINER, training
    from iapt.training.step import Data

    plan = next(iter(plans.values()))
    batch, steps = settings["batch"], settings["steps"]
    examples = plan.task.examples("train", plan.source)[: batch * steps]
    tokens = Tokens(tokenizer, plan.backbone.template, plan.backbone.bos, plan.max_length)
    encoded = encode_to_learn(plan.task, examples, tokens)
    found = fitting(examples, encoded, plan.max_length, plan.place, skip=False)
    data = Data(found.encoded, tokenizer.pad_token_id, tokenizer.eos_token_id)
    contenders = training(
        backbone, {name: (p.method, p.hparams) for name, p in plans.items()}, data, batch, steps
    )
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    repeats = settings["repeats"]
    with tqdm(total=repeats * len(contenders), desc="training", dynamic_ncols=True) as bar:
        for _ in range(repeats):
            for name, contender in contenders.items():
                bar.set_postfix_str(name)
                seconds[name].append(contender())
                bar.update()
    print(f"\ntrain {steps} steps of {batch} examples, {sum(data.sizes)} tokens in total")
    peer = median(seconds[PEER_TRAINER])
    rows = [
        {"what": name, "seconds_per_step": median(taken), "speed_to_trainer_peft": peer / median(taken),
         "seconds": taken}
        for name, taken in seconds.items()
    ]  # fmt: skip
    for row in rows:
        print(
            f"  {row['what']:<34} {row['seconds_per_step']:7.3f} s a step"
            f"   {row['speed_to_trainer_peft']:5.2f} x the speed of Trainer + peft"
        )
    return {"batch": batch, "steps": steps, "tokens": sum(data.sizes), "rows": rows}


if __name__ == "__main__":
    sys.exit(main())
