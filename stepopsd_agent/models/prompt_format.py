"""From prompt text to token ids: plain continuation for small models, chat templates for others.

A row of ids only ever grows. Sampled ids stay as they were sampled, and a further turn adds the ids of its
own text. Earlier turns are never rendered again, since several chat templates (Qwen3's among them) would
render them differently later on.

Where a response ends is decided here alone: the rollout, the warm start and records of texts ask the format.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from transformers import PreTrainedTokenizerBase

from stepopsd_agent.config import Chat
from stepopsd_wrappers.text_history import MARKER

_SENTINEL = "@@stepopsd@@"


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

    @cached_property
    def end_id(self) -> int:
        """The token that ends a response.

        In a chat that is what the template writes after one: the tokenizer's eos token where it is among it,
        else the first control token (Gemma, Phi-4). Text, and a template that writes none, ends at eos.

        Raises:
            ValueError: the tokenizer has no eos token, and its template writes no end.
        """
        eos: int | None = self.tokenizer.eos_token_id
        written = encode(self.tokenizer, [self._written])[0]
        control = set(self.tokenizer.added_tokens_decoder) - {self.tokenizer.bos_token_id}
        found = eos if eos in written else next((i for i in written if i in control), eos)
        if found is None:
            raise ValueError(
                "this tokenizer has no eos token, so a response would have no end: set tokenizer.eos_token "
                "to the token that ends one, and save the tokenizer with the model"
            )
        return int(found)

    def response_ids(self, text: str) -> list[int]:
        """Ids of a whole response that was not sampled: its text and its end."""
        return [*encode(self.tokenizer, [text])[0], self.end_id]

    def turn_ids(self, turn: str, closed: bool) -> list[int]:
        """Ids that a further turn adds after a response.

        Args:
            turn: the new text; it ends with the marker of `TextHistory`.
            closed: the response ended with `end_id`. Otherwise (it was cut at the length limit, or ended with
                another stop token) the end is added here.
        """
        end = str(self.tokenizer.convert_ids_to_tokens(self.end_id))
        after = self._after(_user(turn)) if self.chat else turn
        before, written, _ = self._written.partition(end)
        if not written:  # text, or a template that writes no end
            text = after if closed else end + after
        else:
            text = after[len(before + written) :] if closed else after
        return encode(self.tokenizer, [text])[0]

    @cached_property
    def _written(self) -> str:
        """What the template writes between a response and the next user's text; nothing without a chat."""
        return self._after(_user(_SENTINEL)).partition(_SENTINEL)[0] if self.chat else ""

    def _after(self, message: dict[str, str]) -> str:
        """The rendering of a message behind a response, from the end of the response's text on."""
        reply = {"role": "assistant", "content": _SENTINEL}
        return self._render([*self._head(), _user("-"), reply, message]).split(_SENTINEL, 1)[1]

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
