"""The chat template of a checkpoint: its own prompt as Jinja, which other tools render from messages.

`processor.apply_chat_template(messages_of(conversation), add_generation_prompt=True)` gives the token ids of
`conversation.encode_prompt`, so pipelines, TRL and vLLM's server ask the model as it was trained. A message's parts are
joined as they are: nothing is put between text and image. One difference remains: Jinja cannot mark words as mere text,
so special tokens that a user types are tokens there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from cxrgen.core.records import Turn
from cxrgen.model.conversation import Format
from cxrgen.model.llama_tokenizer import IMAGE_END, IMAGE_START
from cxrgen.model.templates import HUMAN, SYSTEM_V0, SYSTEM_V1, speaker_of
from cxrgen.text.prompts import IMAGE

# `words` of a message: its text, images as their token; {escape} stands for what the template escapes.
_WORDS = """{{%- macro words(message) -%}}
{{%- set ns = namespace(text='') -%}}
{{%- if message['content'] is string -%}}{{%- set ns.text = message['content'] -%}}
{{%- else -%}}
{{%- for part in message['content'] -%}}
{{%- if part['type'] == 'image' -%}}{{%- set ns.text = ns.text + {image} -%}}
{{%- elif part['type'] == 'text' -%}}{{%- set ns.text = ns.text + part['text'] -%}}
{{%- else -%}}{{{{ raise_exception('this model takes text and images') }}}}
{{%- endif -%}}
{{%- endfor -%}}
{{%- endif -%}}
{escape}{{{{ ns.text }}}}
{{%- endmacro -%}}
{{{{- bos_token if {begin} else '' -}}}}{{{{- {system} -}}}}
{{%- for message in messages -%}}
{{%- if message['role'] == 'user' -%}}{{{{- {user} -}}}}
{{%- elif message['role'] == 'assistant' -%}}{{{{- {assistant} -}}}}
{{%- else -%}}{{{{ raise_exception('this model knows the roles user and assistant') }}}}
{{%- endif -%}}
{{%- endfor -%}}
{{{{- {prompt} if add_generation_prompt else {end} -}}}}"""
_ESCAPES = {
    "v0": "{%- for _ in range(40) -%}{%- set ns.text = ns.text.replace('###', '##') -%}{%- endfor -%}",
    "v1": "{%- set ns.text = ns.text.replace('</s>', '< /s>') -%}",
}
_PARTS = {  # system text, user turn, assistant turn, what generation starts from, what training text ends with
    "plain": ("''", "words(message) + '\\n'", "words(message) + eos_token", "''", "''"),
    "v0": (
        json.dumps(SYSTEM_V0),
        "'### Human: ' + words(message) + '\\n'",
        "'### Assistant: ' + words(message) + '\\n'",
        "'### Assistant:'",
        "'### '",
    ),
    "v1": (
        json.dumps(SYSTEM_V1),
        "'USER: ' + words(message) + ' '",
        "'ASSISTANT: ' + words(message) + '</s>'",
        "'ASSISTANT:'",
        "''",
    ),
    "mistral": ("''", "'[INST] ' + words(message) + ' [/INST]'", "' ' + words(message) + ' </s>'", "''", "''"),
}


def chat_template(format: Format, begin: bool) -> str:
    """The Jinja template of a format; `begin`: prompts start with the tokenizer's begin token."""
    image = f"{IMAGE_START}{format.image_token}{IMAGE_END}" if format.start_end else format.image_token
    system, user, assistant, prompt, end = _PARTS[format.template]
    return _WORDS.format(
        image=json.dumps(image),
        escape=_ESCAPES.get(format.template, ""),
        begin=str(begin).lower(),
        system=system,
        user=user,
        assistant=assistant,
        prompt=prompt,
        end=end,
    )


def messages_of(turns: Sequence[Turn], images: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """Turns as chat messages; `images`, files or pictures, take the place of the first `<image>` of the human turns."""
    left = list(images)
    messages = []
    for turn in turns:
        human = speaker_of(turn.role) == HUMAN
        parts: list[dict[str, Any]] = []
        for number, text in enumerate(turn.text.split(IMAGE, len(left)) if human else [turn.text]):
            if number:
                parts.append({"type": "image", "image": left.pop(0)})
            if text:
                parts.append({"type": "text", "text": text})
        messages.append({"role": "user" if human else "assistant", "content": parts})
    return messages
