import torch
from torch import Tensor, nn

from wsi_specdec.config import TrainConfig
from wsi_specdec.training.averaging import Average, ema_decay, first_averaged


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def set_to(module: nn.Module, value: float) -> None:
    for tensor in module.state_dict().values():
        tensor.fill_(value)


def values(average: Average) -> list[Tensor]:
    return list(average.module.state_dict().values())


def test_no_mean_is_made_unless_asked_for() -> None:
    assert Average.of(network(), TrainConfig()) is None


def test_the_exponential_mean_is_its_closed_form() -> None:
    config = TrainConfig(average="ema", ema_decay=0.5)
    module = network()
    average = Average.of(module, config)
    assert average is not None
    set_to(module, 8)
    set_to(average.module, 8)
    expected = 8.0
    for step, value in enumerate([2, 4, 16, 1, 7, 3, 5, 9, 2, 6, 1, 8]):
        set_to(module, value)
        average.after_step(step, config)
        average.after_epoch(step, config)
        decay = min(0.5, (1 + step) / (10 + step))
        assert ema_decay(step, 0.5) == decay
        expected = decay * expected + (1 - decay) * value
    assert ema_decay(100, 0.5) == 0.5
    for tensor in values(average):
        wanted = torch.full_like(tensor, expected if tensor.is_floating_point() else 8)
        torch.testing.assert_close(tensor, wanted)
    assert not any(p.requires_grad for p in average.module.parameters())
    assert all(bool((t == 8).all()) for t in module.state_dict().values())


def test_the_stochastic_mean_is_that_of_the_last_epochs() -> None:
    config = TrainConfig(average="swa", swa_start=0.5, epochs=6)
    assert first_averaged(config) == 3
    module = network()
    average = Average.of(module, config)
    assert average is not None
    means = []
    for epoch, value in enumerate([9, 9, 5, 2, 4, 9]):
        set_to(module, value)
        average.after_step(epoch, config)
        average.after_epoch(epoch, config)
        means.append(float(next(average.module.parameters()).detach().flatten()[0]))
    assert means == [9, 9, 5, 2, 3, 5]
