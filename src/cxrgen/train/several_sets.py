"""Several prepared sets read as one: `--data_path A B`.

Ids get the name of their set in front, and images are named from the folder that holds all sets, so that studies of one
id stay apart; a set trained on alone keeps its names.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cxrgen.core.errors import InputError
from cxrgen.core.records import Conversation, Study, View
from cxrgen.model.batches import Sample
from cxrgen.text.context import Prior
from cxrgen.train.config import DataConfig
from cxrgen.train.data import SamplerConfig, SftData, read_sft_data
from cxrgen.train.mixing import parsed_mix
from cxrgen.train.prepared_sets import set_names


def read_data(config: DataConfig) -> SftData:
    """The data of `--data_path`, of one set or of several joined."""
    if len(config.paths) == 1:
        return read_sft_data(config)
    return joined(read_sets(config))


def read_sets(config: DataConfig) -> dict[str, SftData]:
    """The data of each set by its name."""
    return {
        name: read_sft_data(replace(config, data_path=str(path)))
        for name, path in zip(set_names(config.paths), config.paths)
    }


def joined(sets: Mapping[str, SftData]) -> SftData:
    """The sets one behind the other; paths of images start in the folder that holds all of them."""
    folder = Path(os.path.commonpath([data.folder.absolute() for data in sets.values()]))
    parts = [_renamed(name, data, data.folder.absolute().relative_to(folder)) for name, data in sets.items()]
    return SftData(
        folder,
        tuple(study for part in parts for study in part.studies),
        tuple(variants for part in parts for variants in part.variants),
        tuple(reject for part in parts for reject in part.rejects),
        {name: prior for part in parts for name, prior in part.priors.items()},
    )


def with_mix(sampler: SamplerConfig, config: DataConfig, samples: Sequence[Sequence[Sample]]) -> SamplerConfig:
    """The sampler with the sets' sizes and shares. Raises InputError where nothing of a set can be used."""
    if not config.mix:
        return sampler
    names = set_names(config.paths)
    sizes = tuple(sum(each[0].id.startswith(f"{name}/") for each in samples) for name in names)
    for name, size in zip(names, sizes):
        if not size:
            raise InputError(f"{name}: none of its studies can be used, so it has no share; see rejects.csv")
    return replace(sampler, sizes=sizes, mix=parsed_mix(config.mix, len(names)))


def _renamed(name: str, data: SftData, folder: Path) -> SftData:
    """One set with its name in front of ids and its folder in front of images."""

    def images(views: tuple[View, ...]) -> tuple[View, ...]:
        return tuple(replace(view, path=(folder / view.path).as_posix()) for view in views)

    def study(each: Study) -> Study:
        return replace(each, study_id=f"{name}/{each.study_id}", views=images(each.views))

    def conversation(each: Conversation) -> Conversation:
        paths = tuple((folder / path).as_posix() for path in each.images)
        return replace(each, id=f"{name}/{each.id}", images=paths)

    def prior(each: Prior) -> Prior:
        return replace(each, views=images(each.views))

    return SftData(
        folder,
        tuple(map(study, data.studies)),
        tuple(tuple(map(conversation, variants)) for variants in data.variants),
        tuple(replace(reject, id=f"{name}/{reject.id}") for reject in data.rejects),
        {f"{name}/{each}": prior(value) for each, value in data.priors.items()},
    )
