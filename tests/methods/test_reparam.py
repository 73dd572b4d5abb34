"""Vectors as latents times a projection."""

import torch

from iapt.methods.reparam import Reparameterised


def test_one_projection_is_shared_or_each_vector_has_its_own():
    torch.manual_seed(0)
    shared = Reparameterised(3, 2, 5, projection_std=1.0)
    for i in range(3):
        torch.testing.assert_close(shared()[i], shared.latent[i] @ shared.projection)
    own = Reparameterised(3, 2, 5, projection_std=1.0, own_projection=True)
    for i in range(3):
        torch.testing.assert_close(own()[i], own.latent[i] @ own.projection[i])
    assert sum(p.numel() for p in shared.parameters()) == 3 * 2 + 2 * 5
    assert sum(p.numel() for p in own.parameters()) == 3 * 2 + 3 * 2 * 5


def test_vectors_start_at_zero_and_still_move():
    torch.manual_seed(0)
    vectors = Reparameterised(1, 4, 6)
    assert not vectors().any()
    assert vectors.latent.std() > 0.3
    vectors().sum().backward()
    assert vectors.projection.grad.abs().min() > 0  # through the latent, which is not zero
    assert not vectors.latent.grad.any()


def test_the_start_has_the_scale_asked_for():
    torch.manual_seed(0)
    vectors = Reparameterised(500, 40, 30, latent_std=2.0, projection_std=0.5)
    assert abs(vectors.latent.std() - 2.0) < 0.05
    assert abs(vectors.projection.std() - 0.5) < 0.05
    assert abs(Reparameterised(500, 40, 30).latent.std() - 1.0) < 0.05, "z ~ N(0, 1)"
