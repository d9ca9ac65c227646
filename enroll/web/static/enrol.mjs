// Learning a voice: what is to be said, how it was, and what came of it. The session itself decides, not this page.
import { $, base, colour, element, pen, t } from "./page.mjs";

const LOW_DBFS = -60, ZONE = [-36, -9]; // as the meter of a terminal has it
const PATHS = { good: "m5 12.500 4.500 4.500L19 7", bad: "M12 6.500v7M12 17.200v.1" };
let talking = null, ear = null, phrase = "", level = null;

if (!window.isSecureContext || !navigator.mediaDevices) {
  $("[name=where][value=browser]").disabled = true;
  $("#browser-why").textContent = t("enrol.browser_no");
}

function show(id, is) { $(id).hidden = !is; }

function verdict(good, text, more = "") {
  show("#verdict", true);
  $("#verdict-mark").className = `mark ${good ? "good" : "warn"}`;
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [name, value] of Object.entries({ width: 20, height: 20, viewBox: "0 0 24 24", fill: "none", stroke: "currentColor", "stroke-width": 1.9, "stroke-linecap": "round", "aria-hidden": "true" })) svg.setAttribute(name, value);
  svg.append(document.createElementNS("http://www.w3.org/2000/svg", "path"));
  svg.firstChild.setAttribute("d", good ? PATHS.good : PATHS.bad);
  $("#verdict-mark").replaceChildren(svg);
  $("#verdict-text").textContent = text;
  $("#verdict-more").textContent = more;
}

function say(text, more = "", which = "") {
  $("#say").textContent = text;
  $("#more").textContent = more;
  $("#which").textContent = which;
  show("#count", false);
  show("#hears", true);
  $("#answers").replaceChildren();
}

function answers(...choices) {
  $("#answers").replaceChildren(...choices.map(([answer, text], index) => {
    const button = element("button", text, index ? "" : "main");
    button.type = "button";
    button.addEventListener("click", () => {
      $("#answers").replaceChildren();
      talking.send(JSON.stringify({ answer }));
    });
    return button;
  }));
  $("#answers").firstElementChild.focus();
}

function steps(done, of) {
  $("#steps").replaceChildren(...Array.from({ length: of }, (_, index) => element("li", "", index < done ? "done" : index === done ? "here" : "")));
}

function meter() {
  if ($("#hears").hidden) return;
  const { context, width, height } = pen($("#meter"));
  const place = (dbfs) => Math.min(1, Math.max(0, (dbfs - LOW_DBFS) / -LOW_DBFS)) * width;
  if (level.word) {
    context.fillStyle = colour("tint");
    context.fillRect(place(ZONE[0]), 0, place(ZONE[1]) - place(ZONE[0]), height);
  }
  context.fillStyle = colour(level.word === "too loud" ? "bad" : level.word === "good" ? "accent" : "wave");
  context.beginPath();
  context.roundRect(0, 3, Math.max(4, place(level.dbfs)), height - 6, height);
  context.fill();
}

function phraseText(key, values = {}) {
  return t(key, { word: phrase ? `“${phrase}”` : t("enrol.your_phrase"), ...values });
}

const hear = {
  begin(told) { phrase = told.phrase; },
  level(told) {
    level = told;
    requestAnimationFrame(meter);
    $("#word").textContent = told.word ? t(`enrol.level.${told.word.replace(" ", "_")}`) : "";
    if (told.left) {
      show("#count", true);
      $("#count").className = "count";
      $("#count").textContent = told.left;
    }
  },
  room() { say(t("enrol.room"), t("enrol.room_what")); },
  take(told) {
    steps(told.number - 1, told.of);
    const again = told.again ? t("enrol.again", { left: told.left }) : "";
    say(phraseText(`how.${told.how}`), again, t("enrol.take", { number: told.number, of: told.of }));
  },
  now() {
    show("#count", true);
    show("#verdict", false);
    $("#count").className = "count now";
    $("#count").textContent = t("enrol.now");
  },
  other() {
    say(phraseText("enrol.other"), t("enrol.other_what"));
    answers(["yes", t("enrol.other_done")]);
  },
  verdict(told) {
    show("#count", false);
    const key = `fault.${told.reason}`;
    if (told.reason === "take") {
      steps(told.number, told.of);
      verdict(true, t("fault.take", { number: told.number, of: told.of }), t("fault.take_more", { db: told.snr_db }));
    } else verdict(told.good, phraseText(key, { name: $("#name").value }), told.good ? "" : told.tip ?? "");
  },
  facts() {},
  ask(told) {
    show("#count", false);
    show("#hears", false);
    const yes = [t("enrol.ask." + told.what + ".yes"), t("enrol.ask." + told.what + ".no")];
    $("#say").textContent = t("enrol.ask." + told.what);
    $("#more").textContent = "";
    answers(["yes", yes[0]], ["no", yes[1]]);
  },
  learning(told) {
    if (told.stage === "begin") {
      say(t("enrol.learning"), t("enrol.learning_what"));
      show("#verdict", false);
      show("#hears", false);
    }
    show("#progress", true);
    $("#progress").max = told.of;
    $("#progress").value = told.done;
  },
  done(told) {
    end();
    show("#begin", false);
    show("#done", true);
    $("#done-title").textContent = t("enrol.done", { name: told.name });
    $("#done-promise").textContent = t("enrol.promise", told);
    $("#done-verdict").textContent = t(`enrol.verdict.${told.verdict}`);
    show("#done-alike", told.alike.length > 0);
    $("#done-alike").textContent = t("enrol.alike", { name: told.name, others: told.alike.join(", ") });
    picture(told.picture);
    $("#done-title").scrollIntoView({ block: "center" });
  },
  refused(told) { failed(told.text); },
  error(told) { failed(told.text); },
  taken() { failed(t("enrol.taken")); },
  broken_off(told) { if (told.kept) failed(t("enrol.kept", { count: told.kept })); },
};

function picture(told) {
  const { context, width, height } = pen($("#picture"));
  const most = Math.max(...told.strangers), bar = width / told.strangers.length;
  context.fillStyle = colour("wave");
  told.strangers.forEach((count, index) => {
    const tall = (count / most) * (height - 40);
    context.fillRect(index * bar, height - tall, bar - 1.5, tall);
  });
  const place = (score) => ((score - told.from) / (told.to - told.from)) * width;
  context.strokeStyle = colour("soft");
  context.lineWidth = 2;
  context.setLineDash([5, 5]);
  context.beginPath();
  context.moveTo(place(told.threshold), 0);
  context.lineTo(place(told.threshold), height);
  context.stroke();
  context.fillStyle = colour("accent");
  for (const score of told.own) {
    context.beginPath();
    context.arc(place(score), 20, 6, 0, 7);
    context.fill();
  }
}

function failed(text) {
  end();
  show("#failed", true);
  $("#failed").textContent = $("#failed").textContent || text;
  $("#failed").scrollIntoView({ block: "center" });
}

function end() {
  show("#talk", false);
  show("#begin", true);
  ear?.close();
  ear = null;
  const was = talking;
  talking = null;
  was?.close();
}

// The browser's microphone as it is: what cleans up speech for people takes away what a voice is known by.
async function listen() {
  const context = new AudioContext();
  await context.audioWorklet.addModule(`${base}/static/recorder.mjs`);
  const as_it_is = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: as_it_is });
  const recorder = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
  context.createMediaStreamSource(stream).connect(recorder);
  return {
    rate: context.sampleRate,
    to(send) { recorder.port.onmessage = ({ data }) => send(data); },
    close() {
      for (const track of stream.getTracks()) track.stop();
      context.close();
    },
  };
}

$("#begin").addEventListener("submit", async (event) => {
  event.preventDefault();
  show("#failed", false);
  $("#failed").textContent = "";
  show("#verdict", false);
  show("#progress", false);
  const where = document.querySelector("[name=where]:checked").value;
  if (where === "browser") {
    try {
      ear = await listen();
    } catch (error) {
      failed(t("enrol.no_microphone", { why: error.message }));
      return;
    }
  }
  const token = document.querySelector('meta[name="csrf"]').content;
  talking = new WebSocket(location.origin.replace(/^http/, "ws") + base + "/enrol/talk", ["earmark", `csrf.${token}`]);
  talking.binaryType = "arraybuffer";
  talking.onopen = () => {
    talking.send(JSON.stringify({ name: $("#name").value.trim().normalize("NFC"), keyword: $("#keyword").value, rate_hz: ear?.rate ?? 0 }));
    ear?.to((piece) => { if (talking?.readyState === WebSocket.OPEN) talking.send(piece); });
    show("#begin", false);
    show("#talk", true);
    steps(0, 5);
    say(t("enrol.wait"));
    show("#hears", false);
    $("#main").focus();
  };
  talking.onmessage = ({ data }) => {
    const told = JSON.parse(data);
    hear[told.type]?.(told);
  };
  talking.onclose = () => { if (talking) failed(t("enrol.closed")); };
});
$("#stop").addEventListener("click", end);
addEventListener("pagehide", end);
