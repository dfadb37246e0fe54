"""From prompt text to token ids: plain continuation for small models, chat templates for others.

A row of ids only ever grows. Sampled ids stay as they were sampled, and a further turn adds the ids of its
own text. Earlier turns are never rendered again, since several chat templates (Qwen3's among them) would
render them differently later on.

Where a response ends is decided here alone: the rollout, the warm start and records of texts ask the format.

Control tokens come of templates alone. A text that spells one (`<|im_start|>`, `[INST]`, `</s>`) is cut
inside the spelling, and its parts are encoded one by one: the text stays what it was, in other tokens.

Some tokenizers (sentencepiece's with its dummy prefix) put a blank before a text that begins. What continues
a row is encoded behind what it continues, and gets the blank where the whole conversation would have one.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from transformers import PreTrainedTokenizerBase

from stepopsd_agent.config import Chat
from stepopsd_wrappers.text_history import MARKER

_SENTINEL = "@@stepopsd@@"
_CUT = "\ue000\ue001"
"""Of the private use area: where a text is cut."""
_BEFORE = ("\n", ".")
"""Texts to encode another text behind, the first of which shares no token with it."""
_TAG = re.compile(r"</?(?:think|action|search|answer|information)>")
"""Tags of responses and of the environments: text, also where a vocabulary has a token for one."""


def encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text of our own, which may spell control tokens; none are added."""
    clean = [text.encode("utf-8", "replace").decode() for text in texts]
    if not clean:  # a tokenizer refuses an empty list
        return []
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
        if not self.chat:
            return self._ids("text", str, prompt)
        return self._ids("first", lambda text: self._render([*self._head(), _user(text)]), prompt)

    def text_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text of others, which continues another one; none of them a control token."""
        if self._marks_beginnings:
            return [self._ids("text", str, text, behind=_BEFORE[0]) for text in texts]
        plain = [i for i, text in enumerate(texts) if not self._spelled.search(text)]
        encoded = (
            dict(zip(plain, encode(self.tokenizer, [texts[i] for i in plain]), strict=True)) if plain else {}
        )
        clean = {i: ids for i, ids in encoded.items() if self._control_free(ids)}
        return [clean[i] if i in clean else self._ids("text", str, text) for i, text in enumerate(texts)]

    @cached_property
    def _control(self) -> dict[int, str]:
        """Tokens that no text may become, and their spellings: all that were added, but blanks and tags."""
        tokenizer = self.tokenizer
        special = {int(i): str(tokenizer.convert_ids_to_tokens(int(i))) for i in tokenizer.all_special_ids}
        added = {
            int(i): token.content
            for i, token in tokenizer.added_tokens_decoder.items()
            if token.special or not (token.content.isspace() or _TAG.fullmatch(token.content))
        }
        return special | added

    @cached_property
    def _spelled(self) -> re.Pattern[str]:
        """Finds every place where a control token's spelling begins, also inside another spelling."""
        names = sorted({re.escape(name) for name in self._control.values() if len(name) > 1})
        return re.compile(f"(?=(?:{'|'.join(names)}))." if names else "(?!)", re.DOTALL)

    def _control_free(self, ids: Sequence[int], allowed: int = 0) -> bool:
        """Whether no more than so many ids are control tokens; that for unknown letters is none."""
        unknown = self.tokenizer.unk_token_id
        return bool(sum(i in self._control and i != unknown for i in ids) <= allowed)

    @cached_property
    def _marks_beginnings(self) -> bool:
        """Whether a text that begins is encoded otherwise than one that continues another."""
        alone, before, both = encode(self.tokenizer, ["a", _BEFORE[0], f"{_BEFORE[0]}a"])
        return before + alone != both

    def _behind(self, before: str, text: str) -> list[int]:
        """Ids of a text behind another, where the two share no token; "" stands for the beginning."""
        for known in (before, *_BEFORE) if before and self._marks_beginnings else ():
            first, both = encode(self.tokenizer, [known, known + text])
            if both[: len(first)] == first:
                return both[len(first) :]
        return encode(self.tokenizer, [text])[0]

    @cached_property
    def _control_around(self) -> dict[str, int]:
        """Control tokens of what is written around a text, by its kind; filled when first asked."""
        return {}

    def _ids(self, kind: str, written: Callable[[str], str], text: str, behind: str = "") -> list[int]:
        """Ids of what is written around a text of others; control tokens come of what is around it alone.

        A tokenizer may turn other letters into those of a control token (capitals, wide forms). Where it has,
        the text is cut at every letter, and what is a control token even so is left out.

        Args:
            kind: of what is written around the text, which is always the same for a kind.
            written: gives what is written, of the text.
            text: of others.
            behind: what stands before it; "" where it begins a row.
        """
        text = text.replace(_CUT, "")

        def pieces(cut: str) -> list[int]:
            first, *others = [part for part in written(cut).split(_CUT) if part] or [""]
            parts = [self._behind(behind, first), *(self._behind(_BEFORE[0], part) for part in others)]
            return [i for ids in parts for i in ids]

        ids = pieces(self._spelled.sub(lambda first: first[0] + _CUT, text))
        if kind not in self._control_around:
            around = encode(self.tokenizer, [written(_SENTINEL)])[0]
            self._control_around[kind] = sum(i in self._control for i in around)
        if self._control_free(ids, self._control_around[kind]):
            return ids
        letters = [letter for letter in text if self._control_free(encode(self.tokenizer, [letter])[0])]
        return pieces(_CUT.join(letters))

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
        token = eos if eos in written else next((i for i in written if i in control), eos)
        if token is None:
            raise ValueError(
                "this tokenizer has no eos token, so a response would have no end: set tokenizer.eos_token "
                "to the token that ends one, and save the tokenizer with the model"
            )
        return int(token)

    def response_ids(self, text: str) -> list[int]:
        """Ids of a whole response that was not sampled: its text as the template writes it, and its end."""
        if not self.chat:
            return [*self.text_ids([text])[0], self.end_id]
        opening, before, after = self._reply
        written = self._ids("response", lambda reply: before + reply + after, text, behind=opening)
        return [*written, self.end_id]

    @cached_property
    def _reply(self) -> tuple[str, str, str]:
        """What the template writes before a response, and its blanks on both sides of the response's text."""
        reply = {"role": "assistant", "content": _SENTINEL}
        first, whole = (
            self._render([*self._head(), _user("-")]),
            [*self._head(), _user("-"), reply, _user("-")],
        )
        rest = self._render(whole).removeprefix(first).partition(_SENTINEL)[0]
        end = str(self.tokenizer.convert_ids_to_tokens(self.end_id))
        before, written, _ = self._written.partition(end)
        opening = self._render([*self._head(), _user(_SENTINEL)]).rpartition(_SENTINEL)[2]
        return opening, rest if rest.isspace() else "", before if written and before.isspace() else ""

    def turn_ids(self, turn: str, closed: bool) -> list[int]:
        """Ids that a further turn adds after a response.

        Args:
            turn: the new text; it ends with the marker of `TextHistory`.
            closed: the response ended with `end_id`. Otherwise (it was cut at the length limit, or ended with
                another stop token) the end is added here.
        """
        end = str(self.tokenizer.convert_ids_to_tokens(self.end_id))
        before, written, _ = self._written.partition(end)

        def after(text: str) -> str:
            whole = self._after(_user(text)) if self.chat else text
            if not written:  # text, or a template that writes no end
                return whole if closed else end + whole
            return whole[len(before + written) :] if closed else whole

        kind = "closed" if closed else "open"
        return self._ids(kind, after, turn, behind=end if closed else _BEFORE[0])

    @cached_property
    def _written(self) -> str:
        """The template's text between a response and the user's next message, if there is one."""
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
