"""A step of an LSTM language model, 2×200 units, 10,000 words, 20 lanes of 20 tokens, beside a loop in plain torch.

Both have the same weights, read the same lanes, carry the state, clip the gradient's norm and take a step of SGD.
"""

from __future__ import annotations

import statistics

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.harness import Row, alternate, compared, cpu_seconds
from danlu.data import Lanes, Part
from danlu.models import LanguageModel
from danlu.rng import generator
from danlu.tasks import Language
from danlu.training import OptimizerSettings, Runtime, Trainer

VOCABULARY, WIDTH, LAYERS, LANES, STEPS, LR, CLIP = 10_000, 200, 2, 20, 20, 1.0, 0.25
ROUNDS, PAIRS, TARGET = 10, 15, 1.3


class Plain(nn.Module):
    """What one writes from torch's own layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.lstm = nn.LSTM(WIDTH, WIDTH, LAYERS, batch_first=True)
        self.output = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, tokens: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        x, state = self.lstm(self.embedding(tokens), state)
        return self.output(x), state


def run() -> list[Row]:
    """One row, in milliseconds a step: of processor time on one thread, or, where there is a GPU, of the GPU's time."""
    torch.set_num_threads(1)
    runtime = Runtime.start("auto")
    device = runtime.device
    part = Part({"token": torch.randint(VOCABULARY, (LANES * STEPS * ROUNDS + 1,), generator=generator("text", 0))})
    stream = Lanes(part.to(device), LANES, STEPS, 0, device)
    apart = _apart(stream, runtime)
    pairs = alternate(lambda: _plain(stream, device)[0], lambda: _ours(stream, runtime)[0], PAIRS)
    found = compared(pairs)
    speed = LANES * STEPS / statistics.median(b for _, b in pairs) * 1e3
    row = Row(
        name="language" if device.type == "cpu" else f"language-{device.type}",
        peer=f"plain torch {torch.__version__}",
        unit="ms",
        **found,
        target=f"at least {TARGET} times as fast",
        met=found["ratio"] >= TARGET and apart <= 1e-4,
        notes=f"{speed:,.0f} tokens/s; after {ROUNDS} steps the weights are {apart:.0e} apart; danlu's step includes "
        f"the check for NaN; {torch.backends.cpu.get_cpu_capability()}",
    )
    return [row]


def _model() -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(VOCABULARY, width=WIDTH, layers=LAYERS)


def _plain(stream: Lanes, device: torch.device) -> tuple[float, dict[str, Tensor]]:
    """Milliseconds a step, and the weights in the end."""
    net, ours = Plain(), _model()
    _copy(ours, net)
    net.to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=LR, fused=True)

    def loop() -> None:
        state = None
        for position in range(ROUNDS):
            batch = stream.batch(position, slice(0, LANES))
            logits, state = net(batch["token"], state)
            loss = F.cross_entropy(logits.flatten(0, 1), batch["target"].flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), CLIP)
            optimizer.step()
            state = state[0].detach(), state[1].detach()

    return _timed(loop, device), dict(net.named_parameters())


def _ours(stream: Lanes, runtime: Runtime) -> tuple[float, dict[str, Tensor]]:
    """The same through the trainer."""
    task = Language(_model(), LANES)
    trainer = Trainer(task, OptimizerSettings(optimizer="sgd", lr=LR, grad_clip=CLIP), stream, ROUNDS, runtime=runtime)

    def loop() -> None:
        for _ in trainer:
            pass

    seconds = _timed(loop, runtime.device)
    net = Plain().to(runtime.device)
    _copy(task.language, net)
    return seconds, dict(net.named_parameters())


def _timed(loop: object, device: torch.device) -> float:
    assert callable(loop)
    if device.type != "cuda":
        return cpu_seconds(loop) / ROUNDS * 1e3
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    loop()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / ROUNDS


@torch.no_grad()
def _copy(ours: LanguageModel, net: Plain) -> None:
    assert ours.embedding is not None
    assert ours.bias is not None
    net.embedding.weight.copy_(ours.embedding.weight)
    net.output.weight.copy_(ours.output)
    net.output.bias.copy_(ours.bias)
    net.lstm.load_state_dict(ours.layers.state_dict())


def _apart(stream: Lanes, runtime: Runtime) -> float:
    """The largest difference of a weight after the same steps."""
    (_, theirs), (_, ours) = _plain(stream, runtime.device), _ours(stream, runtime)
    return max(float((theirs[name] - ours[name]).detach().abs().max()) for name in theirs)
