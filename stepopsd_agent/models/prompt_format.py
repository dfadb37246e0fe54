"""From prompt text to token ids: plain continuation for small models, chat templates for others.

A row of ids only ever grows: what was sampled stays as sampled, and a new turn adds the ids of its own text.
Nothing is rendered again, since several chat templates (Qwen3's among them) render earlier turns differently
later on.
"""

from dataclasses import dataclass
from typing import Any

from stepopsd_agent.models.policy import Policy

MARKER = "\n> "  # ends every prompt of the history wrapper: "your turn"
_SENTINEL = "@@stepopsd-assistant@@"


@dataclass(frozen=True)
class PromptFormat:
    """How texts become rows of ids for one policy.

    Attributes:
        policy: owner of the tokenizer.
        chat: use the tokenizer's chat template; otherwise text continues text.
        system: system message of the chat; "" for none.
        template_args: extra arguments of the template, for example ``{"enable_thinking": False}``.
    """

    policy: Policy
    chat: bool
    system: str = ""
    template_args: tuple[tuple[str, bool], ...] = ()

    def first_ids(self, prompt: str) -> list[int]:
        """Ids of the first prompt of a row."""
        if not self.chat:
            return self.policy.encode([prompt])[0]
        return self.policy.encode([self._render([*self._head(), _user(prompt)])])[0]

    def turn_ids(self, turn: str, closed: bool) -> list[int]:
        """Ids a further turn adds after a response.

        Args:
            turn: the new text, ending with the marker.
            closed: the response ended with a stop token; otherwise (cut at the length limit) the stop is
                added here.
        """
        stop = "" if closed else str(self.policy.tokenizer.eos_token)
        if not self.chat:
            return self.policy.encode([stop + turn])[0]
        reply = {"role": "assistant", "content": _SENTINEL}
        rendered = self._render([*self._head(), _user("-"), reply, _user(turn)])
        after = rendered.rsplit(_SENTINEL, 1)[1]
        return self.policy.encode(
            [after.removeprefix(str(self.policy.tokenizer.eos_token)) if closed else after]
        )[0]

    def _head(self) -> list[dict[str, str]]:
        return [{"role": "system", "content": self.system}] if self.system else []

    def _render(self, messages: list[dict[str, str]]) -> str:
        options: dict[str, Any] = dict(self.template_args)
        return str(
            self.policy.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True, **options
            )
        )


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text.removesuffix(MARKER).strip()}


def make_format(policy: Policy, chat: str, system: str, enable_thinking: bool) -> PromptFormat:
    """Choose the format: ``chat`` is "auto" (template if the tokenizer has one), "on" or "off".

    Raises:
        ValueError: "on" without a template in the tokenizer.
    """
    has_template = bool(policy.tokenizer.chat_template)
    if chat == "on" and not has_template:
        raise ValueError(
            "model.chat=on, but this tokenizer has no chat template; "
            "use model.chat=off (plain text) or another model"
        )
    return PromptFormat(
        policy=policy,
        chat=has_template if chat == "auto" else chat == "on",
        system=system,
        template_args=(("enable_thinking", enable_thinking),),
    )
