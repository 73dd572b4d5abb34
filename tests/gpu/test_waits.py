"""How often the host waits for the device: each time, a GPU runs out of work."""

import pytest

from tests.gpu.on_devices import STAND_IN, backbone_on, decoded, method_on
from tests.gpu.stand_in import Device

pytestmark = STAND_IN


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("method", ["iapt", "lora"])
def test_decoding_waits_once_a_token(gpu: Device, method: str, beams: int, recorded: bool) -> None:
    """To learn which rows are settled."""
    waits = []
    backbone = backbone_on("cuda")
    method_on(backbone, method).attach(backbone)
    for tokens in (4, 12):
        before = gpu.waits
        decoded(backbone, beams, recorded=recorded, most=tokens, least=tokens)
        waits.append(gpu.waits - before)
    assert waits[1] - waits[0] == 12 - 4
