"""`iapt-bench`: decoding and training speed, ours beside the usual libraries, as ratios of one run.

decode   bare, each method, transformers' `generate` bare and over a peft LoRA (Table 4's shape)
train    one optimizer step of each method beside transformers' Trainer over a peft LoRA, same rows
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iapt.cli.configuration import composed, groups, guarded, prepare, split_argument
from iapt.errors import ConfigError, closest

if TYPE_CHECKING:
    from iapt.backbone.base import Backbone
    from iapt.plan import Plan

DEFAULTS = {
    "what": "decode,train",
    "backbone": "smollm2_135m",
    "task": "boolq",
    "data": "sample",
    "methods": "lora,iapt",
    "beams": "1,3",
    "instruction_tokens": "274",  # Appendix G
    "new_tokens": "32",  # Appendix G
    "batch": "8",
    "steps": "3",
    "repeats": "5",
    "warmup": "1",
    "device": "auto",
    "out": "results/bench",
}
COUNTS = ("instruction_tokens", "new_tokens", "batch", "steps", "repeats", "warmup")
WHAT = ("decode", "train")
HELP = """iapt-bench: speed and memory of decoding and training, ours beside peers, as ratios.

The paper's Table 4 (a GPU): iapt-bench backbone=llama2_7b what=decode
Every method's training step: iapt-bench what=train methods=all task=sst2

Arguments (key=value), with their defaults:
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if {"-h", "--help", "help"} & set(words):
        print(HELP + "\n".join(f"  {k}={v}" for k, v in DEFAULTS.items()))
        return 0
    return guarded(lambda: _bench(_settings(words)))


def _settings(words: Sequence[str]) -> dict[str, str]:
    settings = dict(DEFAULTS)
    for word in words:
        key, value = split_argument(word)
        if key not in DEFAULTS or not value:
            raise ConfigError(
                f"argument {word!r}: allowed are {', '.join(f'{k}=' for k in DEFAULTS)}.{closest(key, DEFAULTS)}"
            )
        settings[key] = value
    if settings["methods"] == "all":
        settings["methods"] = ",".join(groups()["method"])
    for key in COUNTS:
        least = 0 if key == "warmup" else 1
        if not settings[key].isdigit() or int(settings[key]) < least:
            raise ConfigError(f"{key}={settings[key]}: must be a whole number >= {least}.")
    for key, each in (("what", WHAT), ("beams", [str(n) for n in range(1, 17)])):
        for value in settings[key].split(","):
            if value not in each:
                raise ConfigError(
                    f"{key}={settings[key]}: allowed are {', '.join(each)}, with commas between.{closest(value, each)}"
                )
    prepare([f"{key}={settings[key]}" for key in ("backbone", "task", "data")])
    prepare([f"method={settings['methods']}"])
    return settings


def _bench(settings: dict[str, str]) -> None:
    import torch

    from iapt.backbone.load import load_backbone, load_tokenizer
    from iapt.provenance import git_state, utc_now, versions

    plans = _plans(settings)
    plan = next(iter(plans.values()))
    tokenizer = load_tokenizer(plan.backbone)
    backbone = load_backbone(plan.backbone, plan.device).backbone
    print(
        f"{plan.backbone.name} on {plan.device}; medians of {settings['repeats']} turns, one after the other"
    )
    about = {
        "settings": {k: v for k, v in settings.items() if k not in ("what", "out")},
        "device": str(plan.device),
        "threads": torch.get_num_threads(),
        "git": git_state(),
        "versions": versions(),
    }
    report: dict[str, Any] = {}
    kinds = {"decode": _decode, "train": _train}
    for what in settings["what"].split(","):
        report[what] = (
            kinds[what](settings, plans, tokenizer, backbone) | about | {"created": utc_now()}
        )
    path = Path(settings["out"]) / f"{settings['backbone']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file():  # the other half of an earlier measurement stays, with its own settings
        report = json.loads(path.read_text()) | report
    path.write_text(json.dumps(report, indent=2) + "\n")
    print(f"\nwritten: {path}")


def _plans(settings: dict[str, str]) -> "dict[str, Plan]":
    from iapt.plan import make_plan

    words = [f"{k}={settings[k]}" for k in ("backbone", "task", "data", "device")]
    return {
        method: make_plan(composed(prepare([*words, f"method={method}"])))
        for method in settings["methods"].split(",")
    }


def _decode(
    settings: dict[str, str], plans: "dict[str, Plan]", tokenizer: Any, backbone: "Backbone"
) -> dict[str, Any]:
    """Tokens per second of one instruction (Appendix G)."""
    import torch

    from iapt.inference.contenders import decoding
    from iapt.inference.efficiency import FILLER, measure_in_turn

    size, new = int(settings["instruction_tokens"]), int(settings["new_tokens"])
    text = tokenizer(FILLER * (1 + size // 10), add_special_tokens=False).input_ids[:size]
    ids = torch.tensor([text], device=backbone.device)
    rows = []
    for beams in map(int, settings["beams"].split(",")):
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
            repeats=int(settings["repeats"]),
            warmup=int(settings["warmup"]),
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
    settings: dict[str, str], plans: "dict[str, Plan]", tokenizer: Any, backbone: "Backbone"
) -> dict[str, Any]:
    """Seconds of one optimizer step on the same rows."""
    from statistics import median

    from tqdm import tqdm

    from iapt.data.template import render
    from iapt.data.tokens import encode_all
    from iapt.inference.contenders import PEER_TRAINER, training
    from iapt.training.step import Data

    plan = next(iter(plans.values()))
    batch, steps = int(settings["batch"]), int(settings["steps"])
    examples = plan.task.examples("train", plan.source)[: batch * steps]
    rendered = [render(e, plan.task.template, plan.backbone.template) for e in examples]
    encoded = encode_all(rendered, tokenizer, plan.max_length, plan.backbone.bos)
    data = Data(encoded, tokenizer.pad_token_id, tokenizer.eos_token_id)
    contenders = training(
        backbone, {name: (p.method, p.hparams) for name, p in plans.items()}, data, batch, steps
    )
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    repeats = int(settings["repeats"])
    with tqdm(total=repeats * len(contenders), desc="training", dynamic_ncols=True) as bar:
        for _ in range(repeats):
            for name, contender in contenders.items():
                bar.set_postfix_str(name)
                seconds[name].append(contender())
                bar.update()
    print(f"\ntrain {steps} steps of {batch} examples, {sum(data.sizes)} tokens in all")
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
