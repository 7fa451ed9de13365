"""ResNet-50 at 224 pixels, M = 100, in bf16 on one card: images/s and the share of its peak.

Without a CUDA device the same code runs only in the smoke test.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from multibodies.bench import samples, step
from multibodies.bench.harness import Road, Row, Setting, Times, absent, alternate
from multibodies.bench.inference import Inference, sizes
from multibodies.core.body import JointBody, load_body
from multibodies.core.objective import Objective
from multibodies.core.quantizer import kmeans
from multibodies.core.regressor import Regressor
from multibodies.core.skinning import VertexBody

PAPER_MS = 140.0  # per image on a V100 (section 4)
# Dense bf16 FLOP/s by a part of the card's name (makers' data sheets); the first that fits.
PEAKS = {"H200": 989e12, "H100 PCIe": 756e12, "H100 NVL": 835e12, "H100": 989e12, "A100": 312e12}


def peak_flops(card: str) -> float | None:
    """Return a card's dense bf16 peak, or None if it is not in the table."""
    return next((peak for part, peak in PEAKS.items() if part in card), None)


def measure(setting: Setting) -> Iterator[Row]:
    """Yield images/s, share of the peak, and milliseconds per image against the paper's."""
    if setting.device.type != "cuda" and not setting.quick:
        yield absent("ResNet-50 in bf16", None, "needs --device cuda", "images/s")
        return
    images = 2 if setting.quick else 256
    roads = {"training": training_road, "inference": inference_road}
    made = {name: make(images, setting) for name, make in roads.items()}
    flops = {name: _flops(run) for name, run in made.items()}
    times = alternate("bf16", made, setting)
    for name in roads:
        yield from _rows(name, images, times[name], flops[name], setting)
    each = 1e3 * times["inference"].median / images
    shown = {"ms_per_image": round(each, 4)}
    unit = "x faster than the paper's 140 ms an image"
    yield Row("bf16 inference: paper / ours", PAPER_MS / each, 1, unit, extra=shown)


def training_road(images: int, setting: Setting) -> Road:
    """Return a step: network in bf16, the body and the losses of eq. 8 in float32."""
    spec, _, side = sizes(setting.quick)
    torch.manual_seed(0)
    model = Regressor(spec).to(setting.device).train()
    _channels_last(model)
    arrays = load_body()
    objective = Objective(JointBody(arrays), VertexBody(arrays), step.WEIGHTS, "sum")
    objective = objective.to(setting.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5, fused=True)
    pictures, truth = _pictures(images, side, setting), step.labels(images, setting.device)

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(setting.device.type, torch.bfloat16):
            bodies = model(pictures)
        objective(bodies, truth).total.mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 50.0)
        optimizer.step()

    return run


def inference_road(images: int, setting: Setting) -> Road:
    """Return images to n = 10 centroids: network in bf16, the rest in float32."""
    spec, prior, side = sizes(setting.quick)
    rest = Inference(spec, prior, setting.device, dtype=torch.bfloat16)
    _channels_last(rest.model)
    pictures = _pictures(images, side, setting)
    # an untrained network's hypotheses agree: K-means gets what a trained one would give it
    points = samples.hypotheses(images, spec.num_hypotheses).flatten(2).to(setting.device)
    weights = samples.weights(images, spec.num_hypotheses).to(setting.device)

    def run() -> None:
        rest(pictures)
        kmeans(points, weights, min(10, spec.num_hypotheses))

    return run


def _channels_last(model: nn.Module) -> None:
    """Lay convolutions out as tensor cores want them, in place."""
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def _pictures(images: int, side: int, setting: Setting) -> Tensor:
    pictures = torch.rand(images, 3, side, side, generator=samples.generator())
    return pictures.to(setting.device, memory_format=torch.channels_last)


def _flops(run: Road) -> int:
    """Count the multiplications and additions of one call, after a warm-up."""
    run()
    counter = FlopCounterMode(display=False)
    with counter:
        run()
    return counter.get_total_flops()


def _rows(name: str, images: int, times: Times, flops: int, setting: Setting) -> Iterator[Row]:
    title = f"bf16 {name}"
    yield Row(title, images / times.median, None, "images/s", images / times.least)
    on_card = setting.device.type == "cuda"
    card = torch.cuda.get_device_name(setting.device) if on_card else "CPU"
    peak = peak_flops(card)
    if peak is None:
        yield absent(f"{title}: share of peak", None, f"no peak known for {card}", "of bf16 peak")
        return
    share, best = (flops / seconds / peak for seconds in (times.median, times.least))
    shown = {"tflops_per_second": round(flops / times.median / 1e12, 1), "card": card}
    yield Row(f"{title}: share of peak", share, None, "of bf16 peak", best, extra=shown)
