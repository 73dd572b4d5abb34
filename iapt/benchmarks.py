"""The benchmarks of `iapt-bench`: each prints its measurements as it runs, and returns them for the file."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from iapt.backbone.base import Backbone
from iapt.backbone.device import bytes_of, memory_of
from iapt.inference import serving
from iapt.inference.contenders import decoding
from iapt.inference.contest import Contest
from iapt.inference.efficiency import Timing, measure_in_turn, reading_seconds
from iapt.progress import progress
from iapt.reporting.render import DASH
from iapt.workbench import Bench

Report = dict[str, Any]
SHARE_FOR_A_COPY = 0.4  # share of memory that the weights may take if merging has to copy them


def decode(bench: Bench) -> Report:
    """Measure decoding of a filler text."""
    return _decode(bench, bench.filler(1), "decode", merged=False)


def table4(bench: Bench) -> Report:
    """Measure decoding as in Appendix G, and how long merely reading the weights takes."""
    merged = bytes_of(bench.backbone.model) <= SHARE_FOR_A_COPY * memory_of(bench.device)
    if not merged:
        print("merged methods are left out: the backbone's weights do not fit into memory twice")
    seconds, read = reading_seconds(bench.backbone.model)
    print(f"reading the weights ({read / 2**20:,.0f} MiB) takes {1000 * seconds:.1f} ms")
    limit = {"limit_seconds": seconds, "limit_bytes": read, "weights": bench.settings["weights"]}
    return _decode(bench, bench.appendix_g(), "table4", merged=merged) | limit


def _decode(bench: Bench, ids: Tensor, what: str, *, merged: bool) -> Report:
    new, rows = bench.settings["new_tokens"], []
    for beams in map(int, bench.settings["beams"]):
        methods = {name: plan.method for name, plan in bench.plans.items()}
        timings = measure_in_turn(
            decoding(
                bench.backbone, methods, ids, *bench.ends, beams,
                merged=merged, recorded=bench.settings["recorded"],
            ),
            bench.device,
            repeats=bench.settings["repeats"],
            warmup=bench.settings["warmup"],
            tokens=new,
            apart=True,
        )  # fmt: skip
        print(f"\n{what} {ids.shape[1]} + {new} tokens, beam {beams}")
        for name, timing in timings.items():
            row = _row(name, timing, timings["bare"]) | {"num_beams": beams}
            rows.append(row)
            low, high = timing.whole.ends
            step = 1000 * timing.step.median
            print(
                f"  {name:<34} {row['tokens_per_second']:7.1f} tokens/s   {row['ratio_to_bare']:5.2f} of bare   "
                f"{timing.whole.median:.3f} s (5-95 %: {low:.3f}-{high:.3f}), prefill {timing.first.median:.3f} s, "
                f"then {f'{step:.1f}' if step > 0 else DASH} ms a token   {timing.peak_mib:,.0f} MiB"
            )
    return {"instruction_tokens": ids.shape[1], "new_tokens": new, "rows": rows}


def _row(name: str, timing: Timing, bare: Timing) -> Report:
    ratio = bare.whole.over(timing.whole)
    row: Report = {
        "what": name,
        "tokens_per_second": timing.tokens_per_second,
        "ratio_to_bare": ratio.median,
        "ratio_5_95": ratio.ends,
        "seconds": timing.whole.values,
        "peak_mib": timing.peak_mib,
    }
    if timing.first.values:
        row["prefill_seconds"] = timing.first.values
        row["step_seconds"] = timing.step.values
    return row


def tenants(bench: Bench) -> Report:
    """Measure batches whose rows have different adapters."""
    settings, backbone = bench.settings, bench.backbone
    plans = {name: plan.method for name, plan in bench.plans.items()}
    sizes, counts = sorted(set(settings["pools"])), sorted(set(settings["tenants"]))
    per_tenant = {name: bytes_of(make()) for name, make in plans.items()}
    if bench.device.type == "cuda":
        free = torch.cuda.mem_get_info(bench.device)[0]
    else:
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    serving.check_room({n: n * sum(per_tenant.values()) for n in sizes}, free)
    rows: list[Report] = []
    with _peft(backbone, max(counts)) as peer:
        for size in sizes:
            pools = {}
            with progress(f"{size} tenants", "method", len(plans)) as bar:
                for name, make in plans.items():
                    pools[name] = serving.Pool(backbone, make, size)
                    bar.update()
            seen: set[tuple[int, ...]] = set()
            for popularity in settings["popularity"]:
                for count in counts:
                    owners = serving.drawn(popularity, count, size)
                    if owners is None or (shape := _shape(owners)) in seen:
                        continue  # the same batch, up to the tenants' names
                    seen.add(shape)
                    contenders = serving.serving(
                        backbone, pools, peer, owners, bench.filler(count), *bench.ends
                    )
                    timings = measure_in_turn(
                        contenders, bench.device, repeats=settings["repeats"],
                        warmup=settings["warmup"], tokens=settings["new_tokens"], apart=True,
                    )  # fmt: skip
                    batch = {"rows": count, "pool": size, "popularity": popularity,
                             "distinct": len(set(owners))}  # fmt: skip
                    print(
                        f"\n{count} rows, {len(set(owners))} distinct of {size} tenants, {popularity}"
                    )
                    for name, timing in timings.items():
                        row = batch | _row(name, timing, timings["bare"])
                        row["bytes_per_tenant"] = (
                            pools[name].bytes_per_tenant if name in pools else None
                        )
                        rows.append(row)
                        low, high = row["ratio_5_95"]
                        print(
                            f"  {name:<28} {timing.whole.median:8.3f} s   {row['ratio_to_bare']:5.2f} of bare "
                            f"(5-95 %: {low:.2f}-{high:.2f})"
                        )
    lengths = {k: settings[k] for k in ("instruction_tokens", "new_tokens")}
    return {**lengths, "rows": rows}


@contextmanager
def _peft(backbone: Backbone, adapters: int) -> Iterator[serving.PeftMixture]:
    print(f"peft: making {adapters} adapters")
    peer = serving.PeftMixture(backbone, adapters)
    try:
        yield peer
    finally:
        peer.close()


def _shape(owners: Sequence[int]) -> tuple[int, ...]:
    """Return the rows' tenants, numbered by first appearance: equal for batches that differ only in tenants' names."""
    first = {owner: i for i, owner in enumerate(dict.fromkeys(owners))}
    return tuple(first[owner] for owner in owners)


def train(bench: Bench) -> Report:
    """Measure optimizer steps on the same rows, in every dtype, beside Trainer and peft."""
    settings, data = bench.settings, bench.rows()
    methods = {name: (plan.method, plan.hparams) for name, plan in bench.plans.items()}
    backbones = {bench.backbone.dtype_name: bench.backbone} | {
        dtype: bench.cast(dtype) for dtype in settings["dtypes"] if dtype != "auto"
    }
    contest = Contest(backbones, methods, data, settings["batch"])
    with progress("training", "measurement", settings["repeats"] * len(contest.learners)) as bar:
        for _ in range(settings["repeats"]):
            for key in contest.learners:
                bar.set_postfix_str(" ".join(key))
                contest.measure(key)
                bar.update()
    return {
        "batch": settings["batch"],
        "examples": len(data.examples),
        "tokens": sum(data.sizes),
        "peak_rate": contest.rates,
        "losses": contest.losses,
        "rows": contest.rows(),
    }


BENCHMARKS: Mapping[str, Callable[[Bench], Report]] = {
    "decode": decode,
    "table4": table4,
    "tenants": tenants,
    "train": train,
}
