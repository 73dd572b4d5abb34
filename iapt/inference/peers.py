"""Other libraries doing the same work, timed beside ours: peft, transformers' Trainer."""

import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from iapt.backbone.base import Backbone
from iapt.backbone.quantized import without_log
from iapt.data.encode import Batch
from iapt.errors import ConfigError
from iapt.methods.base import Method
from iapt.methods.peft_format import save_peft
from iapt.training.lookahead import nudge
from iapt.training.step import Data, response

TARGETS = {
    "llama": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "gpt2": ["c_attn", "c_proj", "c_fc"],
    "gpt_neox": ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"],
}


@contextmanager
def peft_lora(backbone: Backbone) -> Iterator[Any]:
    """Wrap a backbone's weights in peft's version of the paper's LoRA (rank 4, every projection).

    Raises:
        ConfigError: peft is not installed.
    """
    try:
        with without_log():  # peft imports bitsandbytes
            from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise ConfigError(
            "iapt-bench compares with peft: pip install peft (`make setup` does)."
        ) from error
    backbone.detach()
    family = backbone.dims.family
    config = LoraConfig(
        r=4, lora_alpha=8, target_modules=TARGETS[family], fan_in_fan_out=family == "gpt2"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft's, about transformers
        model = get_peft_model(backbone.model, config)
        try:
            yield model
        finally:
            model.unload()
            backbone.model.requires_grad_(False)


def trainer_seconds(backbone: Backbone, batches: Sequence[Batch]) -> float:
    """Return the seconds that transformers' Trainer over a peft LoRA takes for optimizer steps.

    Args:
        backbone: the backbone whose weights it uses.
        batches: one per step; the first step is not timed.
    """
    from transformers import Trainer, TrainingArguments
    from transformers.trainer_callback import PrinterCallback

    def load(items: list[dict[str, int]]) -> dict[str, Any]:
        return _inputs(batches[items[0]["index"]])

    with tempfile.TemporaryDirectory() as folder, peft_lora(backbone) as model:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                folder,
                per_device_train_batch_size=1,  # an item is a whole batch
                max_steps=len(batches),
                report_to="none",
                disable_tqdm=True,
                save_strategy="no",
                logging_strategy="no",
                remove_unused_columns=False,
                use_cpu=backbone.device.type == "cpu",
                train_sampling_strategy="sequential",
            ),
            train_dataset=[{"index": i} for i in range(len(batches))],
            data_collator=load,
        )
        trainer.remove_callback(PrinterCallback)
        model.train()
        started: list[float] = []
        inner = trainer.training_step

        def stamped(*args: Any, **kwargs: Any) -> Any:
            started.append(time.perf_counter())
            return inner(*args, **kwargs)

        trainer.training_step = stamped
        trainer.train()
        ended = time.perf_counter()
    return ended - started[1]


def losses_of_both(backbone: Backbone, method: Method, data: Data) -> tuple[float, float]:
    """Return the loss of the same rows by our engine and by peft over transformers' own model.

    Args:
        backbone: left detached.
        method: one that peft also has; its parameters are moved a little, so that it changes the model.
        data: rows of one batch.
    """
    from peft import PeftModel

    nudge(method.parameters())
    batch = data.batch(range(len(data.examples))).to(backbone.device)
    backbone.detach()
    method.attach(backbone)
    with torch.no_grad():
        found = response(backbone, batch, data.eos_token_id)
    backbone.detach()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save_peft(Path(folder), method, backbone, None)
        model = PeftModel.from_pretrained(backbone.model, folder)
        try:
            with torch.no_grad():
                theirs = model(**_inputs(batch)).loss
        finally:
            model.unload()
            backbone.model.requires_grad_(False)
    return float(found.loss) / found.tokens, float(theirs)


def _inputs(batch: Batch) -> dict[str, Any]:
    return {
        "input_ids": batch.input_ids,
        "attention_mask": batch.attention_mask.long(),
        "labels": batch.labels,
    }
