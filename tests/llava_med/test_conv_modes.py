"""A prompt given as a file is the one that LLaVA-Med's program makes of the same conversation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cxrgen.core.errors import InputError, UsageError
from cxrgen.llava_med.conv_modes import conversation_mode
from cxrgen.model.templates import INFERENCE_PROMPTS, fill_prompt

GOLDEN = Path(__file__).parents[1] / "golden" / "llava_med" / "tokens_regime_a.json"
SYSTEM = (
    "A chat between a curious {0} and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the {0}'s questions."
)
GREETING = [["Human", "Hi!"], ["Assistant", "Hi there!  How can I help you today?\n"]]
SIMPLE: dict[str, Any] = {
    "system": SYSTEM.format("human"),
    "roles": ["Human", "Assistant"],
    "messages": GREETING,
    "offset": 2,
    "sep": "###",
    "sep2": None,
}
VICUNA: dict[str, Any] = {
    "system": SYSTEM.format("user"),
    "roles": ["USER", "ASSISTANT"],
    "messages": [],
    "offset": 0,
    "sep": " ",
    "sep2": "</s>",
}


def mode_file(folder: Path, content: object) -> str:
    (folder / "mode.json").write_text(json.dumps(content))
    return str(folder / "mode.json")


@pytest.mark.parametrize(("mode", "content", "template"), [("simple", SIMPLE, "v0"), ("vicuna_v1_1", VICUNA, "v1")])
def test_the_recorded_prompts_come_out_of_a_file(
    tmp_path: Path, mode: str, content: dict[str, Any], template: str
) -> None:
    read, start = conversation_mode(mode_file(tmp_path, content))
    assert (read, start) == conversation_mode(mode) == (template, INFERENCE_PROMPTS[mode])
    recorded = [each for each in json.loads(GOLDEN.read_text())["inference_prompts"] if each["mode"] == mode]
    for each in recorded:
        marks = "<im_start>{}<im_end>" if each["use_im_start_end"] else "{}"
        image = marks.format("<im_patch>" * each["image_token_len"])
        assert fill_prompt(start, each["question"]).replace("<image>", image) == each["prompt"]
    assert len(recorded) == 4


def test_an_example_and_an_end_of_question_by_the_written_rule(tmp_path: Path) -> None:
    end = "\n\n### Response:"
    content = {
        **SIMPLE,
        "system": "Be brief.",
        "messages": [["Human", f"Hi!{end}"], GREETING[1], ["Human", None]],
        "question_end": end,
    }
    _, start = conversation_mode(mode_file(tmp_path, content))
    assert fill_prompt(start, "<image>\nWhy?") == (
        f"Be brief.###Human: Hi!{end}###Assistant: Hi there!  How can I help you today?\n###"
        f"Human:Human: Why?\n<image>{end}###"
    )
    pair = {**VICUNA, "messages": [["USER", "Hi!"], ["ASSISTANT", "Hello."]]}
    _, start = conversation_mode(mode_file(tmp_path, pair))
    assert fill_prompt(start, "Why?") == SYSTEM.format("user") + " USER: Hi! ASSISTANT: Hello.</s>USER: Why? "


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "Conversation.dict"),
        ({**SIMPLE, "messages": ["Hi!"]}, "Conversation.dict"),
        ({"system": "x"}, "Conversation.dict"),
        ({**SIMPLE, "roles": ["Human"]}, "Conversation.dict"),
        ({**SIMPLE, "sep": "\n"}, "separators"),
        ({**SIMPLE, "sep2": "</s>"}, "separators"),
        ({**SIMPLE, "system": 3}, "are texts"),
        ({**SIMPLE, "roles": "HA"}, "are lists"),
        ({**SIMPLE, "messages": ["ab"]}, "are lists"),
        ({**SIMPLE, "messages": [[None, "Hi!"]]}, "are texts"),
        ({**SIMPLE, "messages": [["Human", 0]]}, "are texts"),
        ({**SIMPLE, "system": "\ud800"}, "are texts"),
        ({**SIMPLE, "system": "{question}"}, "leave them out"),
        ({**SIMPLE, "question_end": "<image>"}, "leave them out"),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path: Path, content: object, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        conversation_mode(mode_file(tmp_path, content))
    assert "mode.json" in str(error.value)
    assert "\n" not in str(error.value)


def test_names_that_are_not_here(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"give it as FILE\.json"):
        conversation_mode("default")
    with pytest.raises(UsageError, match=r"choose from simple.*FILE\.json"):
        conversation_mode("simpel")
    with pytest.raises(InputError, match=r"none\.json"):
        conversation_mode(tmp_path / "none.json")
