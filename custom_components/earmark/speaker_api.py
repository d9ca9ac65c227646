"""What a conversation agent with a language model is told of who speaks."""

from __future__ import annotations

from typing import Any

from homeassistant.core import HomeAssistant
from homeassistant.helpers import llm

from .hub import DOMAIN, speaker

CAN_MERGE = hasattr(
    llm, "MergedAPI"
)  # several APIs may be chosen for an agent; before, one: so it brings Assist along


class GetSpeaker(llm.Tool):
    """Asked at each sentence: the prompt may be that of an earlier one of the same conversation."""

    name = "GetSpeaker"
    description = "Says who spoke the current sentence, by voice. A name, 'somebody else', or 'unknown'."
    integration = DOMAIN

    async def async_call(self, hass: HomeAssistant, tool_input: llm.ToolInput, llm_context: llm.LLMContext) -> Any:
        """The answer, as this release wants it."""
        answer = {"speaker": speaker(hass, llm_context.device_id)["name"]}
        return llm.ToolResult(data=answer) if hasattr(llm, "ToolResult") else answer


class SpeakerApi(llm.API):
    """Can be chosen in the settings of an agent."""

    def __init__(self, hass: HomeAssistant) -> None:
        name = "Who speaks (earmark)" if CAN_MERGE else "Assist, and who speaks (earmark)"
        super().__init__(hass=hass, id=DOMAIN, name=name)

    async def async_get_api_instance(self, llm_context: llm.LLMContext) -> llm.APIInstance:
        """The line of the prompt, and the tool."""
        who = speaker(self.hass, llm_context.device_id)["name"]
        prompt = (
            f"By voice, this conversation was begun by: {who}. Others may go on with it: where it matters who "
            "speaks, call GetSpeaker. A voice can be imitated; it is no proof of who somebody is."
        )
        tools: list[llm.Tool] = [GetSpeaker()]
        if not CAN_MERGE:
            assist = await llm.async_get_api(self.hass, llm.LLM_API_ASSIST, llm_context)
            prompt, tools = f"{assist.api_prompt}\n{prompt}", [*assist.tools, *tools]
        return llm.APIInstance(self, prompt, llm_context, tools)
