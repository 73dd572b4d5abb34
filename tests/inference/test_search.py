"""Our search against `generate`, on a language that is a table: thousands of searches in seconds."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import GenerationConfig, GenerationMixin, PretrainedConfig
from transformers.modeling_outputs import CausalLMOutputWithPast

from iapt.inference import search as module
from iapt.inference.search import Rules, search

WORDS = 17
EOS, PAD = 1, 2


class Language:
    """Next-token logits (N, V) of texts (N, T), at random but fixed; the end token's are shifted."""

    def __init__(self, seed: int, end: float, sharpness: float) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.table = sharpness * torch.randn(997, WORDS, generator=draw)
        self.table[:, EOS] += end

    def logits(self, texts: Tensor) -> Tensor:
        key = torch.zeros(len(texts), dtype=torch.long)
        for column in texts.T:
            key = (key * 31 + column + 1) % 997
        return self.table[key].clone()


class Reader:
    """Keeps what its rows have read, as a model's cache does."""

    def __init__(self, language: Language, first: Tensor, beams: int) -> None:
        self.language, self.beams = language, beams
        self.texts = first.repeat_interleave(beams, 0)
        self.fed: list[int] = []

    def step(self, tokens: Tensor) -> Tensor:
        self.texts = torch.cat([self.texts, tokens[:, None]], 1)
        self.fed.append(len(tokens))
        return self.language.logits(self.texts)

    def reorder(self, beams: Tensor) -> None:
        texts = self.texts.view(len(beams), self.beams, -1)
        self.texts = texts.gather(1, beams[..., None].expand_as(texts)).flatten(0, 1)

    def keep(self, rows: Tensor) -> None:
        self.texts = self.texts.unflatten(0, (-1, self.beams))[rows].flatten(0, 1)


class Hub(nn.Module, GenerationMixin):
    """The language as `generate` wants it: no cache, whole texts."""

    main_input_name = "input_ids"
    _is_stateful = False
    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, language: Language) -> None:
        super().__init__()
        self.config, self.generation_config = PretrainedConfig(), GenerationConfig()
        self._language = language

    def can_generate(self) -> bool:
        return True

    def forward(
        self, input_ids: Tensor, attention_mask: Any = None, **kwargs: Any
    ) -> CausalLMOutputWithPast:
        return CausalLMOutputWithPast(logits=self._language.logits(input_ids)[:, None])

    def prepare_inputs_for_generation(self, input_ids: Tensor, **kwargs: Any) -> dict[str, Any]:
        return {"input_ids": input_ids}

    def _prepare_cache_for_generation(self, *args: Any, **kwargs: Any) -> None: ...

    def _optimize_model_for_decode(self) -> AbstractContextManager[None]:
        return nullcontext()


def both(
    seed: int, rows: int, beams: int, new: int, end: float, sharpness: float, at_least: int
) -> tuple[Tensor, Tensor, list[int]]:
    """What we find, what `generate` finds, and how many tokens each of our steps fed."""
    language = Language(seed, end, sharpness)
    first = torch.arange(3, 3 + rows)[:, None]
    reader = Reader(language, first, beams)
    rules = Rules(beams, new, EOS, PAD, at_least)
    found = search(language.logits(first), reader, rules)
    config = GenerationConfig(
        num_beams=beams,
        max_new_tokens=new,
        do_sample=False,
        eos_token_id=EOS,
        pad_token_id=PAD,
        min_new_tokens=at_least or None,
        use_cache=False,
    )
    with torch.no_grad():
        expected = Hub(language).generate(  # type: ignore[operator]
            first, generation_config=config, attention_mask=torch.ones_like(first)
        )
    return found, expected[:, 1:], reader.fed


def cases() -> Iterator[tuple[int, int, int, float, float, int]]:
    for beams in (1, 2, 3, 5):
        for new in (1, 2, 7, 12):
            for end in (-2.0, 0.5, 2.0):
                for sharpness, at_least in ((0.5, 0), (3.0, 0), (1.0, 2)):
                    yield beams, new, end, sharpness, min(at_least, new), 4


@pytest.mark.parametrize("share", [0.0, 0.75, 1.0])
def test_answers_are_generates(share: float, monkeypatch):
    """Whether settled rows leave the batch never, at times, or at once."""
    monkeypatch.setattr(module, "SHRINK", share)
    lengths = set()
    for seed, (beams, new, end, sharpness, at_least, rows) in enumerate(cases()):
        found, expected, _ = both(seed, rows, beams, new, end, sharpness, at_least)
        assert torch.equal(found, expected), (seed, beams, new, end, sharpness, at_least)
        lengths.add(found.shape[1])
    assert len(lengths) > 5


@pytest.mark.parametrize("beams", [8, 9, WORDS])
def test_there_may_be_as_many_beams_as_words(beams: int):
    for new in (1, 4):
        found, expected, _ = both(3, 3, beams, new, 0.5, 1.0, 0)
        assert torch.equal(found, expected)


def test_probabilities_are_not_rounded_to_the_models_dtype():
    logits = torch.zeros(1, 300, dtype=torch.bfloat16)
    logits[0, 250] = 0.01  # the log-probabilities, about -5.7, are rounded to multiples of 0.03
    for beams in (1, 2):
        rules = Rules(beams, 1, EOS, PAD)
        assert search(logits, Reader(Language(0, 0.0, 1.0), logits, beams), rules).tolist() == [
            [250]
        ]


def test_settled_rows_are_not_fed_any_longer():
    found, _, fed = both(7, 8, 3, 30, 1.0, 2.0, 0)
    ends = [(row == EOS).nonzero()[:1].tolist() for row in found]
    assert len({str(end) for end in ends}) > 2
    assert fed[0] == 8 * 3
    assert fed[-1] < fed[0]
    assert sorted(fed, reverse=True) == fed


def test_an_end_token_outside_the_vocabulary_never_comes():
    language = Language(0, 0.0, 1.0)
    first = torch.tensor([[3]])
    rules = Rules(3, 5, 10**6, PAD, 5)
    assert search(language.logits(first), Reader(language, first, 3), rules).shape == (1, 5)
