"""From prompt text to token ids: plain continuation for small models, chat templates for others.

A row of ids only ever grows. Sampled ids stay as they were sampled, and a further turn adds the ids of its
own text. Earlier turns are never rendered again, since several chat templates (Qwen3's among them) would
render them differently later on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from stepopsd_agent.config import Chat
from stepopsd_wrappers.text_history import MARKER

_SENTINEL = "@@stepopsd-assistant@@"


def encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, without special tokens added."""
    clean = [text.encode("utf-8", "replace").decode() for text in texts]
    return [list(row) for row in tokenizer(clean, add_special_tokens=False)["input_ids"]]


@dataclass(frozen=True)
class PromptFormat:
    """How the prompts of `TextHistory` become rows of ids for one tokenizer.

    Attributes:
        tokenizer: of the policy.
        chat: use the tokenizer's chat template; otherwise text continues text.
        system: system message of the chat; "" for none.
        template_args: extra arguments of the template, for example ``{"enable_thinking": False}``.
    """

    tokenizer: PreTrainedTokenizerBase
    chat: bool
    system: str = ""
    template_args: tuple[tuple[str, bool], ...] = ()

    def first_ids(self, prompt: str) -> list[int]:
        """Ids of the first prompt of a row."""
        text = self._render([*self._head(), _user(prompt)]) if self.chat else prompt
        return encode(self.tokenizer, [text])[0]

    def turn_ids(self, turn: str, closed: bool) -> list[int]:
        """Ids that a further turn adds after a response.

        Args:
            turn: the new text; it ends with the marker of `TextHistory`.
            closed: the response ended with a stop token. Otherwise (it was cut at the length limit) the stop
                token is added here.
        """
        stop = "" if closed else str(self.tokenizer.eos_token)
        if not self.chat:
            return encode(self.tokenizer, [stop + turn])[0]
        reply = {"role": "assistant", "content": _SENTINEL}
        rendered = self._render([*self._head(), _user("-"), reply, _user(turn)])
        after = rendered.rsplit(_SENTINEL, 1)[1]
        text = after.removeprefix(str(self.tokenizer.eos_token)) if closed else after
        return encode(self.tokenizer, [text])[0]

    def _head(self) -> list[dict[str, str]]:
        return [{"role": "system", "content": self.system}] if self.system else []

    def _render(self, messages: list[dict[str, str]]) -> str:
        options: dict[str, Any] = dict(self.template_args)
        return str(
            self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True, **options
            )
        )


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text.removesuffix(MARKER).strip()}


def make_format(
    tokenizer: PreTrainedTokenizerBase, chat: Chat = "auto", system: str = "", enable_thinking: bool = False
) -> PromptFormat:
    """Choose the format: ``chat`` is "auto" (template if the tokenizer has one), "on" or "off".

    Raises:
        ValueError: "on" without a template in the tokenizer.
    """
    has_template = bool(tokenizer.chat_template)
    if chat == "on" and not has_template:
        raise ValueError(
            "model.chat=on, but this tokenizer has no chat template; "
            "use model.chat=off (plain text) or another model"
        )
    return PromptFormat(
        tokenizer=tokenizer,
        chat=has_template if chat == "auto" else chat == "on",
        system=system,
        template_args=(("enable_thinking", enable_thinking),),
    )
