"""Adding a daemon: found by zeroconf, or by host and port."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import voluptuous as vol
from homeassistant.config_entries import ConfigFlow, ConfigFlowResult
from homeassistant.const import CONF_HOST, CONF_PORT

from .hub import DOMAIN
from .protocol import FAULTS, OPEN_S, NotTrusted, follow

SCHEMA = vol.Schema({vol.Required(CONF_HOST): str, vol.Required(CONF_PORT, default=10400): int})


class EarmarkConfigFlow(ConfigFlow, domain=DOMAIN):  # type: ignore[call-arg]
    """It asks the daemon who it is before it adds it, so that what cannot work is said at once."""

    _title = ""
    _known: dict[str, Any] | None = None

    async def async_step_zeroconf(self, discovery_info: Any) -> ConfigFlowResult:
        """One was found in the network: host and port are filled in."""
        self._known = {CONF_HOST: discovery_info.host, CONF_PORT: discovery_info.port}
        error, _ = await self._look(**self._known)
        if error == "cannot_connect":
            return self.async_abort(reason=error)
        self.context["title_placeholders"] = {"name": self._title or f"earmark {discovery_info.host}"}
        return self._ask()

    async def async_step_user(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """By host and port."""
        if user_input is None:
            return self._ask()
        self._known = user_input
        error, why = await self._look(**user_input)
        if error:
            return self._ask(error, why)
        return self.async_create_entry(title=self._title, data=user_input)

    def _ask(self, error: str = "", why: str = "") -> ConfigFlowResult:
        schema = self.add_suggested_values_to_schema(SCHEMA, self._known)
        errors = {"base": error} if error else {}
        return self.async_show_form(
            step_id="user", data_schema=schema, errors=errors, description_placeholders={"why": why}
        )

    async def _look(self, host: str, port: int) -> tuple[str, str]:
        """What is wrong: the key of a message, and the daemon's words; empty: it is known who it is."""
        try:
            async with aclosing(follow(host, port)) as messages:
                _, state = await asyncio.wait_for(messages.__anext__(), OPEN_S)
                self._title, own_id = f"earmark {state['name']}", state["id"]
        except NotTrusted as error:
            return "not_trusted", str(error)
        except FAULTS as error:
            return "cannot_connect", str(error) or "no answer"
        await self.async_set_unique_id(own_id, raise_on_progress=False)
        self._abort_if_unique_id_configured(updates={CONF_HOST: host, CONF_PORT: port})
        return "", ""
