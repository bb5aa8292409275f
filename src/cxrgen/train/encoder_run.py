"""A run on sets of labels alone (`--warmup_data` without `--data_path`), which ends with the encoder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cxrgen.core.errors import InputError
from cxrgen.core.files import write_json
from cxrgen.core.progress import say
from cxrgen.train.config import TrainConfig, flat_values, names_in
from cxrgen.train.distributed import Processes
from cxrgen.train.export import with_data_format
from cxrgen.train.init_model import init_model
from cxrgen.train.prepared_sets import data_recipe
from cxrgen.train.run_page import RunPage
from cxrgen.train.run_report import RECORD, versions, write_recipe
from cxrgen.train.stages import Stage, sampler_config
from cxrgen.train.warmup import VISION_TOWER
from cxrgen.train.warmup_stages import warm_up


def train_encoder(config: TrainConfig, out: Path, processes: Processes) -> list[float]:
    """A run on sets of labels alone: returns the loss of each step. Raises InputError where a run has ended before."""
    if (out / RECORD).is_file() and not config.checkpoint.overwrite_output_dir:
        raise InputError(
            f"{out}: holds a finished run; give another --output_dir, or --overwrite_output_dir starts anew"
        )
    checkpoint = init_model(config.model, config.tiny, [], config.seed)
    checkpoint = replace(checkpoint, model=checkpoint.model.to(processes.device))
    recipe = data_recipe(Path(names_in(config.warmup.warmup_data)[0]))
    checkpoint = with_data_format(checkpoint, recipe, config.data)
    sampler = sampler_config(config.optim, config.seed, 0.0, processes.count)
    stage = Stage(checkpoint, config.data, sampler, processes, out)
    warm_up(stage, config.warmup, config.optim, None, out)
    if processes.is_main:
        write_recipe(out, config)
        write_json(out / RECORD, {"arguments": flat_values(config), "versions": versions()})
        RunPage(out, flat_values(config), config.log).update()
        say(f"the vision encoder is in {out / VISION_TOWER}; --vision_tower takes it")
    processes.barrier()
    return []
