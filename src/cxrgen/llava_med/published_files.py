"""Every file that the original's README offers: size, hash, and where to look for it, in order.

Sizes and hashes are those of the pointers in LLaVA-Med's repository; where there is none, the size is the rounded one
of the README. The links of the README come first although they are reported dead: a mirror may revive them.
"""

from __future__ import annotations

from dataclasses import dataclass

_BLOB = "https://hanoverprod.z21.web.core.windows.net/med_llava/"
_LFS = "https://media.githubusercontent.com/media/microsoft/LLaVA-Med/d406e3fc7c3d1e4c797a7676de18cbfd070b6d2c/data/"
_RAW = "https://raw.githubusercontent.com/microsoft/LLaVA-Med/821e1c7e34a458ef492b63da26e6863b55e05abf/data/"


@dataclass(frozen=True)
class Published:
    """One file: `place` is its path below the download folder; `slack` is by how much its size may differ."""

    group: str
    place: str
    bytes: int
    sha256: str  # "" = not known
    sources: tuple[str, ...]
    slack: int = 0
    otherwise: str = ""  # where else to get it by hand

    @property
    def name(self) -> str:
        return self.place.rpartition("/")[2]


def _data(group: str, place: str, size: int, sha256: str) -> Published:
    return Published(group, place, size, sha256, (_BLOB + place, _LFS + place))


FILES = (
    _data(
        "alignment",
        "alignment/llava_med_alignment_500k.json",
        358_112_840,
        "007456f3d6c2091466b3fb6cd0573f61a63fd0c937e568f44113d5a1f23e8b93",
    ),
    _data(
        "instruct",
        "instruct/llava_med_instruct_10k.json",
        20_176_754,
        "84f75c2b83404fe7dd1631212b4ad73228a0dad77bb819ab29c511a535a279c8",
    ),
    _data(
        "instruct",
        "instruct/llava_med_instruct_60k.json",
        88_758_916,
        "cf84c82fb58e391d6cf198e2657b6fc8584a180509b8813c3604ce46f6275c19",
    ),
    _data(
        "instruct",
        "instruct/llava_med_instruct_60k_inline_mention.json",
        87_669_379,
        "b3649f4193a51215aee4519b44d8436a4200e182d6a78a3cb78672d97bea948a",
    ),
    _data(
        "instruct",
        "instruct/llava_med_instruct_fig_captions.json",
        169_224_662,
        "1d58b7befd2687695cbba04e4f51fd648899b25f4f567815eb49538faf6f07fb",
    ),
    Published(
        "eval",
        "eval/llava_med_eval_qa50_qa.jsonl",
        262_328,  # 256.18 KiB
        "",
        (_BLOB + "eval/llava_med_eval_qa50_qa.jsonl", _RAW + "eval/llava_med_eval_qa50_qa.jsonl"),
        slack=2048,
    ),
    _data(
        "eval",
        "eval/llava_med_eval_qa50_fig_captions.json",
        53_066,
        "64a4de84f8959a049ab9de68572318c6a299194b24368084159ef1f4a259aa66",
    ),
    _data(
        "eval",
        "eval/llava_med_qa50_instruct_caption_in_text_cleaned-60k-3epoch.json",
        103_392,
        "442b2ea3bda35ddcd57475f350ee6b2e938da02835792232925b01fde0a288ef",
    ),
    _data(
        "image-urls",
        "llava_med_image_urls.jsonl",
        128_785_989,
        "2604441ec3d1f6324d21846cfd44f92eab29454beed1da42a98d943b41731e44",
    ),
    Published(
        "delta",
        "models/llava_med_in_text_60k_ckpt2_delta.zip",
        11_060_000_000,  # "11.06 GB"
        "",
        (_BLOB + "models/llava_med_in_text_60k_ckpt2_delta.zip",),
        slack=900_000_000,
        otherwise="`cxrgen merge --delta microsoft/llava-med-7b-delta` takes the same weights from the hub",
    ),
)
GROUPS = ("alignment", "instruct", "eval", "image-urls", "delta")
