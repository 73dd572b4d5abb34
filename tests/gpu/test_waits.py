"""How often the host waits for the device: each time, a GPU runs out of work."""

import pytest

from iapt.inference.generate import decode_batch
from tests.gpu.on_devices import STAND_IN, backbone_on, method_on
from tests.gpu.stand_in import stand_in
from tests.tiny import EOS, PAD, encoded, padded

pytestmark = STAND_IN


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("method", ["iapt", "lora"])
def test_decoding_waits_once_a_token(method: str, beams: int, recorded: bool) -> None:
    """To learn which rows are settled."""
    waits = []
    with stand_in() as device:
        backbone = backbone_on("cuda")
        method_on(backbone, method).attach(backbone)
        ids, mask = (t.to("cuda") for t in padded([t.instruction for t in encoded()], "left"))
        for tokens in (4, 12):
            before = device.waits
            decode_batch(
                backbone,
                ids,
                mask,
                num_beams=beams,
                max_new_tokens=tokens,
                min_new_tokens=tokens,
                eos_token_id=EOS,
                pad_token_id=PAD,
                recorded=recorded,
            )
            waits.append(device.waits - before)
    assert waits[1] - waits[0] == 12 - 4
