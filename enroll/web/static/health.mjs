// How the daemon is, as it says it.
import { $, element, post, socket, t } from "./page.mjs";

function facts(place, rows) {
  place.replaceChildren(...rows.flatMap(([name, value]) => [element("dt", name), element("dd", String(value))]));
}
function duration(seconds) {
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  return days ? t("health.days", { days, hours }) : hours ? t("health.hours", { hours, minutes }) : t("health.minutes", { minutes, seconds: Math.floor(seconds) % 60 });
}
function good(is, text) {
  return element("span", text, `tag ${is ? "good" : "bad"}`);
}

function status(told) {
  $("#gone").hidden = true;
  const microphone = told.microphone;
  facts($("#facts"), [
    [t("health.version"), told.version],
    [t("health.up"), duration(told.uptime_s)],
    [t("health.microphone"), microphone.fault ?? (microphone.name === "-" ? t("live.pipe") : microphone.name)],
    [t("health.heard"), duration(told.audio_s)],
    [t("health.cpu"), `${(100 * told.cpu_share).toFixed(1)} %`],
    [t("health.people"), told.people.length],
    [t("health.words"), told.keywords.join(", ").replaceAll("_", " ")],
  ]);
  const said = [...told.faults, ...told.remarks].map((one) => element("li", one));
  $("#remarks").replaceChildren(...said);
  $("#sinks").replaceChildren(...Object.entries(told.sinks).map(([name, sink]) => {
    const line = element("li", "", "row");
    const words = element("span", "", "grow");
    words.append(element("strong", name));
    for (const one of [sink.failure, sink.note].filter(Boolean)) words.append(element("p", one, "small soft"));
    line.append(words, good(!sink.failure, sink.failure ? t("health.bad") : sink.dropped ? t("health.dropped", { count: sink.dropped }) : t("health.good")));
    return line;
  }));
  const rows = [];
  for (const [name, counts] of Object.entries(told.counts)) {
    for (const one of counts) {
      const { count, ...labels } = one;
      rows.push([[name, ...Object.values(labels)].filter(Boolean).join(" · ").replaceAll("_", " "), count]);
    }
  }
  facts($("#counters"), rows.length ? rows : [[t("health.no_counts"), ""]]);
  histogram(told.latency_ms);
}

function histogram(latency) {
  if (!latency.count) return;
  $("#latency").textContent = t("health.latency_mean", { ms: Math.round(latency.sum / latency.count), count: latency.count });
  const made = (name, values) => {
    const one = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(values)) one.setAttribute(key, value);
    return one;
  };
  const entries = Object.entries(latency.up_to), most = Math.max(...entries.map(([, count]) => count));
  const picture = $("#histogram");
  picture.setAttribute("viewBox", `0 0 ${entries.length * 40} 120`);
  picture.replaceChildren(...entries.flatMap(([edge, count], index) => {
    const tall = Math.max(count ? 3 : 1, (count / most) * 90);
    const label = made("text", { x: index * 40 + 20, y: 116, "text-anchor": "middle" });
    label.textContent = edge === "inf" ? "∞" : edge;
    return [made("rect", { x: index * 40 + 4, y: 100 - tall, width: 32, height: tall, rx: 3 }), label];
  }));
}

function gone(why) {
  $("#gone").hidden = false;
  $("#gone").textContent = `${t("live.gone")} ${why}`;
}
socket("/live", (told) => ({ status, gone: () => gone(told.why) })[told.type]?.(told), () => gone(t("problem.page")));

$("#doctor").addEventListener("click", async ({ target }) => {
  target.disabled = true;
  $("#findings").replaceChildren(element("li", t("health.doctor_runs")));
  const told = await post("/health/doctor", {});
  $("#findings").replaceChildren(...(told?.findings ?? []).map((one) => {
    const line = element("li", "", "row"), words = element("span", "", "grow");
    words.append(element("strong", one.check), element("p", one.detail, "soft"));
    line.append(words, good(one.state !== "FAILED", one.state));
    return line;
  }));
  target.disabled = false;
});
