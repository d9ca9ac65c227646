// What it hears, as it hears it.
import { $, colour, element, pen, post, socket, t, times, toast } from "./page.mjs";

const SECONDS = 20;
const LOW_DBFS = -75, HIGH_DBFS = -10; // the floor and the top of the strip
const cutoffs = Object.values(JSON.parse($("#strip").dataset.cutoffs));
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const levels = [], scores = [], marks = [];
let sample = 0, drawn = 0;

function state(good, title, text) {
  $("#dot").className = good ? "dot good" : "dot bad";
  $("#state").textContent = title;
  $("#microphone").textContent = text;
}

function status(told) {
  const microphone = told.microphone, name = microphone.name === "-" ? t("live.pipe") : microphone.name;
  if (microphone.fault || microphone.problem) state(false, t("live.deaf"), microphone.fault ?? microphone.problem);
  else if (microphone.silent_s >= 5) state(false, t("live.silent", { seconds: microphone.silent_s }), name);
  else state(true, t("live.listening"), name);
  $("#modes").disabled = false;
  for (const one of document.querySelectorAll("[name=mode]")) one.checked = one.value === told.mode;
  for (const [id, value] of [["sensitivity", told.sensitivity], ["voice", told.voice_sensitivity]]) {
    const input = document.querySelector(`[name=${id}]`);
    input.disabled = false;
    if (document.activeElement !== input) {
      input.value = value;
      $(`#${id}-is`).textContent = Number(value).toFixed(2);
    }
  }
}

function gone(why) {
  state(false, t("live.gone"), why ?? "");
  $("#modes").disabled = true;
  for (const one of document.querySelectorAll(".slider input")) one.disabled = true;
  levels.length = 0;
  scores.length = 0;
  draw();
}

function level(told) {
  const score = Math.max(0, ...Object.values(told.scores));
  for (const one of told.dbfs) {
    levels.push(one);
    scores.push(score);
  }
  sample = told.sample;
  const most = SECONDS * 10;
  levels.splice(0, levels.length - most);
  scores.splice(0, scores.length - most);
  $("#level").textContent = `${Math.round(told.dbfs.at(-1))} dB`;
  $("#keyword").textContent = score.toFixed(2);
  if (!calm.matches || performance.now() - drawn > 1000) requestAnimationFrame(draw);
}

function event(told) {
  if (told.type === "confirmation") return;
  marks.push({ sample, type: told.type, person: told.person });
  marks.splice(0, marks.length - 20);
  $("#score").textContent = told.speaker_score === null ? "–" : told.speaker_score.toFixed(2);
  $("#keyword").textContent = told.keyword_score.toFixed(2);
  const line = element("li", "", "row");
  const sign = { detection: ["good", "m5 12.500 4.500 4.500L19 7"], rejection: ["bad", "M6.500 6.500l11 11M17.500 6.500l-11 11"] };
  const [kind, path] = sign[told.type] ?? ["warn", "M12 6.500v7M12 17.200v.1"];
  const mark = element("span", "", `mark ${kind}`);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [name, value] of Object.entries({ width: 20, height: 20, viewBox: "0 0 24 24", fill: "none", stroke: "currentColor", "stroke-width": 1.9, "stroke-linecap": "round", "aria-hidden": "true" })) svg.setAttribute(name, value);
  svg.append(document.createElementNS("http://www.w3.org/2000/svg", "path"));
  svg.firstChild.setAttribute("d", path);
  mark.append(svg);
  const words = element("div", "", "grow");
  words.append(element("strong", told.said.title), element("p", told.said.why, "small soft"));
  const time = element("time", "", "small soft number");
  time.dateTime = told.at;
  line.append(mark, words, time);
  $("#events").prepend(line);
  while ($("#events").children.length > 12) $("#events").lastElementChild.remove();
  $("#nothing").hidden = true;
  times(line);
}

function draw() {
  drawn = performance.now();
  const { context, width, height } = pen($("#strip"));
  const most = SECONDS * 10, step = width / most;
  const place = (index) => width - (levels.length - index) * step;
  context.fillStyle = colour("wave");
  levels.forEach((one, index) => {
    const share = Math.min(1, Math.max(0.012, (one - LOW_DBFS) / (HIGH_DBFS - LOW_DBFS)));
    const tall = share * (height - 24);
    context.beginPath();
    context.roundRect(place(index), (height - tall) / 2, Math.max(1.5, step * 0.62), tall, 2);
    context.fill();
  });
  const high = (score) => height - 8 - score * (height - 16);
  context.strokeStyle = colour("soft");
  context.lineWidth = 1;
  context.setLineDash([4, 5]);
  for (const cutoff of cutoffs) {
    context.beginPath();
    context.moveTo(0, high(cutoff));
    context.lineTo(width, high(cutoff));
    context.stroke();
  }
  context.setLineDash([]);
  context.strokeStyle = colour("score");
  context.lineWidth = 2;
  context.beginPath();
  scores.forEach((score, index) => context.lineTo(place(index), high(score)));
  context.stroke();
  context.font = "600 12px system-ui, sans-serif";
  for (const one of marks) {
    const x = width - ((sample - one.sample) / 1600) * step - step;
    if (x < 0) continue;
    context.fillStyle = context.strokeStyle = colour(one.type === "detection" ? "accent" : one.type === "rejection" ? "bad" : "warn");
    context.lineWidth = 2;
    context.beginPath();
    context.moveTo(x, 0);
    context.lineTo(x, height);
    context.stroke();
    const name = one.person ?? t("now.unknown");
    const wide = context.measureText(name).width;
    context.fillText(name, Math.max(4, Math.min(x - wide - 6, width - wide - 4)), 16);
  }
}

const hear = { status, level, gone: (told) => gone(told.why), detection: event, rejection: event, near_miss: event, confirmation: event };
socket("/live", (told) => hear[told.type]?.(told), () => gone(t("problem.page")));

for (const input of document.querySelectorAll(".slider input")) {
  input.addEventListener("input", () => { $(`#${input.name}-is`).textContent = Number(input.value).toFixed(2); });
}
$("#knobs").addEventListener("change", async ({ target }) => {
  if (await post("/knob", { knob: target.name, value: target.value })) toast(t("now.changed"));
});
addEventListener("resize", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
draw();
