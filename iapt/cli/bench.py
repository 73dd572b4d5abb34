"""`iapt-bench`: decoding and training speed, ours beside the usual libraries, as ratios of one run.

decode   bare, LoRA unmerged, IAPT, and transformers' `generate` over a peft LoRA (Table 4's shape)
train    one optimizer step of our LoRA and IAPT beside transformers' Trainer over a peft LoRA, on the
         same rows in the same batches
"""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from iapt.cli.configuration import CONFIG_DIR, groups, guarded, split_argument
from iapt.errors import ConfigError, closest

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
    "steps": "6",
    "repeats": "5",
    "warmup": "1",
    "device": "auto",
    "out": "results/bench",
}
HELP = """iapt-bench: speed and memory of decoding and training, ours beside peers, as ratios.

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
        if key not in DEFAULTS or value is None:
            raise ConfigError(
                f"argument {word!r}: allowed are {', '.join(f'{k}=' for k in DEFAULTS)}.{closest(key, DEFAULTS)}"
            )
        settings[key] = value
    for key in ("instruction_tokens", "new_tokens", "batch", "steps", "repeats", "warmup"):
        if not settings[key].isdigit() or (int(settings[key]) < 1 and key != "warmup"):
            raise ConfigError(f"{key}={settings[key]}: must be a whole number >= 1.")
    known = groups()
    for group, chosen in (
        ("backbone", [settings["backbone"]]),
        ("task", [settings["task"]]),
        ("method", settings["methods"].split(",")),
    ):
        for entry in chosen:
            if entry not in known[group]:
                raise ConfigError(
                    f"{group}={entry}: there are {', '.join(known[group])}.{closest(entry, known[group])}"
                )
    return settings


def _bench(settings: dict[str, str]) -> None:
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from iapt.backbone.load import load_backbone, load_tokenizer
    from iapt.plan import make_plan
    from iapt.provenance import git_state, utc_now, versions

    plans = {}
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        for method in settings["methods"].split(","):
            words = [f"{k}={settings[k]}" for k in ("backbone", "task", "data", "device")]
            config = OmegaConf.to_container(
                compose("config", [*words, f"method={method}"]), resolve=True
            )
            assert isinstance(config, dict)
            plans[method] = make_plan({str(k): v for k, v in config.items()})
    plan = next(iter(plans.values()))
    tokenizer = load_tokenizer(plan.backbone)
    loaded = load_backbone(plan.backbone, plan.device)
    print(
        f"{plan.backbone.name} on {plan.device}; each ratio is a median of {settings['repeats']} alternating runs"
    )
    report: dict[str, Any] = {
        "settings": settings,
        "created": utc_now(),
        "git": git_state(),
        "versions": versions(),
    }
    for what in settings["what"].split(","):
        kinds: dict[str, Callable[..., Any]] = {"decode": _decode, "train": _train}
        if what not in kinds:
            raise ConfigError(f"what={what}: allowed are decode, train.{closest(what, kinds)}")
        report[what] = kinds[what](settings, plans, tokenizer, loaded.backbone)
    out = Path(settings["out"])
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{settings['backbone']}.json"
    path.write_text(json.dumps(report, indent=2) + "\n")
    print(f"\nwritten: {path}")


def _decode(
    settings: dict[str, str], plans: dict[str, Any], tokenizer: Any, backbone: Any
) -> list[dict[str, Any]]:
    """Tokens per second of one instruction (Appendix G), ours and `generate` over peft."""
    import torch

    from iapt.inference.efficiency import FILLER, measure_in_turn
    from iapt.inference.generate import decode_batch

    size, new = int(settings["instruction_tokens"]), int(settings["new_tokens"])
    text = tokenizer(FILLER * (1 + size // 10), add_special_tokens=False).input_ids[:size]
    ids = torch.tensor([text], device=backbone.device)
    mask = torch.ones_like(ids)
    rows = []
    for beams in map(int, settings["beams"].split(",")):
        length = {"num_beams": beams, "max_new_tokens": new, "min_new_tokens": new}

        def ours(length: dict[str, int] = length) -> None:
            decode_batch(
                backbone, ids, mask, eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id, **length,
            )  # fmt: skip

        def attached(method: str, ours: Callable[[], None] = ours) -> Callable[[], None]:
            module = plans[method].method().to(backbone.device).eval()

            def go() -> None:
                backbone.detach()
                module.attach(backbone)
                ours()

            return go

        def bare(ours: Callable[[], None] = ours) -> None:
            backbone.detach()
            ours()

        def generate(length: dict[str, int] = length) -> None:
            backbone.detach()
            with torch.no_grad():
                backbone.model.generate(
                    ids,
                    attention_mask=mask,
                    do_sample=False,
                    pad_token_id=tokenizer.pad_token_id,
                    **length,
                )

        runs: dict[str, Callable[[], object]] = {
            "bare": bare,
            "transformers generate, bare": generate,
        }
        runs |= {name: attached(name) for name in plans}
        timings = measure_in_turn(
            runs,
            backbone.device,
            repeats=int(settings["repeats"]),
            warmup=int(settings["warmup"]),
            tokens=new,
        )
        backbone.detach()
        timings["transformers generate, peft LoRA"] = _peft_generate(
            settings, plans, backbone, ids, mask, length
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
    return rows


def _peft_generate(
    settings: dict[str, str],
    plans: dict[str, Any],
    backbone: Any,
    ids: Any,
    mask: Any,
    length: dict[str, int],
) -> Any:
    from iapt.inference.efficiency import measure
    from iapt.inference.peers import peft_lora

    with peft_lora(backbone) as model:
        return measure(
            lambda: model.generate(input_ids=ids, attention_mask=mask, do_sample=False, **length),
            backbone.device,
            repeats=int(settings["repeats"]),
            warmup=int(settings["warmup"]),
            tokens=length["max_new_tokens"],
        )


def _train(
    settings: dict[str, str], plans: dict[str, Any], tokenizer: Any, backbone: Any
) -> list[dict[str, Any]]:
    """Seconds of one optimizer step on the same rows: ours, and Trainer over peft."""
    import time
    from dataclasses import replace

    from iapt.data.template import render
    from iapt.data.tokens import encode_all
    from iapt.inference.peers import trainer_seconds
    from iapt.training.loop import Run
    from iapt.training.step import Data

    plan = next(iter(plans.values()))
    batch, steps = int(settings["batch"]), int(settings["steps"])
    examples = plan.task.examples("train", plan.source)[: batch * steps]
    rendered = [render(e, plan.task.template, plan.backbone.template) for e in examples]
    encoded = encode_all(rendered, tokenizer, plan.max_length, plan.backbone.bos)
    data = Data(encoded, tokenizer.pad_token_id, tokenizer.eos_token_id)
    seconds: dict[str, float] = {}
    for name, own in plans.items():
        hparams = replace(
            own.hparams, batch_size=batch, max_steps=steps + 1, max_epochs=2, arch_every=10**9
        )
        method = own.method().to(backbone.device)
        backbone.detach()
        method.attach(backbone)
        run = Run(backbone, method, data, data, hparams, 0)
        run.one_step()
        started = time.perf_counter()
        for _ in range(steps):
            run.one_step()
        seconds[f"iapt: {name}"] = (time.perf_counter() - started) / steps
    backbone.detach()

    order = [
        [i % len(encoded) for i in range(k * batch, (k + 1) * batch)] for k in range(steps + 1)
    ]
    seconds["transformers Trainer, peft LoRA"] = trainer_seconds(
        backbone, [data.batch(o) for o in order]
    )
    print(f"\ntrain {steps} steps of {batch} examples, {sum(data.sizes)} tokens in all")
    peer = seconds["transformers Trainer, peft LoRA"]
    for name, value in seconds.items():
        print(
            f"  {name:<34} {value:7.3f} s a step   {peer / value:5.2f} x the speed of Trainer + peft"
        )
    return [
        {"what": k, "seconds_per_step": v, "speed_to_trainer_peft": peer / v}
        for k, v in seconds.items()
    ]
