// One person: what can be changed.
import { $, ask, base, colour, pen, post, sure, t, toast } from "./page.mjs";

const name = $("#person").dataset.name;
const again = () => location.reload();

const change = {
  async rename() {
    $("#new-name").value = name;
    if (!(await ask($("#rename")))) return;
    const done = await post("/people/rename", { name, new_name: $("#new-name").value.trim() });
    if (done) location.assign(`${base}/person?name=${encodeURIComponent(done.name)}`);
  },
  async erase() {
    $("#typed").value = "";
    $("#erase-yes").disabled = true;
    if (!(await ask($("#erase")))) return;
    if (await post("/people/erase", { name, typed: $("#typed").value })) location.assign(base + "/people");
  },
  async export() {
    const done = await post("/people/export", { name });
    if (done) toast(t("person.exported", { file: done.file }));
  },
  async rollback({ keyword, version }) {
    if (!(await sure(t("person.rollback_sure", { version })))) return;
    if (await post("/people/rollback", { name, keyword, version: Number(version) })) again();
  },
  async unlearn({ keyword }) {
    if (!(await sure(t("person.unlearn_sure")))) return;
    if (await post("/people/unlearn", { name, keyword })) again();
  },
};
for (const button of document.querySelectorAll("[data-do]")) {
  button.addEventListener("click", () => change[button.dataset.do](button.dataset));
}
$("#typed").addEventListener("input", () => { $("#erase-yes").disabled = $("#typed").value !== name; });

const slider = $("#sensitivity");
slider?.addEventListener("input", () => { $("#sensitivity-is").textContent = Number(slider.value).toFixed(2); });
slider?.addEventListener("change", async () => {
  if (await post("/knob", { knob: "person", name, value: Number(slider.value) })) toast(t("person.changed"));
});

function draw() {
  const canvas = $("#scores");
  if (!canvas) return;
  const scores = JSON.parse(canvas.dataset.scores).map((one) => ({ at: Date.parse(one.at), score: one.score }));
  const { context, width, height } = pen(canvas);
  const [first, last] = [scores[0].at, scores.at(-1).at];
  const x = (at) => 10 + ((at - first) / Math.max(1, last - first)) * (width - 20);
  const y = (score) => height - 10 - Math.min(1, Math.max(0, score)) * (height - 20);
  context.strokeStyle = colour("line");
  for (const score of [0, 0.5, 1]) {
    context.beginPath();
    context.moveTo(0, y(score));
    context.lineTo(width, y(score));
    context.stroke();
  }
  context.fillStyle = colour("accent");
  for (const one of scores) {
    context.beginPath();
    context.arc(x(one.at), y(one.score), 3.5, 0, 7);
    context.fill();
  }
}
draw();
addEventListener("resize", draw);
