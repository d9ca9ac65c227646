// The journal: choose, erase, learn from what was labelled.
import { $, ask, element, post, sure, t, toast } from "./page.mjs";

const boxes = [...document.querySelectorAll(".check input")];
const chosen = () => boxes.filter((box) => box.checked).map((box) => Number(box.value));

function count() {
  const many = chosen().length;
  $("#chosen").textContent = many ? t("wakes.chosen", { count: many }) : t("wakes.none");
  $("#forget").disabled = !many;
  $(".bottom").classList.toggle("some", many > 0);
}
for (const box of boxes) box.addEventListener("change", count);

$("#forget")?.addEventListener("click", async () => {
  if (!(await sure(t("wakes.forget_sure", { count: chosen().length })))) return;
  if (await post("/wakes/forget", { numbers: chosen() })) location.reload();
});

function line(update) {
  const who = `${update.name} (${update.keyword})`;
  const parts = [t("wakes.update.added", { count: update.added.length })];
  if (update.refused.length) parts.push(t("wakes.update.refused", { count: update.refused.length }));
  if (update.dropped.length) parts.push(t("wakes.update.dropped", { count: update.dropped.length }));
  parts.push(t("wakes.update.strangers", { count: update.impostors }));
  const made = element("li");
  made.append(element("strong", who), element("p", parts.join(" · "), "small soft"));
  return made;
}

$("#learn")?.addEventListener("click", async (event) => {
  event.target.disabled = true;
  const told = await post("/wakes/preview", {});
  event.target.disabled = false;
  if (!told) return;
  const news = told.updates.filter((one) => one.added.length || one.dropped.length);
  $("#updates").replaceChildren(...told.updates.map(line));
  if (!told.updates.length) $("#updates").append(element("li", t("wakes.update.nothing")));
  $("#learn-yes").disabled = !news.length;
  if (!(await ask($("#preview")))) return;
  event.target.disabled = true;
  if (await post("/wakes/learn", {})) toast(t("wakes.learned"));
  event.target.disabled = false;
});
if (boxes.length) count();
