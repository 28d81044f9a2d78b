// The decision page while someone types: what changed ("12 → 15"), what follows from it, what is wrong with it, and which
// answers need a note.
const CHECK_AFTER_MS = 400;
const form = document.getElementById("decision");
const note = form.elements.note;
const summary = document.getElementById("changed");
const fields = [...form.querySelectorAll("[data-was]")];
const follow = [...form.querySelectorAll("output.follows")];
const figures = new Map([...form.querySelectorAll("[data-figure]")].map((at) => [at.dataset.figure, at])); // of folded rows
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

function part(className, text, tag = "span") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

// Under the field: what changed, else the number with its thousands parted, which a field for numbers cannot show. A row that
// is folded on a phone says what changed, too.
function tell(field) {
  const now = thousands(field, said(field));
  const change = same(field) ? "" : `${short(thousands(field, field.dataset.was))} → ${short(now)}`;
  const folded = figures.get(more(field).dataset.pointer);
  if (folded) folded.textContent = change || now;
  let words = null;
  if (change) words = part("change", change);
  else if (now !== said(field)) words = part("dim amount", now);
  more(field).querySelectorAll(".change, .amount").forEach((old) => old.remove());
  if (words) more(field).prepend(words);
}

function marked(tag, before, text) {
  const mark = part("", "", tag);
  mark.append(part("sr", before), part("", text, "bdi"));
  return mark;
}

// As templates/approvals/_place.html draws them.
function tellFollowing(places, errors) {
  for (const at of follow) {
    const words = errors.filter((error) => error.pointer === at.dataset.pointer).map((error) => error.message);
    at.querySelectorAll(".error").forEach((old) => old.remove());
    const place = places.find((one) => one.pointer === at.dataset.pointer);
    const whole = place && `${place.before}\n${place.now}`;
    if (place && whole !== (at.dataset.said ?? `\n${at.textContent.trim()}`)) {
      const changes = part("changes", "");
      if (place.before) changes.append(marked("del", "before: ", place.before), " ", marked("ins", "now: ", place.now));
      else changes.append(part("", place.now, "bdi"));
      at.replaceChildren(changes);
      at.dataset.said = whole;
    }
    at.append(...words.map((text) => part("error", text)));
    at.classList.toggle("is-old", !place);
  }
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
    if (mine !== latest || !answer.ok) return;
    const { errors, derived = [] } = await answer.json();
    if (mine !== latest) return;
    tellErrors(errors);
    tellFollowing(derived, errors);
  } catch { /* the server says it again when the form is sent */ }
}

form.addEventListener("input", (event) => {
  if (!event.target.matches("[data-was]")) return;
  tell(event.target);
  count();
  follow.forEach((at) => at.classList.add("is-old"));
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
  const changed = fields.filter((field) => !same(field));
  changed.forEach(unfold);
  count();
  if (changed.length && follow.length && form.dataset.check) check();
});
