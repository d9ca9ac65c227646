// What every page shares: its texts, changes, times, a word that appears and goes.
const meta = (name) => document.querySelector(`meta[name="${name}"]`).content;
export const base = meta("base");
const texts = JSON.parse(document.body.dataset.texts);

export function t(key, values = {}) {
  return (texts[key] ?? key).replace(/\{(\w+)\}/g, (mark, name) => values[name] ?? mark);
}

export const $ = (selector) => document.querySelector(selector);

// An element; its text is set as text, whatever is in it.
export function element(name, text = "", classes = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (classes) made.className = classes;
  return made;
}

let hiding;
export function toast(text) {
  const place = $("#toast");
  place.textContent = text;
  clearTimeout(hiding);
  hiding = setTimeout(() => { place.textContent = ""; }, 6000);
}

// A change; what became of it, or a word on the page and null.
export async function post(path, content) {
  let answer;
  try {
    answer = await fetch(base + path, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRF-Token": meta("csrf") },
      body: JSON.stringify(content),
    });
  } catch {
    toast(t("problem.page"));
    return null;
  }
  if (answer.status === 401) {
    location.assign(base + "/login");
    return null;
  }
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    toast(told.error ?? t("problem.refused"));
    return null;
  }
  return told;
}

// A WebSocket that comes back by itself; `hear` gets each message, `gone` is called where there is none.
export function socket(path, hear, gone) {
  let wait = 500;
  const open = () => {
    const address = location.origin.replace(/^http/, "ws") + base + path;
    const made = new WebSocket(address, ["earmark", "csrf." + meta("csrf")]);
    made.onopen = () => { wait = 500; };
    made.onmessage = (event) => hear(JSON.parse(event.data));
    made.onclose = () => {
      gone();
      setTimeout(open, wait);
      wait = Math.min(2 * wait, 8000);
    };
  };
  open();
}

// Asks in a dialog of the page; whether the answer was yes.
export function ask(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((answer) => {
    dialog.addEventListener("close", () => answer(dialog.returnValue === "yes"), { once: true });
  });
}

export function sure(title) {
  $("#sure-title").textContent = title;
  return ask($("#sure"));
}

const spoken = document.documentElement.lang; // how the browser's own region writes a time, where it is of this language
const locale = navigator.languages.find((one) => one.startsWith(spoken)) ?? spoken;
export function when(text) {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return text;
  const today = new Date().toDateString() === at.toDateString();
  const time = { hour: "2-digit", minute: "2-digit" };
  return at.toLocaleString(locale, today ? time : { ...time, day: "numeric", month: "short" });
}
export function times(root = document) {
  for (const one of root.querySelectorAll("time[datetime]")) one.textContent = when(one.dateTime);
}

// A canvas as sharp as the screen; what is drawn is in CSS pixels.
export function pen(canvas) {
  const scale = window.devicePixelRatio || 1;
  const { width, height } = canvas.getBoundingClientRect();
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  return { context, width, height };
}
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

for (const form of document.querySelectorAll("[data-logout]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    await fetch(form.action, { method: "POST", headers: { "X-CSRF-Token": meta("csrf") } });
    location.assign(base + "/login");
  });
}
times();
