// The decision page while someone types: what changed ("12 → 15"), what is wrong with it, and which answers need a note.
const CHECK_AFTER_MS = 400;
const form = document.getElementById("decision");
const note = form.elements.note;
const summary = document.getElementById("changed");
const fields = [...form.querySelectorAll("[data-was]")];
let waiting = 0, latest = 0;

const said = (field) => (field.type === "checkbox" ? (field.checked ? "yes" : "no") : field.value);
const same = (field) => said(field) === field.dataset.was.replaceAll("\r\n", "\n");
const short = (text) => (text.length > 60 ? `${text.slice(0, 59)}…` : text || "nothing");
// As ui/reading.py says it.
function thousands(field, text) {
  if (!field.dataset.thousands || !/^-?\d+(\.\d+)?$/.test(text)) return text;
  if (field.dataset.thousands !== "always" && /^-?\d{1,4}$/.test(text)) return text;
  const [whole, rest] = text.split(".");
  return whole.replace(/\B(?=(\d{3})+$)/g, ",") + (rest ? `.${rest}` : "");
}
const more = (field) => document.getElementById(`${field.id}-more`);

function part(className, text) {
  const span = document.createElement("span");
  span.className = className;
  span.textContent = text;
  return span;
}

function tell(field) {
  more(field).querySelector(".change")?.remove();
  if (!same(field)) more(field).prepend(part("change", `${short(thousands(field, field.dataset.was))} → ${short(thousands(field, said(field)))}`));
}

// A row that is folded on a phone shows what is wrong or changed in it.
function unfold(field) {
  const fold = field.closest("tr")?.querySelector(".fold");
  if (fold) fold.open = true;
}

function count() {
  const changed = fields.filter((field) => !same(field)).length;
  summary.textContent = changed ? `${changed} change${changed > 1 ? "s" : ""}` : "";
}

function tellErrors(errors) {
  for (const field of fields) {
    const pointer = more(field).dataset.pointer;
    const words = errors.filter((error) => error.pointer === pointer).map((error) => error.message);
    more(field).querySelectorAll(".error").forEach((old) => old.remove());
    more(field).append(...words.map((text) => part("error", text)));
    more(field).parentElement.classList.toggle("has-error", words.length > 0);
    if (words.length) unfold(field);
    words.length ? field.setAttribute("aria-invalid", "true") : field.removeAttribute("aria-invalid");
  }
}

async function check() {
  const mine = ++latest;
  try {
    const answer = await fetch(form.dataset.check, { method: "POST", body: new FormData(form), headers: { "HX-Request": "true" } });
    if (mine === latest && answer.ok) tellErrors((await answer.json()).errors);
  } catch { /* the server says it again when the form is sent */ }
}

form.addEventListener("input", (event) => {
  if (!event.target.matches("[data-was]")) return;
  tell(event.target);
  count();
  clearTimeout(waiting);
  if (form.dataset.check) waiting = setTimeout(check, CHECK_AFTER_MS);
});

// A note is needed with retry and abort: the browser says so at the note, before anything is sent.
form.addEventListener("click", (event) => {
  const button = event.target.closest("button[name=choice]");
  if (button) note.required = ["retry", "abort"].includes(button.value);
});
note.addEventListener("input", () => { note.required = false; });

// What the browser brought back with the page.
addEventListener("pageshow", () => {
  fields.forEach(tell);
  fields.filter((field) => !same(field)).forEach(unfold);
  count();
});
