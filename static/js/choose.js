// Rows that are ticked: how many, all of a page at once, a stretch of them. What is chosen is what is ticked in the page;
// the form sends it without this, too.

const form = document.getElementById("choose");
const said = [...document.querySelectorAll("[data-chosen]")]; // a region that is hidden would not be read out
const all = form.elements.all;
const page = [...document.querySelectorAll("[data-choose-page]")];
let last; // the box that was ticked last: with Shift, all between follow

const boxes = () => [...document.querySelectorAll('input[name="run"][form="choose"]')];

function tell() {
  const found = boxes();
  const count = found.filter((box) => box.checked).length;
  const words = all?.checked ? all.dataset.words : count ? `${count} ${count === 1 ? "run" : "runs"} chosen` : "";
  for (const place of said) if (place.textContent !== words) place.textContent = words;
  for (const box of found) box.closest("tr").classList.toggle("is-selected", box.checked);
  for (const each of page.filter((each) => each.type === "checkbox")) {
    each.checked = count > 0 && count === found.length;
    each.indeterminate = count > 0 && count < found.length;
  }
}

function tick(some, checked) {
  for (const box of some) box.checked = checked;
  tell();
}

document.addEventListener("click", (event) => {
  const box = event.target.closest('input[name="run"][form="choose"]');
  if (!box) return;
  const found = boxes();
  const from = found.indexOf(last), to = found.indexOf(box);
  if (event.shiftKey && from >= 0) tick(found.slice(Math.min(from, to), Math.max(from, to) + 1), box.checked);
  last = box;
});

document.addEventListener("change", (event) => {
  if (page.includes(event.target)) tick(boxes(), event.target.checked);
  else if (event.target.form === form) tell();
});

form.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.matches("[data-choose-page]")) tick(boxes(), true);
  else if (button?.matches("[data-choose-none]")) {
    if (all) all.checked = false;
    tick(boxes(), false);
    (last ?? boxes()[0])?.focus();
  }
});

// The key x ticks the row that j and k went to.
document.addEventListener("keydown", (event) => {
  if (event.key !== "x" || event.ctrlKey || event.metaKey || event.altKey || document.body.dataset.keys === "off") return;
  const box = document.activeElement.closest?.("tr.row-link")?.querySelector('input[name="run"]');
  if (!box || document.activeElement.matches("input:not([type=checkbox]), textarea, select")) return;
  box.checked = !box.checked;
  last = box;
  tell();
});

document.getElementById("live")?.addEventListener("live:part", tell);
addEventListener("pageshow", tell); // the browser may have put back what was ticked
tell();
