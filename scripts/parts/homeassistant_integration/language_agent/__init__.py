"""A conversation agent that says what an agent with a language model would be told; it has no model."""

from __future__ import annotations

import dataclasses
from typing import Any

from homeassistant.components import conversation
from homeassistant.core import HomeAssistant
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers import intent, llm
from homeassistant.helpers.template import Template

CONFIG_SCHEMA = cv.empty_config_schema("language_agent")


class Agent(conversation.ConversationEntity):
    """Fires an event `told`."""

    _attr_name = "language_agent"
    _attr_unique_id = "language_agent"

    @property
    def supported_languages(self) -> str:
        """All."""
        return "*"

    async def async_process(self, user_input: Any) -> Any:
        """One sentence."""
        given = {
            "platform": "language_agent",
            "context": user_input.context,
            "user_prompt": user_input.text,
            "language": user_input.language,
            "assistant": conversation.DOMAIN,
            "device_id": user_input.device_id,
        }
        names = {field.name for field in dataclasses.fields(llm.LLMContext)}
        context = llm.LLMContext(**{key: value for key, value in given.items() if key in names})
        apis = ["assist", "earmark"] if hasattr(llm, "MergedAPI") else "earmark"
        api = await llm.async_get_api(self.hass, apis, context)
        answer = await api.async_call_tool(llm.ToolInput(tool_name="GetSpeaker", tool_args={}))
        (entity,) = [one for one in self.hass.states.async_entity_ids("sensor") if one.endswith("last_person")]
        prompt = f"{{{{ state_attr('{entity}', 'speakers').get(llm_context.device_id, 'unknown') }}}}"
        self.hass.bus.async_fire(
            "told",
            {
                "device": user_input.device_id,
                "prompt": api.api_prompt,
                "tool": getattr(answer, "data", answer)["speaker"],
                "template": Template(prompt, self.hass).async_render({"llm_context": context}),
                "assist": len(api.tools) > 1,
            },
        )
        response = intent.IntentResponse(language=user_input.language)
        response.async_set_speech("told")
        return conversation.ConversationResult(response=response, conversation_id=user_input.conversation_id)


async def async_setup(hass: HomeAssistant, config: dict[str, Any]) -> bool:
    """Adds it."""
    await hass.data[conversation.DOMAIN].async_add_entities([Agent()])
    return True
